"""A page in headless Chromium: what it drew, what it complained of, what it asked the network for."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
    # The browser's own requests are not the page's, and not wanted either.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_WATCH = """
const refused = [];
addEventListener("securitypolicyviolation", (event) => refused.push(event.blockedURI));
setTimeout(async () => {
  await (async () => { SCRIPT })();
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  const elsewhere = [...asked, ...refused].filter((url) => !url.startsWith("data:"));
  document.documentElement.dataset.requests = elsewhere.join(" ");
}, 8000);
"""


@dataclass(frozen=True)
class Opened:
    """A page after it was drawn.

    Args:
        dom: Its elements as HTML.
        console: Lines of its console.
        requests: Addresses other than the file's that it asked for.
    """

    dom: str
    console: list[str]
    requests: list[str]


def open_page(path: Path, scratch: Path, *, script: str = "", beside: bool = False, query: str = "") -> Opened:
    """Open a copy of a file, and wait until it has nothing more to do.

    Args:
        path: The page.
        scratch: A folder for the browser's own files.
        script: JavaScript to run when the page is drawn.
        beside: Put the copy beside the file, for a page that is not whole by itself.
        query: What stands behind the address, such as ``?q=word``.
    """
    copied = (path.parent if beside else scratch) / "page.html"
    # The libraries in the page hold the words of its end too.
    before, end, after = path.read_text(encoding="utf-8").rpartition("</body>")
    copied.write_text(f"{before}<script>{_WATCH.replace('SCRIPT', script)}</script>{end}{after}", encoding="utf-8")
    done = _run(copied, scratch, "--dump-dom", query=query)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    requests = re.search(r'data-requests="([^"]*)"', done.stdout)
    return Opened(done.stdout, console, requests[1].split() if requests else ["the page did not end its work"])


def picture(
    path: Path, target: Path, scratch: Path, *, dark: bool = False, size: tuple[int, int] = (1280, 4200)
) -> None:
    """Write what a window of a size shows of a page."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(path, scratch, scheme, f"--window-size={size[0]},{size[1]}", f"--screenshot={target}")


def _run(path, scratch, *options, query=""):
    command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={scratch / 'profile'}", *options, path.resolve().as_uri() + query]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
