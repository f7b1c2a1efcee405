"""A transformer student from a notebook: shards and a run's configuration in a temporary folder, a run in a process."""

import collections
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from anndata import AnnData
from tqdm.auto import tqdm

from tahoe_distill.cells.formats import Source
from tahoe_distill.cells.values import COUNTS
from tahoe_distill.embedding import load_student
from tahoe_distill.fitting.cells import LEAST_CELLS
from tahoe_distill.fitting.fit import OBJECTIVES, Fitted
from tahoe_distill.fitting.labelled import FitSettings
from tahoe_distill.hub.folder import HYPERPARAMETERS_FILE, METRICS_FILE, TRAINING_FILE, read_record
from tahoe_distill.lazy import how_to_install
from tahoe_distill.teacher import Teacher, load_teacher

_LR = 1e-3
# Thinned and mixed cells, as the views of a fit are.
_AUGMENT = {"downsample": {"probability": 0.7, "low": 0.3, "high": 1.0}, "mix": {"probability": 0.5}}
# A process of its own: a run owns signals, thread counts and the process group.
_RUN = "from tahoe_distill.cli.distill import main; main()"
_TAIL = 30


def require_training() -> None:
    """Refuse to begin where a run could not.

    Raises:
        ImportError: With the extra that brings what is missing.
    """
    missing = [name for name in ("composer", "llmfoundry", "streaming") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"a transformer student is trained by Composer, and {', '.join(missing)} is not installed: "
            f"{how_to_install('train')}, or choose a student without attention (static-tiny, static-small, "
            "static-medium)"
        )


def train_transformer(
    adata: Source,
    teacher: str | os.PathLike[str] | Teacher,
    student: str | Mapping[str, Any],
    *,
    out: str | os.PathLike[str],
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    size: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **reading: Any,
) -> Fitted:
    """Train a student by Composer, as `composer scripts/distill.py` does, on cells of one source.

    Args:
        adata: The cells.
        teacher: What :func:`load_teacher` takes, or what it gave.
        student: As ``model.student`` of a run has it.
        out: Folder to write the student to.
        objectives: As ``model.objectives``; those of a fit when left out.
        settings: ``steps``, ``batch_size``, ``lr``, ``context``, ``held_out``, ``seed`` and ``device`` of the run; its
            views are without end.
        size: Which of a release's sizes.
        overwrite: Replace what stands in ``out``.
        progress: Show what the run says.
        **reading: ``layer``, ``gene_key`` and ``symbols``, as :func:`tahoe_distill.data.prepare_shards` takes them.

    Returns:
        The :class:`Fitted`; its numbers are those of the run's evaluation.

    Raises:
        ImportError: When the extra ``[train]`` is not installed.
        ValueError: When cells, teacher and student do not fit each other.
        RuntimeError: When the run fails, with the end of what it said.
    """
    require_training()
    settings = settings or FitSettings()
    if not settings.steps:
        raise ValueError("a transformer has no closed form: give settings with steps, found 0")
    loaded = teacher if isinstance(teacher, Teacher) else load_teacher(teacher, size=size)
    with tempfile.TemporaryDirectory(prefix="tahoe-distill-") as scratch:
        metadata = _prepare(adata, loaded, Path(scratch), settings, reading)
        run = run_config(loaded, metadata, student, shards=f"{scratch}/shards", out=out, settings=settings)
        run["model"]["teacher"] = {"source": loaded.source, **({"size": size} if size else {})}
        run["model"]["objectives"] = dict(objectives or OBJECTIVES)
        run["callbacks"]["hf_student"]["overwrite"] = overwrite
        path = Path(scratch) / "run.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(run), encoding="utf-8")
        _run(path, settings, progress)
    model, processor = load_student(out)
    metrics, record, training = (read_record(out, name) for name in (METRICS_FILE, HYPERPARAMETERS_FILE, TRAINING_FILE))
    return Fitted(model, processor, metrics, record, training, folder=Path(out))


