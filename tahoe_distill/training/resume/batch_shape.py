"""How a run divides its batches, which a checkpoint remembers."""

import logging

from composer.utils import dist

log = logging.getLogger(__name__)


class BatchShape:
    """Says when a resumed run divides its batches otherwise than before.

    Composer and streaming carry on with any number of processes. But the processes draw dropout of their own, and sums
    are taken in another order, so that the student is not the one that the run would have had.
    """

    def __init__(self):
        self.now = {}
        self.before = {}

    def start(self, state):
        """At the start of the fit: compare with what the checkpoint says."""
        self.now = {
            "processes": dist.get_world_size(),
            "cells a process and batch": getattr(state.train_dataloader, "batch_size", None),
            "cells a microbatch": state.device_train_microbatch_size,
        }
        changed = [
            f"{value} {name} instead of {self.before[name]}"
            for name, value in self.now.items()
            if self.before.get(name, value) != value
        ]
        if changed and dist.get_global_rank() == 0:
            log.warning(
                "resumed at batch %d with %s: it carries on, but will not end with the same student",
                state.timestamp.batch.value,
                ", ".join(changed),
            )

    def record(self):
        """Numbers by name, for the checkpoint."""
        return self.now

    def restore(self, record):
        """Numbers of the run that wrote the checkpoint."""
        self.before = record
