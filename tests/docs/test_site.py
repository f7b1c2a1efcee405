"""The site builds without a warning, and a browser shows what it holds."""

import re
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.browser import CHROMIUM, open_page

pytest.importorskip("myst_nb", reason="needs the extra [docs]")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", folder / "trees"]
    done = subprocess.run([*command, REPOSITORY / "docs", folder / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def complaints(opened):
    """Lines of the console, without what the theme says of itself."""
    return [line for line in opened.console if "[PST]" not in line and "theme mode" not in line]


@needs_browser
def test_a_search_finds(site, tmp_path):
    opened = open_page(site / "search.html", tmp_path, beside=True, query="?q=troubleshooting")
    assert re.search(r'class="search"><li[^>]*><a href="guides/troubleshooting\.html', opened.dom)
    assert complaints(opened) == []


@needs_browser
def test_the_reference_shows_types_and_asks_nobody(site, tmp_path):
    opened = open_page(site / "api.html", tmp_path, beside=True)
    assert 'id="tahoe_distill.embed"' in opened.dom
    # Types stand with the parameters.
    assert "<strong>batch_size</strong> (<em>int</em>" in opened.dom
    assert complaints(opened) == []
    assert [address for address in opened.requests if not address.startswith(site.as_uri())] == []


def test_notebooks_are_shown_with_their_figures(site):
    assert re.search(r'<img[^>]+src="\.\./_images/', (site / "notebooks/embed.html").read_text(encoding="utf-8"))
