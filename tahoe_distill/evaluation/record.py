"""What an evaluation leaves behind: `metrics.json`, tables for people and programs, and one line for each cell."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.run import Evaluation
from tahoe_distill.evaluation.subjects import STUDENT, TEACHER, Subject
from tahoe_distill.evaluation.verdict import MARGIN, controls, judge

SCHEMA = "tahoe-distill/evaluation/1"
METRICS_FILE, TABLE_FILE, CSV_FILE, CELLS_FILE = "metrics.json", "metrics.md", "metrics.csv", "cells.csv.gz"
# Columns of the table of cells, by their last part, that hold names.
_TEXTS = ("cell", "label", "batch", "condition", "predicted_label", "cluster")
_PACKAGES = ("tahoe-distill", "torch", "transformers", "numpy", "scipy", "scikit-learn", "anndata", "scanpy", "igraph")


def to_record(found: Evaluation, *, files: Mapping[str, Any] | None = None, margin: float = MARGIN) -> dict[str, Any]:
    """An evaluation as ``metrics.json`` holds it; docs/evaluation.md describes each field.

    Args:
        found: The evaluation.
        files: What is known of the files the cells came from.
        margin: Macro-F1 that a student may lose and still replace its teacher.
    """
    bench = found.bench
    return {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(found.seconds, 1),
        "cells": {
            "query": bench.query.n_obs,
            "reference": None if bench.reference is None else bench.reference.n_obs,
            "genes": bench.query.n_vars,
            "names": _digest(bench.query.obs_names),
            "columns": {key: value for key, value in vars(bench.columns).items() if value is not None},
            "files": dict(files or {}),
        },
        "seed": bench.seed,
        "primary": dict(found.primary),
        "higher_is_better": dict(found.higher_is_better),
        "subjects": {name: _subject(found, subject) for name, subject in found.subjects.items()},
        "controls": controls(found),
        "verdicts": [judge(found, student.name, margin).to_dict() for student in found.students],
        "skipped": found.skipped,
        "notes": found.notes,
        "machine": machine(),
        "versions": versions(),
    }


def _subject(found: Evaluation, subject: Subject) -> dict[str, Any]:
    name = subject.name
    record: dict[str, Any] = {
        "role": subject.role,
        "source": subject.source,
        "dimensions": int(subject.query.shape[1]),
        "in_teacher_space": subject.shared_space,
        "about": subject.about,
        "values": found.values.get(name, {}),
        "intervals": {key: list(ends) for key, ends in found.intervals.get(name, {}).items()},
        "tables": found.tables.get(name, {}),
    }
    if subject.role == TEACHER:
        record["sketch"] = sketch(subject.query)
    if subject.model is not None and subject.role in (TEACHER, STUDENT):
        config = subject.model[0].config
        record["shape"] = {
            key: getattr(config, key)
            for key in ("encoder", "num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
            if hasattr(config, key)
        }
    return record


def sketch(vectors: np.ndarray) -> list[float]:
    """Cosines, around the mean, of some neighbouring rows of (n, e): what tells one teacher's vectors from another's.

    They hold whatever machine computed the vectors, as a hash of them would not.
    """
    chosen = vectors[np.unique(np.linspace(0, len(vectors) - 1, min(33, len(vectors))).astype(int))].astype(np.float64)
    centered = chosen - vectors.mean(axis=0, dtype=np.float64)
    unit = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-30)
    return (unit[1:] * unit[:-1]).sum(axis=1).round(4).tolist()


def write_record(found: Evaluation, record: Mapping[str, Any], folder: str | os.PathLike[str]) -> None:
    """Write ``metrics.json``, ``metrics.csv``, ``metrics.md`` and ``cells.csv.gz`` into a folder that is there.

    Args:
        found: The evaluation.
        record: :func:`to_record` of it.
        folder: Where.
    """
    from tahoe_distill.metrics.tables import markdown_table

    folder = Path(folder)
    (folder / METRICS_FILE).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    long_table(record).to_csv(folder / CSV_FILE, index=False)
    (folder / TABLE_FILE).write_text(markdown_table(record) + "\n", encoding="utf-8")
    # No time in the archive, so that the same evaluation writes the same file.
    compression: dict[str, Any] = {"method": "gzip", "mtime": 0}
    cell_table(found).to_csv(folder / CELLS_FILE, index=False, compression=compression)


def check_output(folder: str | os.PathLike[str], *, overwrite: bool, file: str = METRICS_FILE) -> None:
    """Refuse a place to write to before anything is computed: one that holds something else.

    Args:
        folder: Where to write.
        overwrite: Whether what this command wrote there earlier may go.
        file: The file by which that is known.

    Raises:
        FileExistsError: With the way out.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    what = "an evaluation" if file == METRICS_FILE else "a comparison"
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / file).is_file()):
        raise FileExistsError(f"{folder} holds other things than {what}; choose another --out")
    if any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"{folder} holds {what} already; choose another --out, or add --overwrite")


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``metrics.json``, given itself or the folder that holds it.

    Raises:
        FileNotFoundError: When there is none.
        ValueError: When it is something else, or of another version.
    """
    path = Path(path)
    path = path / METRICS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected what `tahoe-distill evaluate --out` wrote, or its {METRICS_FILE}"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: expected what `tahoe-distill evaluate --out` writes, found no JSON ({error})"
        ) from error
    found = record.get("schema") if isinstance(record, dict) else None
    if found != SCHEMA:
        raise ValueError(
            f"{path}: expected an evaluation of schema {SCHEMA!r}, found {found!r}; evaluate again with this version, "
            "or give --teacher and --adata where this is a model"
        )
    return record


def read_cells(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``cells.csv.gz``, given itself or the folder that holds it: names as texts, all else as numbers.

    Raises:
        FileNotFoundError: When there is none.
    """
    path = Path(path)
    path = path / CELLS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, which `tahoe-distill evaluate --out` writes; evaluate again")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in table.columns:
        if name == "judged":
            table[name] = table[name] == "True"
        elif name not in _TEXTS and name.rpartition("/")[2] not in _TEXTS:
            table[name] = _numbers(table[name])
    return table


