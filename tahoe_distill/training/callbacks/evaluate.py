"""The callback `evaluate`: how good the student is on labelled cells by now, where `best` and early stopping see it."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from composer.callbacks import EarlyStopper
from composer.core import Event, State
from composer.loggers import Logger
from llmfoundry.interfaces import CallbackWithConfig
from torch import Tensor
from torchmetrics import Metric

from tahoe_distill.cells import open_cells
from tahoe_distill.evaluation import Bench, Columns, Evaluation, Subject, TeacherVectors
from tahoe_distill.evaluation.bench import sample
from tahoe_distill.evaluation.run import choose_evaluators, judge_one, teacher_subject
from tahoe_distill.evaluation.subjects import STUDENT, TEACHER, Reading, embed_subject
from tahoe_distill.naming import check_keys
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.rank_zero import on_rank_zero
from tahoe_distill.training.student.whole import build_whole, gather_weights, unwrapped

log = logging.getLogger(__name__)

_WHERE = "callbacks.evaluate"
_COLUMNS = {"label_key": "label", "batch_key": "batch", "condition_key": "condition", "control": "control"}
_READING = ("layer", "gene_key", "teacher_key", "reference")


class Measured(Metric):
    """A number that was measured elsewhere, as Composer and its callbacks read metrics; more of it is better."""

    full_state_update = False
    higher_is_better = True
    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("value", default=torch.zeros(()), dist_reduce_fx="mean")

    def update(self, value: float) -> None:
        """Take the number."""
        self.value = torch.as_tensor(value, dtype=torch.float32, device=self.device)

    def compute(self) -> Tensor:
        """Give it back."""
        return self.value


class MeasuredLoss(Measured):
    """One of which less is better."""

    higher_is_better = False


class EvaluateCallback(CallbackWithConfig):
    """Runs evaluators on an AnnData at each evaluation of the run, before its other evaluators.

    The first process embeds the cells with the student as it is, put together from all processes, and the teacher's
    vectors are computed once. The numbers are metrics of the evaluator ``label``: ``best: cells/fidelity/
    knn_overlap_10`` follows one of them, and so does ``early_stopper: {dataloader_label: cells, monitor:
    fidelity/knn_overlap_10, …}``.

    Args:
        train_config: The run's configuration, handed in by llm-foundry.
        adata: Cells that the run does not train on: h5ad, zarr or 10x ``.h5``.
        num_samples: Judge by so many of them, in their labels' proportions; all where ``None``.
        evaluators: Names of evaluators.
        label: What the numbers stand under.
        seed: Of the sample and the folds.
        **settings: ``label_key``, ``batch_key``, ``condition_key``, ``control``, ``layer``, ``gene_key``, ``reference``
            and ``teacher_key`` as `tahoe-distill evaluate` has them. A run with a teacher cache needs ``teacher_key``,
            the teacher's vectors in the file.

    Raises:
        ValueError: At the start of the run, for unknown settings, cells that do not fit, or evaluators that cannot
            judge them.
    """

    def __init__(
        self,
        train_config: Mapping[str, Any],
        adata: str | os.PathLike[str],
        *,
        num_samples: int | None = 1000,
        evaluators: Sequence[str] = ("fidelity", "annotation"),
        label: str = "cells",
        seed: int = 0,
        **settings: Any,
    ):
        check_keys(settings, (*_COLUMNS, *_READING), _WHERE)
        if not train_config.get("eval_loader"):
            raise ValueError(f"{_WHERE} runs when the run evaluates, and it has no eval_loader; add one, or remove it")
        self.evaluators = choose_evaluators(evaluators)
        self.adata, self.num_samples, self.label, self.seed = adata, num_samples, label, seed
        self.columns = Columns(**{name: settings.get(key) for key, name in _COLUMNS.items()})
        self.settings = settings
        self.reading = Reading(gene_key=settings.get("gene_key"))
        # Of the first process.
        self.bench: Any = None
        self.metrics: dict[str, Measured] = {}

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Look at the cells once the run is set up, and judge before the other evaluators do."""
        if event == Event.INIT:
            directions = on_rank_zero(lambda: self._prepare(unwrapped(state)), f"{_WHERE} cannot judge its cells")
            self.metrics = {name: Measured() if higher else MeasuredLoss() for name, higher in directions.items()}
        elif event == Event.BEFORE_LOAD:
            state.eval_metrics[self.label] = dict(self.metrics)
        elif event == Event.EVAL_BEFORE_ALL:
            self._evaluate(state, logger)

    def _prepare(self, model: TahoeDistillModel) -> dict[str, bool]:
        """Have the teacher embed the cells; which numbers there will be, found with the teacher as its own student."""
        query, vectors = self._read(self.adata, self.num_samples)
        reference, known = (None, None)
        if self.settings.get("reference"):
            reference, known = self._read(self.settings["reference"], None)
        self.bench = Bench(query, reference, self.columns, self.seed)
        self.bench.subjects[TEACHER] = self._teacher(model, vectors, known)
        teacher = self.bench.teacher
        twin = Subject(STUDENT, STUDENT, teacher.query, teacher.reference, shared_space=True, model=teacher.model)
        found = self._judge(twin)
        if not found.values.get(STUDENT):
            reasons = "; ".join(f"{entry['evaluator']}: {entry['reason']}" for entry in found.skipped)
            raise ValueError(f"{_WHERE}: none of its evaluators can judge these cells. {reasons}")
        return {name: found.higher_is_better[name] for name in found.values[STUDENT]}

    def _read(self, path: str | os.PathLike[str], count: int | None) -> tuple[AnnData, np.ndarray | None]:
        with open_cells(path, layer=self.settings.get("layer")) as cells:
            numbers = np.arange(cells.n_obs)
            if count is not None:
                numbers = sample(cells.obs, self.columns, count, seed=self.seed)
            key = self.settings.get("teacher_key")
            return cells.to_anndata(numbers), None if key is None else cells.embedding(key)[:][numbers]

    def _teacher(self, model: TahoeDistillModel, vectors: np.ndarray | None, known: np.ndarray | None) -> Subject:
        teacher = model.teacher
        if vectors is not None:
            return teacher_subject(TeacherVectors(vectors, known), self.bench, self.reading)
        if teacher is None or teacher.model is None or teacher.processor is None:
            raise ValueError(
                f"{_WHERE} needs the teacher's vectors of its cells, and this run has no live teacher: put them into "
                "obsm of the file and name them with teacher_key, or remove the callback"
            )
        return teacher_subject((teacher.model, teacher.processor), self.bench, self.reading)

    def _judge(self, subject: Subject) -> Evaluation:
        found = Evaluation(self.bench)
        for evaluator in self.evaluators:
            judge_one(found, subject, evaluator)
        return found

    def _evaluate(self, state: State, logger: Logger) -> None:
        model = unwrapped(state)
        weights = gather_weights(model)

        def judge() -> dict[str, float]:
            student = build_whole(model, weights, torch.float32)
            pair = (student, model.make_processor())
            # What an evaluator has kept is that of the student of an earlier batch.
            self.bench.memory.clear()
            subject = embed_subject(pair, self.bench, name=STUDENT, role=STUDENT, reading=self.reading)
            return self._judge(subject).values.get(STUDENT, {})

        values = on_rank_zero(judge, f"{_WHERE} could not judge the student")
        for name, metric in self.metrics.items():
            metric.reset()
            if name in values:
                state.device.module_to_device(metric).update(values[name])
        state.eval_metrics[self.label] = dict(self.metrics)
        for callback in state.callbacks:
            # Composer asks a stopper after each of its own evaluators, of which this is none.
            if isinstance(callback, EarlyStopper) and callback.dataloader_label == self.label:
                callback._update_stopper_state(state)
        logger.log_metrics({f"metrics/{self.label}/{name}": value for name, value in values.items()})
