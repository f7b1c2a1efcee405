"""Composer's ``early_stopper``, checked before training and remembered by checkpoints."""

import logging

import torch
from composer.callbacks import EarlyStopper
from composer.core import State, Timestamp, TimeUnit

from tahoe_distill.training.callbacks.eval_metrics import require_metric

log = logging.getLogger(__name__)

_WHERE = "callbacks.early_stopper"


class StoppingMemory:
    """What a checkpoint has to know about the early stoppers of a run.

    Composer's :class:`EarlyStopper` has no state of its own: after a resume it would take the first evaluation for
    the best, and a run that had stopped would train on.

    Args:
        state: Composer's state, with its callbacks.
    """

    def __init__(self, state):
        self.stoppers = [callback for callback in state.callbacks if isinstance(callback, EarlyStopper)]
        self.planned = None
        self.stopped = False

    def check(self, state: State) -> None:
        """Refuse what Composer would refuse at the first evaluation only, and compare values as their metric says.

        Raises:
            ValueError: For an unknown metric, or a patience that is neither epochs nor batches.
        """
        for stopper in self.stoppers:
            require_metric(state, _name(stopper), f"{_WHERE}.monitor and dataloader_label")
            _compare_as_the_metric_says(stopper, state.eval_metrics[stopper.dataloader_label][stopper.monitor])
            if stopper.patience.unit not in (TimeUnit.EPOCH, TimeUnit.BATCH):
                raise ValueError(
                    f"{_WHERE}.patience must be in epochs or batches, such as 3ep or 2000ba; found "
                    f"{stopper.patience.to_timestring()}"
                )

    def start(self, state):
        """Note how long the run is meant to be, and stop one that had been stopped before it was resumed."""
        self.planned = state.max_duration.to_timestring()
        if self.stopped and any(_is_over(stopper, state.timestamp) for stopper in self.stoppers):
            log.warning("the run had stopped early at batch %d; it is not trained further", state.timestamp.batch.value)
            state.stop_training()

    def note(self, state):
        """Before a checkpoint: note whether an evaluation has stopped the run."""
        self.stopped = self.planned is not None and state.max_duration.to_timestring() != self.planned

    def record(self):
        """Best value and its time of each stopper by metric, and whether the run was stopped."""
        seen = [stopper for stopper in self.stoppers if stopper.best is not None]
        best = {
            _name(stopper): [float(stopper.best), stopper.best_occurred.epoch.value, stopper.best_occurred.batch.value]
            for stopper in seen
        }
        return {"best": best, "stopped": self.stopped}

    def restore(self, record):
        """Carry on from a record; a stopper that watches another metric starts anew."""
        self.stopped = record["stopped"]
        for stopper in self.stoppers:
            if _name(stopper) in record["best"]:
                value, epoch, batch = record["best"][_name(stopper)]
                stopper.best = torch.tensor(value)
                stopper.best_occurred = Timestamp(epoch=epoch, batch=batch)


def _name(stopper):
    return f"{stopper.dataloader_label}/{stopper.monitor}"


def _compare_as_the_metric_says(stopper, metric):
    """Put the metric's own direction where Composer has taken it from words of the metric's name, and wrongly."""
    guess = EarlyStopper(stopper.monitor, stopper.dataloader_label).comp_func
    own = {True: torch.greater, False: torch.less}.get(metric.higher_is_better, guess)
    if stopper.comp_func is guess and guess is not own:
        log.warning(
            "%s: a value of %s is better where it is %s than the best before, and is taken so",
            _WHERE,
            _name(stopper),
            own.__name__,
        )
        stopper.comp_func = own


def _is_over(stopper, now):
    if stopper.best_occurred is None:
        return False
    unit = stopper.patience.unit
    return now.get(unit) - stopper.best_occurred.get(unit) > stopper.patience
