"""A warning shot: a run that is told to end writes a checkpoint after its batch and ends with a code of its own."""

import contextlib
import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from composer.callbacks import CheckpointSaver
from composer.core import Event, State
from composer.utils import dist

from tahoe_distill.training.resume.preflight import EXIT_CODE

log = logging.getLogger(__name__)

# What Slurm and clouds with spot machines send before they take a machine away.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# What comes this soon after the first is the same event: a machine that is taken away tells all processes of a run, and
# then its launcher tells them again.
_SAME_SECONDS = 5.0


class RunInterrupted(SystemExit):
    """Ends a run that was told to; leaves with ``EXIT_CODE`` unless it is caught."""

    def __init__(self, message: str):
        super().__init__(EXIT_CODE)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Interruption:
    """Watches for signals while a run trains.

    Args:
        checkpoint_store: Where the checkpoints are sent to, for its message.

    Attributes:
        received: Number of the signal that this process got, 0 for none.
    """

    def __init__(self, checkpoint_store: str | None = None) -> None:
        self.received = 0
        self._store = checkpoint_store
        self._before: dict[int, Any] = {}
        self._told_at = 0.0
        self._saved_at: int | None = None

    def watch(self) -> None:
        """Take the signals from now on; a later one ends the process at once."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._receive)
        # Workers that load data inherit handlers by forking, and must end when they are told to.
        os.register_at_fork(after_in_child=_default_handlers)

    def unwatch(self) -> None:
        """Give the signals back."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def run_event(self, event: Event, state: State) -> None:
        """After a batch: have the checkpoint written. At the next event after that: end the run.

        Raises:
            RunInterrupted: In all processes alike, once the checkpoint is there.
        """
        if event == Event.BATCH_CHECKPOINT:
            self._save_if_told(state)
        elif self._saved_at is not None:
            message = self._message(state)
            if dist.get_global_rank() == 0:
                # A line of the run's own report, shown at any level: the way a process exits tells a number alone.
                logging.getLogger("tahoe_distill.run").info(message)
            raise RunInterrupted(message)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            if time.monotonic() - self._told_at > _SAME_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.received, self._told_at = number, time.monotonic()
        text = f"{signal.Signals(number).name}: ending after this batch; send it after {_SAME_SECONDS:.0f} s "
        # Not the log: its lock may be in the hands of the very code that the signal interrupted. Whoever reads this may
        # be gone with the launcher.
        with contextlib.suppress(OSError):
            os.write(2, f"{text}again to end at once\n".encode())

    def _save_if_told(self, state: State) -> None:
        # A signal may reach one process alone, or two of them on either side of a batch.
        told = torch.tensor([self.received])
        dist.all_reduce(told, reduce_operation="MAX")
        elapsed = state.get_elapsed_duration()
        if not told.item() or (elapsed is not None and elapsed >= 1.0):
            return
        self.received, self._saved_at = int(told), state.timestamp.batch.value
        for saver in checkpoint_savers(state):
            # It comes after this callback, and saves in this very event.
            saver.save_interval = lambda state, event: True

    def _message(self, state: State) -> str:
        name, batch = signal.Signals(self.received).name, self._saved_at
        folders = [saver.folder for saver in checkpoint_savers(state)]
        if not folders:
            return f"{name}: the run ended after batch {batch}; it has no save_folder, so nothing of it is kept"
        place = self._store or folders[0]
        return (
            f"{name}: the run ended after batch {batch}, and its checkpoint is in {place}; the same command carries on "
            "from it"
        )


def leave_signals_to_parent(worker: int = 0) -> None:
    """In a loader's worker: end when the process that reads from it says so, and at no signal that others send.

    Slurm and other schedulers tell every process of a job. A worker that ended there would take the run along in the
    middle of its last batch.

    Args:
        worker: Its number, which PyTorch hands in.
    """
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def wait() -> None:
        while signal.sigwaitinfo(SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def checkpoint_savers(state: State) -> list[CheckpointSaver]:
    """Composer's callbacks that write a run's checkpoints."""
    return [callback for callback in state.callbacks if isinstance(callback, CheckpointSaver)]


def _default_handlers() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
