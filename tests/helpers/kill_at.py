"""Code path of the tests: a callback that kills its whole run at planned points, as the end of a container does.

The plan is a JSON file of ``[point, batch]``; each start of the run takes the first one off and dies there. A point is
an event's name, or ``told`` (a signal to end, to the first process alone), ``told_all`` (to
it and all that it started), ``writing`` (a checkpoint is half written),
``unlinked`` (`latest` is removed and not yet back) or ``exporting`` (the student's folder is half written).
"""

import json
import os
import signal
from pathlib import Path

from composer.core import Callback, Event
from llmfoundry import registry


def kill():
    """End this process, its launcher, its other ranks and their workers at once."""
    os.killpg(0, signal.SIGKILL)


class KillAt(Callback):
    """Dies at the next planned point.

    Args:
        plan: Path of the plan; nothing happens without that file, or when it is empty.
    """

    def __init__(self, plan):
        self.plan = Path(plan)
        self.point, self.batch = None, None

    def run_event(self, event, state, logger):
        """Take the next point at the start; die when it is reached."""
        if event == Event.INIT and os.environ["RANK"] == "0" and self.plan.is_file():
            points = json.loads(self.plan.read_text())
            if points:
                self.point, self.batch = points[0]
                self.plan.write_text(json.dumps(points[1:]))
                prepare(self.point, lambda: state.timestamp.batch.value == self.batch)
        if self.point == "told" and event == Event.BATCH_START and state.timestamp.batch.value == self.batch:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.point == "told_all" and event == Event.BATCH_START and state.timestamp.batch.value == self.batch:
            os.killpg(0, signal.SIGUSR1)
        if event.value == self.point and state.timestamp.batch.value == self.batch:
            kill()


def prepare(point, due):
    """Lay the traps for the points that are no events."""
    if point == "writing":
        trap_writing(due)
    elif point == "unlinked":
        trap_link(due)
    elif point == "exporting":
        trap_export()


def trap_writing(due):
    """Leave half a file, or a folder of shards without its metadata."""
    from composer.utils import checkpoint
    from torch.distributed.checkpoint import FileSystemWriter

    write, finish = checkpoint._write_checkpoint_file, FileSystemWriter.finish

    def half(state_dict, filename):
        write(state_dict, filename)
        if due():
            os.truncate(filename, os.path.getsize(filename) // 2)
            kill()

    def no_metadata(self, metadata, results):
        if due():
            kill()
        finish(self, metadata, results)

    checkpoint._write_checkpoint_file, FileSystemWriter.finish = half, no_metadata


def trap_link(due):
    """Die between the removal of `latest` and the new one."""
    link = os.symlink

    def symlink(*arguments, **options):
        if due():
            kill()
        link(*arguments, **options)

    os.symlink = symlink


def trap_export():
    """Die with the temporary sibling of the student's folder on disk."""
    from tahoe_distill.hub import export

    export.golden_vectors = lambda model: kill()


registry.callbacks.register("kill_at", func=KillAt)
