"""The callback `hf_student`: writes the student as a Hugging Face folder during and after training."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from composer.core import Event, State, Time, TimeUnit
from composer.loggers import Logger
from composer.utils import create_interval_scheduler, dist
from llmfoundry.interfaces import CallbackWithConfig
from torch import Tensor

from tahoe_distill.hub.card import write_card
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.folder import (
    AVERAGE_FILE,
    BEST_FILE,
    CARD_FILE,
    CONFIDENCE_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    TRAINING_FILE,
    to_json,
)
from tahoe_distill.hub.heads import with_head
from tahoe_distill.hub.push import NotBetterError, check_push_settings, push_folder
from tahoe_distill.models import Tx1Model
from tahoe_distill.probes import PROBE_FILE, Probe
from tahoe_distill.teacher.load import fingerprint_of
from tahoe_distill.training.calibration import Calibration
from tahoe_distill.training.callbacks.eval_metrics import BestSoFar, read_metrics
from tahoe_distill.training.callbacks.stages import stages_ended
from tahoe_distill.training.classifier import gather_head
from tahoe_distill.training.dataloader import recorded_cells
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.rank_zero import on_rank_zero
from tahoe_distill.training.store import StoreFolder, is_remote, local_folder, send_folder
from tahoe_distill.training.student.whole import average_exports, build_whole, gather_weights, unwrapped

log = logging.getLogger(__name__)


class HFStudentCallback(CallbackWithConfig):
    """Exports the student at an interval, at the end of each stage of a schedule, and at the end of the fit.

    The last export gets the name ``folder``; the ones before it ``folder-ba<batch>``; the best one, with ``best``,
    ``folder-best``; the mean of the last ones, with ``average_last``, ``folder-average``. Each is written under a
    temporary name, loaded in a fresh process and compared, and only then renamed. A mismatch stops the run.

    Args:
        train_config: The run's configuration, handed in by llm-foundry and recorded in the folder.
        folder: Where the finished student goes: a folder, or one of an object store (``s3://…``). What goes there is
            written on this disk first, under its path in the bucket.
        save_interval: How often, in Composer's time strings (``500ba``, ``1ep``, ``1dur``).
        overwrite: Replace folders that exist; otherwise they are an error. What the same run wrote before it was
            killed and resumed is replaced in any case. A run that had ended and is started again writes ``folder``
            where it is missing, and leaves it otherwise.
        verify: Reload each export in a fresh process.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        push_to_hub: ``{repo_id: …, private: …, only_if_better: …, mode: …}`` to publish the last export; all keys but
            the first may be left out. A student that is not better is kept and not published, and the run ends well.
        best: Name of an evaluation metric, or ``{metric: …, mode: max or min}``: after each evaluation that improves
            on it, the student replaces ``folder-best``, with value and batch in its ``best.json``.
        average_last: Also write the mean of the weights of so many exports, the last one and those of the interval
            before it, to ``folder-average``, with their batches in its ``average.json``. Nobody has evaluated it, so
            it has no metrics.

    Raises:
        FileExistsError: At the start of the run, when ``folder`` exists, or ``folder-best`` or ``folder-average`` of
            another run, and ``overwrite`` is off.
        ValueError: At the start of the run, for an unknown dtype, an average of fewer than 2, a bad key of
            ``push_to_hub`` or ``best``, or a metric that the run does not report.
    """

    def __init__(
        self,
        train_config: Mapping[str, Any],
        folder: str | os.PathLike[str],
        save_interval: str = "1dur",
        *,
        overwrite: bool = False,
        verify: bool = True,
        dtype: str = "float32",
        push_to_hub: Mapping[str, Any] | None = None,
        best: str | Mapping[str, Any] | None = None,
        average_last: int | None = None,
    ):
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"hf_student.dtype must be float32, bfloat16 or float16; found {dtype!r}")
        if average_last is not None and (not isinstance(average_last, int) or average_last < 2):
            raise ValueError(
                f"hf_student.average_last must be 2 or more, the exports to average; found {average_last!r}"
            )
        self.average_last = average_last
        self.config = _with_cells(train_config)
        self.push = None if push_to_hub is None else check_push_settings(push_to_hub, "hf_student.push_to_hub")
        if self.push and not self.config.get("eval_loader"):
            raise ValueError(
                "hf_student.push_to_hub needs metrics to publish, but the run has no eval_loader; add one, or remove "
                "push_to_hub"
            )
        self.best = None if best is None else BestSoFar.from_options(best)
        # Of a store's folders, what is there counts; those on this disk are copies.
        self.remote = str(folder).rstrip("/") if is_remote(folder) else None
        self.folder = local_folder(folder)
        self.best_folder = self.folder.with_name(f"{self.folder.name}-best")
        self.average_folder = self.folder.with_name(f"{self.folder.name}-average")
        self.overwrite = overwrite
        self.verify = verify
        self.dtype = getattr(torch, dtype)
        interval = Time.from_input(save_interval, TimeUnit.EPOCH)
        self.due = create_interval_scheduler(interval, include_end_of_training=False)
        self.calibration: Calibration | None = None
        # Values of the last evaluation, which a checkpoint of Composer lacks.
        self.metrics: dict[str, float] = {}
        self.resumed = False
        # Where a run may carry on from a checkpoint, that is loaded first.
        if not self.config.get("autoresume"):
            self._check_folders(self._exists(self.folder))

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Export at the interval and at a stage's end, after an evaluation that improves, and at the end of the fit."""
        # The end of the fit comes after its last evaluation, so that export carries fresh metrics.
        if event == Event.FIT_END:
            self._export_last(state)
        elif event == Event.AFTER_LOAD:
            self._check_start(state)
        elif event == Event.EVAL_BATCH_END:
            self._keep_cells(state)
        elif event == Event.EVAL_AFTER_ALL:
            self._note_evaluation(state)
        elif self._is_interval(event, state) or self._is_stage_end(event, state):
            self._export(state, self._interval_folder(state))

    def state_dict(self) -> dict[str, str]:
        """The last and the best evaluation, as texts: a sharded resume needs the same keys whatever a run has."""
        best = self.best.record() if self.best else {}
        return {"best": json.dumps(best), "metrics": json.dumps(self.metrics)}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Carry on from them."""
        self.metrics = json.loads(state["metrics"])
        if self.best:
            self.best.restore(json.loads(state["best"]))

    def _check_start(self, state: State) -> None:
        """Refuse a folder of another run; write that of a run which was killed after its last batch."""
        if self.best:
            self.best.check(state)
        self.resumed = bool(self.config.get("autoresume") and state.timestamp.batch.value)
        exists, own = dist.all_gather_object((self._exists(self.folder), self._is_own(self.folder)))[0]
        self._check_folders(exists and not (own and self.resumed))
        elapsed = state.get_elapsed_duration()
        if elapsed is not None and elapsed >= 1.0 and (self.overwrite or not exists):
            self._export_last(state)

    def _keep_cells(self, state: State) -> None:
        """Have the first evaluator's cells at hand for the export's word on how far to trust a vector."""
        if dist.get_global_rank() or state.dataloader_label != _first_label(state):
            return
        if self.calibration is None:
            self.calibration = Calibration(unwrapped(state))
        if state.eval_timestamp.batch.value <= 1:
            self.calibration.clear()
        outputs: Any = state.outputs
        self.calibration.add(state.batch, outputs)

    def _note_evaluation(self, state: State) -> None:
        self.metrics = read_metrics(state)
        if self.best and self.best.improved(state):
            self._export(state, self.best_folder, extra={BEST_FILE: to_json(self.best.record())})

    def _is_interval(self, event: Event, state: State) -> bool:
        elapsed = state.get_elapsed_duration()
        return elapsed is not None and elapsed < 1.0 and self.due(state, event)

    def _is_stage_end(self, event: Event, state: State) -> bool:
        ended = stages_ended(state, event)
        if ended:
            log.info("a stage of %s ends with batch %d", ", ".join(ended), state.timestamp.batch.value)
        return bool(ended)

    def _check_folders(self, in_the_way: bool) -> None:
        if in_the_way and not self.overwrite:
            raise _in_the_way(self._place(self.folder))
        also = ([self.best_folder] if self.best else []) + ([self.average_folder] if self.average_last else [])
        for folder in also:
            if self._exists(folder) and not self._may_replace(folder):
                raise _in_the_way(self._place(folder))

    def _place(self, folder: Path) -> str:
        """What a folder is called: its address in the store, or its path."""
        return str(folder) if self.remote is None else f"{self.remote.rpartition('/')[0]}/{folder.name}"

    def _exists(self, folder: Path) -> bool:
        return folder.exists() if self.remote is None else self._record(folder) is not None

    def _is_own(self, folder: Path) -> bool:
        """Whether a folder was written by this run, before it was killed or had ended."""
        return self._record(folder) == to_json(self.config)

    def _record(self, folder: Path) -> str | None:
        """The settings of the run that wrote a folder."""
        if self.remote is not None:
            return StoreFolder(self._place(folder)).text(HYPERPARAMETERS_FILE)
        record = folder / HYPERPARAMETERS_FILE
        return record.read_text(encoding="utf-8") if record.is_file() else None

    def _may_replace(self, folder: Path) -> bool:
        # A resumed run may have other settings by now, such as the number of workers.
        return self.overwrite or self.resumed or self._is_own(folder)

    def _interval_folder(self, state: State) -> Path:
        return self.folder.with_name(f"{self.folder.name}-ba{state.timestamp.batch.value}")

    def _export_last(self, state: State) -> None:
        self._export(state, self.folder, push=self.push)
        if self.average_last:
            on_rank_zero(lambda: self._write_average(state), "rank 0 could not average the last exports")

    def _write_average(self, state: State) -> None:
        """The mean of the last exports, from their folders."""
        batch = state.timestamp.batch.value
        exports = {n: path for n, path in self._interval_exports().items() if n < batch} | {batch: self.folder}
        batches = sorted(exports)[-(self.average_last or 0) :]
        if len(batches) < (self.average_last or 0):
            log.warning(
                "hf_student.average_last asks for the mean of %d exports, and there are %d (batches %s): give a "
                "shorter save_interval",
                self.average_last,
                len(batches),
                ", ".join(map(str, batches)),
            )
        student = average_exports([exports[number] for number in batches], self.dtype)
        extra = {AVERAGE_FILE: to_json({"batches": batches})}
        self._write_student(state, unwrapped(state), student, self.average_folder, extra=extra, metrics={})

    def _interval_exports(self) -> dict[int, Path]:
        """Batch and folder of this run's exports at the interval."""
        start = f"{self.folder.name}-ba"
        found = {path.name.removeprefix(start): path for path in self.folder.parent.glob(f"{start}*")}
        return {int(number): path for number, path in found.items() if number.isdigit() and self._is_own(path)}

    def _export(
        self,
        state: State,
        folder: Path,
        *,
        extra: Mapping[str, str] | None = None,
        push: Mapping[str, Any] | None = None,
    ) -> None:
        model = unwrapped(state)
        weights, head = gather_weights(model), gather_head(model.objectives)

        def write() -> None:
            self._write(state, model, weights, folder, extra=extra or {}, head=head)
            if push:
                _publish(folder, push)

        on_rank_zero(write, "rank 0 could not export the student")

    def _write(
        self,
        state: State,
        model: TahoeDistillModel,
        weights: Mapping[str, Tensor],
        folder: Path,
        *,
        extra: Mapping[str, str],
        head: Probe | None,
    ) -> None:
        metrics = read_metrics(state) or self.metrics
        student = build_whole(model, weights, self.dtype)
        self._write_student(state, model, student, folder, extra=extra, metrics=metrics, head=head)

    def _write_student(
        self,
        state: State,
        model: TahoeDistillModel,
        student: Tx1Model,
        folder: Path,
        *,
        extra: Mapping[str, str],
        metrics: Mapping[str, float],
        head: Probe | None = None,
    ) -> None:
        processor = model.make_processor(*_names(state))
        if head is not None:
            head = replace(head, fingerprint=fingerprint_of(student.state_dict(), processor.vocab))
        recorded = to_json(self.config)
        training = _training(state)
        files = {
            **extra,
            TRAINING_FILE: to_json(training),
            **self._confidence(student),
            # From the record as it will be read, so that the folder alone gives the same card again.
            CARD_FILE: write_card(
                student.config,
                json.loads(recorded),
                metrics,
                genes=model.student_vocab.naming,
                training=training,
                probe=None if head is None else json.loads(head.to_text()),
            ),
            HYPERPARAMETERS_FILE: recorded,
            METRICS_FILE: to_json(metrics),
        }
        if head is not None:
            files[PROBE_FILE] = head.to_text()
        whole = student if head is None else with_head(student, head)
        overwrite = self.remote is not None or self._may_replace(folder)
        write_model_folder(whole, processor, folder, extra_files=files, verify=self.verify, overwrite=overwrite)
        if self.remote is not None:
            send_folder(folder, self._place(folder))
        log.info("wrote the student to %s", self._place(folder))

    def _confidence(self, student: Tx1Model) -> dict[str, str]:
        """The file that tells how far to trust a vector, where there was an evaluation to learn it from."""
        found = None if self.calibration is None else self.calibration.fit(student)
        return {} if found is None else {CONFIDENCE_FILE: found.to_text()}


def _training(state: State) -> dict[str, Any]:
    """How long the run was trained, over all of its resumptions, and on what."""
    seconds = state.timestamp.total_wct
    hardware = f"{torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    return {
        "seconds": round(seconds.total_seconds(), 1) if seconds else 0.0,
        "batches": state.timestamp.batch.value,
        "processes": dist.get_world_size(),
        "hardware": hardware,
    }