def run_config(
    teacher: Teacher,
    metadata: Mapping[str, Any],
    student: str | Mapping[str, Any],
    *,
    shards: str,
    out: str | os.PathLike[str],
    settings: FitSettings,
) -> dict[str, Any]:
    """The configuration of the run, but for its teacher and objectives.

    Args:
        teacher: The teacher.
        metadata: What :func:`tahoe_distill.data.prepare_shards` said of the cells.
        student: As ``model.student``.
        shards: Where they were prepared to.
        out: Folder to write the student to.
        settings: How to fit.
    """
    context = min(settings.context + 1, teacher.processor.max_length)
    collator: dict[str, Any] = {"do_mlm": False, "max_length": context}
    counts = all(item["values"] == COUNTS for item in metadata["inputs"])
    common = {"name": "tahoe_mds", "num_workers": 0}
    batch = min(settings.batch_size, metadata["cells"]["train"])
    on_gpu = settings.device == "auto" and torch.cuda.is_available()
    train = {"local": f"{shards}/train", "shuffle": True, "shuffle_seed": settings.seed, "num_canonical_nodes": 1}
    judged = {"local": f"{shards}/val", "shuffle": False, "num_canonical_nodes": 1}
    return {
        "run_name": "Distilled Tahoe-x1",
        "seed": settings.seed,
        "max_seq_len": context,
        "tokenizer": {},
        "model": {"name": "tahoe_distill", "student": student if isinstance(student, str) else dict(student)},
        "train_loader": {
            **common, "dataset": train, "drop_last": True,
            "collator": {**collator, **({"augment": _AUGMENT} if counts else {})},
        },
        "eval_loader": {**common, "dataset": judged, "drop_last": False, "collator": collator},
        "global_train_batch_size": batch,
        "device_train_microbatch_size": batch,
        "device_eval_batch_size": 64,
        "accumulate_train_batch_on_tokens": False,
        "max_duration": f"{settings.steps}ba",
        "eval_interval": "1dur",
        "precision": "amp_bf16" if on_gpu else "fp32",
        "optimizer": {
            "name": "decoupled_adamw", "lr": settings.lr or _LR, "betas": [0.9, 0.98], "weight_decay": 0.0,
        },
        "scheduler": {
            "name": "cosine_with_warmup", "t_warmup": f"{min(50, settings.steps // 10)}ba", "alpha_f": 0.02,
        },
        "algorithms": {"gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0}},
        "callbacks": {"distillation": {}, "hf_student": {"folder": os.fspath(out), "save_interval": "1dur"}},
        "progress_bar": False,
        "python_log_level": "warning",
    }  # fmt: skip


def _prepare(
    adata: Source, teacher: Teacher, scratch: Path, settings: FitSettings, reading: Mapping[str, Any]
) -> dict[str, Any]:
    """Shards of the cells, for training and for evaluation."""
    from tahoe_distill.data import prepare_shards

    reading = dict(reading)
    if isinstance(adata, AnnData):
        table, matrix = teacher.processor.source(adata, reading.pop("layer", None))
        adata = scratch / "cells.h5ad"
        AnnData(matrix, var=table.var).write_h5ad(adata)
    vocab, share = teacher.processor.vocab, settings.held_out
    metadata = prepare_shards([adata], scratch / "shards", vocab, val_fraction=share, seed=settings.seed, **reading)
    cells = metadata["cells"]
    if cells["train"] + cells["val"] < LEAST_CELLS or not cells["val"]:
        raise ValueError(
            f"found {cells['train']} cells to learn from and {cells['val']} to judge by; expected {LEAST_CELLS} at "
            "least in all, some of them held out"
        )
    return metadata


def _run(path: Path, settings: FitSettings, progress: bool) -> None:
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if settings.device == "cpu" else {})}
    command = [sys.executable, "-c", _RUN, "-f", str(path)]
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            tail.append(line)
            if progress:
                tqdm.write(line.rstrip())
    if process.returncode:
        raise RuntimeError(f"the run ended with exit code {process.returncode}; it said:\n{''.join(tail)}")
