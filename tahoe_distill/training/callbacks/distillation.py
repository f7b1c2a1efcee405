"""The callback `distillation`: what every training step of this project needs besides the loss."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import torch
from composer.core import Callback, Event, State
from composer.loggers import Logger
from composer.utils import dist, reproducibility

from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.callbacks.early_stopping import StoppingMemory
from tahoe_distill.training.callbacks.parameter_groups import group_parameters
from tahoe_distill.training.model import TahoeDistillModel

log = logging.getLogger(__name__)


class DistillationCallback(Callback):
    """Groups the parameters, steps the schedules, seeds each batch, and stops a run that cannot come to good.

    Composer restores random states only between epochs, so a run resumed within one would draw other dropout masks.
    Seeding each batch from the run's seed, the batch's number and the rank makes a resumed run the same run.

    Args:
        log_schedules: Log the scheduled values of each batch under ``schedule/``.
    """

    def __init__(self, log_schedules: bool = True):
        self.log_schedules = log_schedules
        self.checked_gradients = False
        self.stopping: StoppingMemory | None = None
        self.shape = BatchShape()

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Dispatch by event."""
        if event == Event.BATCH_START:
            self._start_batch(state, logger)
        elif event == Event.INIT:
            self._prepare(state)
        elif event == Event.AFTER_LOAD:
            self.stopping.check(state)
        elif event == Event.FIT_START:
            _check_loaders(state)
            self.stopping.start(state)
            self.shape.start(state)
        elif event in (Event.BATCH_CHECKPOINT, Event.EPOCH_CHECKPOINT):
            self.stopping.note(state)
        elif event == Event.AFTER_LOSS:
            _check_loss(state)
        elif event == Event.AFTER_BACKWARD and not self.checked_gradients:
            _check_gradients(state)
            self.checked_gradients = True

    def state_dict(self) -> dict[str, str]:
        """What the early stoppers know and how batches are divided, as texts: a sharded resume needs fixed keys."""
        return {"stopping": json.dumps(self.stopping.record()), "shape": json.dumps(self.shape.record())}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Give it back."""
        self.stopping.restore(json.loads(state["stopping"]))
        self.shape.restore(json.loads(state["shape"]))

    def _prepare(self, state: State) -> None:
        # Before Composer makes the schedulers, which count the groups, and before it shards the model.
        for optimizer in state.optimizers:
            group_parameters(state.model, optimizer)
        self.stopping = StoppingMemory(state)

    def _start_batch(self, state: State, logger: Logger) -> None:
        batch = state.timestamp.batch.value
        reproducibility.seed_all((state.rank_zero_seed + 1_000_003 * batch + dist.get_global_rank()) % 2**32)
        objectives = _model(state).objectives
        elapsed = state.get_elapsed_duration()
        objectives.step(0.0 if elapsed is None else min(float(elapsed), 1.0))
        if self.log_schedules:
            logger.log_metrics({f"schedule/{name}": value for name, value in objectives.scheduled_values().items()})


class BatchShape:
    """How a run divides its batches, which a checkpoint remembers: warns where a resumed run divides them otherwise.

    Composer and streaming carry on with any number of processes. But the processes draw dropout of their own, and sums
    are taken in another order, so that the student is not the one that the run would have had.
    """

    def __init__(self) -> None:
        self.now: dict[str, Any] = {}
        self.before: Mapping[str, Any] = {}

    def start(self, state: State) -> None:
        """At the start of the fit: compare with the run that wrote the checkpoint."""
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

    def record(self) -> dict[str, Any]:
        """Numbers by name, for the checkpoint."""
        return self.now

    def restore(self, record: Mapping[str, Any]) -> None:
        """Numbers of the run that wrote the checkpoint."""
        self.before = record


def _check_loaders(state: State) -> None:
    loaders = {
        "eval_loader" if e.label == "eval" else f"eval_loader {e.label!r}": e.dataloader.dataloader
        for e in state.evaluators
    }
    check_loaders(_model(state), state.train_dataloader, loaders)


def _model(state: State) -> TahoeDistillModel:
    return state.model.module if state.is_model_ddp else state.model


def _check_loss(state: State) -> None:
    losses = state.loss if isinstance(state.loss, dict) else {"total": state.loss}
    if torch.isfinite(losses["total"]).all():
        return
    bad = [name for name, value in losses.items() if name != "total" and not torch.isfinite(value).all()]
    raise RuntimeError(
        f"the loss is {float(losses['total'])} at batch {state.timestamp.batch.value}, by "
        f"{', '.join(bad) or 'the total'}; lower the learning rate, or look at the cells of this batch"
    )


def _check_gradients(state: State) -> None:
    missing = [name for name, p in _model(state).named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise RuntimeError(
            f"{len(missing)} trainable parameters got no gradient in the first batch ({', '.join(missing[:3])}); a run "
            "with such parameters cannot be resumed: freeze them or add the objective that trains them"
        )
