"""The logger `file_logger`: one text file a process, carried on when a run is resumed."""

from pathlib import Path

from composer.core import State
from composer.loggers import FileLogger, Logger


class RunFileLogger(FileLogger):
    """Composer's :class:`FileLogger`, except that a file that exists is carried on.

    Composer's own starts it anew, and with it goes all that a run logged before it was killed. The batches between the
    last checkpoint and the kill stand in the file twice.
    """

    def init(self, state: State, logger: Logger) -> None:
        """Open the file, and write what was logged before this event."""
        self._is_newline = True
        self._run_name = state.run_name
        path = Path(self.filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a", buffering=self.buffer_size, encoding="utf-8")
        self._flush_queue()
