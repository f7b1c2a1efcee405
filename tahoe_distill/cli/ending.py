"""How a run ends: in a paragraph, by a signal, and with a command of the user's."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from tahoe_distill.errors import paragraph, rest
from tahoe_distill.training.resume.preflight import EXIT_CODE

# What Composer says about a checkpoint at the end of its run, which is no failure here.
_NOTHING_LEFT = "No training would occur."
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class OnFinish:
    """Runs a shell command once a node when the run is over, whether it ended well or not.

    The command finds in its environment ``TAHOE_DISTILL_STATE`` (``finished``, ``interrupted`` by a signal, or
    ``failed``), ``TAHOE_DISTILL_EXIT_CODE``, ``TAHOE_DISTILL_ERROR``, ``TAHOE_DISTILL_RUN_NAME``,
    ``TAHOE_DISTILL_STUDENT`` and ``TAHOE_DISTILL_CHECKPOINTS``; what is not known is empty. Its own failure is told and
    does not change the run's exit code. A process that is killed by SIGKILL runs no command.

    Args:
        command: For the shell; nothing is run where ``None``.

    Attributes:
        run: The run's configuration, to be set once it is known.
    """

    def __init__(self, command: str | None):
        self.command = command
        self.run: Mapping[str, Any] = {}

    def __enter__(self) -> "OnFinish":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.command is None or os.environ.get("LOCAL_RANK", "0") != "0":
            return
        done = subprocess.run(self.command, shell=True, env={**os.environ, **self._about(error)}, check=False)
        if done.returncode:
            print(
                f"distill: the command given by --on-finish ended with exit code {done.returncode}: {self.command}",
                file=sys.stderr,
                flush=True,
            )

    def _about(self, error: BaseException | None) -> dict[str, str]:
        state, code = state_of(error)
        student = ((self.run.get("callbacks") or {}).get("hf_student") or {}).get("folder")
        known = {
            "STATE": state,
            "EXIT_CODE": code,
            "ERROR": "" if state == "finished" else str(error),
            "RUN_NAME": self.run.get("run_name"),
            "STUDENT": student,
            "CHECKPOINTS": self.run.get("save_folder"),
        }
        return {f"TAHOE_DISTILL_{name}": "" if value is None else str(value) for name, value in known.items()}


def state_of(error: BaseException | None) -> tuple[str, int]:
    """How a run ended that was left by ``error``, and its exit code."""
    if error is None or (isinstance(error, Exception) and has_ended(error)):
        return "finished", 0
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return {0: "finished", EXIT_CODE: "interrupted"}.get(code, "failed"), code
    return "failed", 1


def has_ended(error: Exception) -> bool:
    """Whether Composer refuses to go on because the run is at its end."""
    return _NOTHING_LEFT in str(error)


@contextlib.contextmanager
def one_paragraph(traceback: bool) -> Iterator[None]:
    """Tell any error in a paragraph and end with code 1; tell the end of a run that had ended, and go on."""
    try:
        yield
    except KeyboardInterrupt:
        print("distill: interrupted", file=sys.stderr, flush=True)
        sys.exit(130)
    except Exception as error:
        if has_ended(error):
            print(f"distill: {_ended(error)}", flush=True)
            return
        if traceback or os.environ.get("TAHOE_DISTILL_TRACEBACK"):
            raise
        print(f"distill: error: {paragraph(error)}\n{rest(error, '--traceback')}", file=sys.stderr, flush=True)
        sys.exit(1)


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """Before there is a batch to end after, a signal ends the process by the same code, its folder given back."""
    before = {number: signal.signal(number, lambda *_: sys.exit(EXIT_CODE)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(error: Exception) -> str:
    numbers = str(error).split(_NOTHING_LEFT)[0].strip()
    return (
        f"the run has ended, and there is nothing left to train: {numbers} Raise max_duration to train on, or give "
        "another save_folder to start afresh"
    )