def _first_label(state: State) -> str | None:
    return state.evaluators[0].label if state.evaluators else None


def _with_cells(train_config: Mapping[str, Any]) -> dict[str, Any]:
    """The run's configuration, and among its variables what its cells are: the record is all that a card is made of."""
    config = dict(train_config)
    evaluation = config.get("eval_loader") or {}
    sections = {"training": config.get("train_loader") or {}}
    sections |= {} if isinstance(evaluation, list) else {"evaluation": evaluation}
    found = {use: recorded_cells(section) for use, section in sections.items()}
    known = {use: cells for use, cells in found.items() if cells}
    if known:
        config["variables"] = {**(config.get("variables") or {}), "cells": known}
    return config


def _in_the_way(folder: str) -> FileExistsError:
    return FileExistsError(
        f"{folder} exists already; remove it, give callbacks.hf_student.folder another name, or set "
        "callbacks.hf_student.overwrite=true"
    )


def _publish(folder: Path, settings: Mapping[str, Any]) -> None:
    try:
        report = push_folder(folder, **settings)
    except NotBetterError as error:
        log.warning("the student in %s was not published: %s", folder, error)
    except Exception as error:
        raise RuntimeError(
            f"the student is in {folder}, but could not be published ({error}); publish it with "
            f"tahoe-distill push {folder} {settings['repo_id']}"
        ) from error
    else:
        log.info("published the student as %s", report.url)


def _names(state: State) -> tuple[dict[str, str], dict[str, int] | None]:
    """Gene symbols that came with the training shards, and the drugs that their collator knows, if any."""
    collator = getattr(state.train_dataloader, "collate_fn", None)
    vocab, drugs = getattr(collator, "vocab", None), getattr(collator, "drugs", None)
    return {} if vocab is None else vocab.symbols, None if drugs is None else drugs.numbers_by_name
