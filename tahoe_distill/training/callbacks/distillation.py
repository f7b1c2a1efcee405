"""The callback `distillation`: what every training step of this project needs besides the loss."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from composer.core import Event, State
from composer.loggers import Logger
from composer.utils import dist, reproducibility
from llmfoundry.interfaces import CallbackWithConfig

from tahoe_distill.settings import plain
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.callbacks.early_stopping import StoppingMemory
from tahoe_distill.training.callbacks.eval_metrics import read_metrics
from tahoe_distill.training.callbacks.parameter_groups import group_parameters
from tahoe_distill.training.callbacks.run_report import RunReport
from tahoe_distill.training.callbacks.stages import StageCheckpoints
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.rank_zero import on_rank_zero
from tahoe_distill.training.resume.checkpoint_files import SyncedPaths
from tahoe_distill.training.resume.configuration import differences, require_same_run
from tahoe_distill.training.resume.interruption import Interruption, checkpoint_savers
from tahoe_distill.training.resume.kept_remotely import SentCheckpoints
from tahoe_distill.training.resume.preflight import SaveSettings, checkpoint_to_resume
from tahoe_distill.training.sharding import average_gradients, use_replicas

log = logging.getLogger(__name__)


class HopelessRunError(RuntimeError):
    """A run that cannot come to good: its loss is no number, or a parameter gets no gradient."""


class DistillationCallback(CallbackWithConfig):
    """Groups the parameters, steps the schedules, seeds each batch, and stops a run that cannot come to good.

    Composer restores random states only between epochs, so a run resumed within one would draw other dropout masks.
    Seeding each batch from the run's seed, the batch's number and the rank makes a resumed run the same run.

    At the end of each stage of a schedule a checkpoint is written, which stays.

    A run that is told to end (SIGTERM, SIGUSR1) writes a checkpoint first. One that carries on from a checkpoint is
    held to the student, the objectives and the data that it was written with.

    Args:
        train_config: The run's configuration, handed in by llm-foundry and kept in its checkpoints.
        log_schedules: Log the scheduled values of each batch under ``schedule/``.
        resume_anyway: Settings, or beginnings of their names, that may differ from those of the checkpoint.
        evaluations: A file that gets a line of JSON after each evaluation, ``{"batch": …, "metrics": {name: value}}``,
            for programs that follow the run. One that resumes repeats those after its checkpoint.
        checkpoint_store: Folder of an object store that each checkpoint is sent to; ``scripts/distill.py`` sets it
            where ``save_folder`` is one.
    """

    def __init__(
        self,
        train_config: Mapping[str, Any],
        *,
        log_schedules: bool = True,
        resume_anyway: Sequence[str] = (),
        evaluations: str | os.PathLike[str] | None = None,
        checkpoint_store: str | None = None,
    ):
        self.config = plain(train_config)
        self.resume_anyway = list(resume_anyway)
        self.log_schedules = log_schedules
        self.evaluations = evaluations
        self.checkpoint_store = checkpoint_store
        self.interruption = Interruption(checkpoint_store)
        self.report = RunReport()
        self.checked_gradients = False
        # Made at INIT, when the other callbacks are there.
        self.stopping: StoppingMemory
        self.shape = BatchShape()

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Dispatch by event."""
        self.interruption.run_event(event, state)
        if event == Event.BATCH_START:
            self._start_batch(state, logger)
        elif event == Event.INIT:
            self._prepare(state)
            use_replicas(state, (self.config.get("fsdp_config") or {}).get("data_parallel_replicate_degree"))
            if self.config.get("loggers"):
                logger.log_hyperparameters(self.config)
        elif event == Event.AFTER_LOAD:
            self.stopping.check(state)
        elif event == Event.FIT_START:
            _check_loaders(state)
            self.stopping.start(state)
            self.shape.start(state)
            average_gradients(state.model)
            self.report.start(state, self.config)
            self.interruption.watch()
        elif event == Event.BATCH_END:
            self.report.batch(state)
        elif event == Event.EVAL_AFTER_ALL:
            self.report.evaluation(state)
            if self.evaluations is not None and dist.get_global_rank() == 0:
                _append(self.evaluations, {"batch": state.timestamp.batch.value, "metrics": read_metrics(state)})
        elif event == Event.FIT_END:
            self.interruption.unwatch()
            self.report.end()
        elif event in (Event.BATCH_CHECKPOINT, Event.EPOCH_CHECKPOINT):
            self.stopping.note(state)
        elif event == Event.AFTER_LOSS:
            _check_loss(state)
        elif event == Event.AFTER_BACKWARD and not self.checked_gradients:
            _check_gradients(state)
            self.checked_gradients = True

    def state_dict(self) -> dict[str, str]:
        """What the early stoppers know and how batches are divided, as texts: a sharded resume needs fixed keys."""
        return {
            "stopping": json.dumps(self.stopping.record()),
            "shape": json.dumps(self.shape.record()),
            "config": json.dumps(self.config, default=str),
        }

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Give it back."""
        self.stopping.restore(json.loads(state["stopping"]))
        self.shape.restore(json.loads(state["shape"]))

    def _prepare(self, state: State) -> None:
        # Before Composer makes the schedulers, which count the groups, and before it shards the model.
        for optimizer in state.optimizers:
            group_parameters(state.model, optimizer)
        latest = SaveSettings.from_config(self.config, dist.get_world_size()).latest
        sent = SentCheckpoints(self.checkpoint_store, latest) if self.checkpoint_store else None
        for saver in checkpoint_savers(state):
            stages = StageCheckpoints(saver)
            saver.saved_checkpoints = SyncedPaths(
                saver.saved_checkpoints,
                sharded=lambda: state.fsdp_sharded_state_dict_enabled,
                wait=dist.barrier,
                kept=stages.is_kept,
                send=sent.send if sent else None,
            )
        self.stopping = StoppingMemory(state)
        on_rank_zero(self._compare_with_checkpoint, "the run cannot carry on")

    def _compare_with_checkpoint(self) -> None:
        """Say what the run has otherwise than the one it carries on from; refuse what makes another run of it."""
        saved = checkpoint_to_resume(self.config)
        before = None if saved is None else saved.configuration()
        if saved is None or before is None:
            return
        found = differences(before, self.config)
        require_same_run(found, self.resume_anyway, str(saved.path))
        for difference in found:
            log.warning("carrying on with another setting: %s", difference)

    def _start_batch(self, state: State, logger: Logger) -> None:
        batch = state.timestamp.batch.value
        with _without_word_of_it():
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


def _append(path: str | os.PathLike[str], line: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file, whole and at once."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@contextlib.contextmanager
def _without_word_of_it() -> Iterator[None]:
    """Composer logs every seed, which would be a line a batch."""
    logger = logging.getLogger(reproducibility.__name__)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_loaders(state: State) -> None:
    loaders = {
        "eval_loader" if e.label == "eval" else f"eval_loader {e.label!r}": e.dataloader.dataloader
        for e in state.evaluators
    }
    train_loader: Any = state.train_dataloader
    check_loaders(_model(state), train_loader, loaders)


def _model(state: State) -> TahoeDistillModel:
    model: Any = state.model.module if state.is_model_ddp else state.model
    return model


def _check_loss(state: State) -> None:
    losses: Any = state.loss if isinstance(state.loss, dict) else {"total": state.loss}
    if torch.isfinite(losses["total"]).all():
        return
    bad = [name for name, value in losses.items() if name != "total" and not torch.isfinite(value).all()]
    raise HopelessRunError(
        f"the loss is {float(losses['total'])} at batch {state.timestamp.batch.value}, by "
        f"{', '.join(bad) or 'the total'}; lower the learning rate, or look at the cells of this batch"
    )


def _check_gradients(state: State) -> None:
    missing = [name for name, p in _model(state).named_parameters() if p.requires_grad and p.grad is None]
    if missing:
        raise HopelessRunError(
            f"{len(missing)} trainable parameters got no gradient in the first batch ({', '.join(missing[:3])}); a run "
            "with such parameters cannot be resumed: freeze them or add the objective that trains them"
        )