def _numbers(column: pd.Series) -> pd.Series:
    """Numbers of a column, NaN where it is empty; as it is where it holds texts."""
    try:
        return pd.to_numeric(column.replace("", np.nan))
    except ValueError:
        return column


def long_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each number: ``subject``, ``role``, ``metric``, ``value``, ``low``, ``high``."""
    rows = []
    for name, subject in record["subjects"].items():
        for metric, value in subject["values"].items():
            low, high = subject["intervals"].get(metric, (None, None))
            rows.append((name, subject["role"], metric, value, low, high))
    return pd.DataFrame(rows, columns=["subject", "role", "metric", "value", "low", "high"])


def cell_table(found: Evaluation) -> pd.DataFrame:
    """A row for each query cell: its name, its label, batch and condition, and ``subject/number`` of each."""
    bench = found.bench
    columns: dict[str, np.ndarray] = {"cell": bench.query.obs_names.to_numpy(dtype=str)}
    for need, name in {"batches": "batch", "conditions": "condition"}.items():
        if need in bench.available:
            columns[name] = getattr(bench, need)
    if "labels" in bench.available:
        columns["label"] = bench.labels
        judged = np.zeros(bench.query.n_obs, dtype=bool)
        judged[bench.judged] = True
        columns["judged"] = judged
    for name, numbers in found.cells.items():
        columns |= {f"{name}/{key}": np.asarray(values) for key, values in numbers.items()}
    return pd.DataFrame(columns)


def describe_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Name, size and SHA-256 of a file; of a folder, such as a zarr store, over its files in order."""
    path, digest = Path(path), hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode())
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return {"name": path.name, "bytes": sum(file.stat().st_size for file in files), "sha256": digest.hexdigest()}


def machine() -> dict[str, Any]:
    """What the speeds were measured on."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digest(names: Any) -> str:
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()
