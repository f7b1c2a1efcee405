"""One run in a process of its own: started, followed by the files it writes, told to end, found again after a kill."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tahoe_distill.files import remove, replace_text
from tahoe_distill.locks import Holder, holder_of
from tahoe_distill.sweeps.runs import CHECKPOINTS, EVALUATIONS_FILE, STUDENT_FOLDER

# The entry point of every run, `scripts/distill.py`, whose path an installation does not have.
COMMAND = (sys.executable, "-c", "from tahoe_distill.cli.distill import main; main()")
RUN_FILE, LOG_FILE, PROCESS_FILE, RESULT_FILE = "run.yaml", "log.txt", "process.json", "result.json"
# Exit code of a run that was told to end and carries on with the same command.
TO_GO_ON = 75
_TAIL = 1500
_PATIENCE = 60.0


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of a run.

    Args:
        batch: After which batch.
        metrics: Value by name.
    """

    batch: int
    metrics: dict[str, float]


class RunFolder:
    """What one run of a trial leaves on the disk.

    Args:
        path: The folder; made when the run starts.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.name

    @property
    def student(self) -> Path:
        """The exported student."""
        return self.path / STUDENT_FOLDER

    def evaluations(self) -> list[Evaluated]:
        """Its evaluations by batch; of two after the same batch, as a resumed run repeats them, the later one."""
        found: dict[int, Evaluated] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in (self.path / EVALUATIONS_FILE).read_text(encoding="utf-8").splitlines():
                # A line that a kill cut short is no evaluation.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    read = json.loads(line)
                    found[int(read["batch"])] = Evaluated(int(read["batch"]), dict(read["metrics"]))
        return [found[batch] for batch in sorted(found)]

    def result(self) -> dict[str, Any] | None:
        """What came out, ``{"error": …}`` of a run that failed; ``None`` while there is nothing."""
        try:
            return dict(json.loads((self.path / RESULT_FILE).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep what came out, and let go of the checkpoints."""
        replace_text(self.path / RESULT_FILE, json.dumps(result, indent=2) + "\n")
        remove(self.path / CHECKPOINTS)

    def said(self) -> str:
        """The end of what the run said."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.path / LOG_FILE).read_text(encoding="utf-8", errors="replace")
            at = text.rfind("distill: error: ")
            return (text[at:] if at >= 0 else text[-_TAIL:]).strip()[:_TAIL]
        return ""

    def parameters(self) -> int | None:
        """Parameters of the exported student; ``None`` where there is none."""
        from safetensors import safe_open

        files = sorted(self.student.glob("*.safetensors"))
        total = 0
        for file in files:
            with safe_open(file, framework="np") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - it is no mapping
                    size = 1
                    for length in tensors.get_slice(key).get_shape():
                        size *= length
                    total += size
        return total if files else None


class RunProcess:
    """A run at work.

    Args:
        folder: Its folder.
        run: Its YAML, nested.
        command: What is given ``-f`` and the YAML's path.
        environment: Variables on top of this process's.
    """

    def __init__(
        self,
        folder: RunFolder,
        run: Mapping[str, Any],
        *,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
    ):
        self.folder, self.started = folder, time.monotonic()
        folder.path.mkdir(parents=True, exist_ok=True)
        end_orphan(folder)
        path = folder.path / RUN_FILE
        replace_text(path, yaml.safe_dump(dict(run), sort_keys=False))
        variables = {**os.environ, **_alone(), **(environment or {})}
        with open(folder.path / LOG_FILE, "ab") as log:
            # In a session of its own: what ends the sweep at the keyboard is passed on in a way that saves its work.
            self.process = subprocess.Popen(
                [*command, "-f", str(path)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=variables, start_new_session=True,
            )  # fmt: skip
        holder = Holder.here(folder.name, self.process.pid)
        replace_text(folder.path / PROCESS_FILE, json.dumps(dataclasses.asdict(holder)) + "\n")

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started

    def ended(self) -> int | None:
        """Its exit code; ``None`` while it works."""
        return self.process.poll()

    def end(self) -> None:
        """Tell it to write a checkpoint and end; kill it where it does not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def end_orphan(folder: RunFolder) -> None:
    """End a process of this machine that still works in a run's folder, its sweep gone: it would be started twice.

    A lock that one of another machine left on the checkpoints is taken away; whoever calls this has the trial.
    """
    try:
        holder = Holder(**json.loads((folder.path / PROCESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return
    if holder.is_near:
        deadline = time.monotonic() + _PATIENCE
        if holder.is_alive:
            _signal(holder, signal.SIGTERM)
        while holder.is_alive and time.monotonic() < deadline:
            time.sleep(0.1)
        if holder.is_alive:
            _signal(holder, signal.SIGKILL)
        return
    place = folder.path / CHECKPOINTS
    lock = holder_of(place)
    if lock is not None and not lock.is_near:
        remove(place / ".lock.json")


def _signal(holder: Holder, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder.pid, number)


def _alone() -> dict[str, str]:
    """What `composer -n 1` tells a process: it is the only one, and ends when its launcher is gone."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    return {**ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
