"""The callback `hf_student`: writes the student as a Hugging Face folder during and after training."""

import json
import logging
import shutil
from pathlib import Path

import torch
from composer.core import Event, Time, TimeUnit
from composer.utils import create_interval_scheduler, dist
from llmfoundry.interfaces import CallbackWithConfig
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from tahoe_distill.hub.card import write_card
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import Tx1Model

log = logging.getLogger(__name__)


class HFStudentCallback(CallbackWithConfig):
    """Exports the student at an interval and at the end of the fit.

    The last export gets the name ``folder``; the ones before it ``folder-ba<batch>``. Each is written under a
    temporary name, loaded in a fresh process and compared, and only then renamed. A mismatch stops the run.

    Args:
        train_config: The run's configuration, handed in by llm-foundry and recorded in the folder.
        folder: Where the finished student goes.
        save_interval: How often, in Composer's time strings (``500ba``, ``1ep``, ``1dur``).
        overwrite: Replace folders that exist; otherwise they are an error at the start.
        verify: Reload each export in a fresh process.
        dtype: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        FileExistsError: At the start of the run, when ``folder`` exists and ``overwrite`` is off.
        ValueError: For an unknown dtype.
    """

    def __init__(self, train_config, folder, save_interval="1dur", overwrite=False, verify=True, dtype="float32"):
        if dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"hf_student.dtype must be float32, bfloat16 or float16; found {dtype!r}")
        self.config = dict(train_config)
        self.folder = Path(folder)
        self.overwrite = overwrite
        self.verify = verify
        self.dtype = getattr(torch, dtype)
        interval = Time.from_input(save_interval, TimeUnit.EPOCH)
        self.due = create_interval_scheduler(interval, include_end_of_training=False)
        if self.folder.exists() and not overwrite:
            raise FileExistsError(
                f"{self.folder} exists already; remove it, give callbacks.hf_student.folder another name, or set "
                "callbacks.hf_student.overwrite=true"
            )

    def run_event(self, event, state, logger):
        """Export when the interval says so."""
        elapsed = state.get_elapsed_duration()
        if elapsed is None:
            return
        # The end of the fit comes after its last evaluation, so that export carries fresh metrics.
        if event == Event.FIT_END and elapsed >= 1.0:
            self._export(state, self.folder)
        elif elapsed < 1.0 and self.due(state, event):
            self._export(state, self._interval_folder(state))

    def _interval_folder(self, state):
        return self.folder.with_name(f"{self.folder.name}-ba{state.timestamp.batch.value}")

    def _export(self, state, folder):
        model = state.model.module if state.is_model_ddp else state.model
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(model.student, options=options)
        problem = None
        if dist.get_global_rank() == 0:
            try:
                self._write(model, weights, folder, _metrics(state))
            except Exception as error:  # Raised below, on every rank: the others would wait for ever.
                problem = error
        problems = dist.all_gather_object(problem and f"{type(problem).__name__}: {problem}")
        if problem is not None:
            raise problem
        if problems[0] is not None:
            raise RuntimeError(f"rank 0 could not export the student: {problems[0]}")

    def _write(self, model, weights, folder, metrics):
        config = type(model.student.config).from_dict(model.student.config.to_dict())
        with torch.device("meta"):
            student = Tx1Model(config)
        student.load_state_dict(weights, assign=True, strict=True)
        student = student.to(self.dtype).eval()
        table = student.gene_encoder.embedding.weight.numel()
        card = write_card(config, student.num_parameters(), table, self.config, metrics)
        extra = {
            "README.md": card,
            "training_hyperparameters.json": json.dumps(self.config, indent=2, sort_keys=True, default=str) + "\n",
            "metrics.json": json.dumps(metrics, indent=2, sort_keys=True) + "\n",
        }
        if folder.exists() and self.overwrite:
            shutil.rmtree(folder)
        write_model_folder(student, model.make_processor(), folder, extra, verify=self.verify)
        log.info("wrote the student to %s", folder)


def _metrics(state):
    found = {}
    for label, metrics in state.eval_metrics.items():
        for name, metric in metrics.items():
            if metric.update_called:
                found[f"{label}/{name}"] = float(metric.compute())
    return found
