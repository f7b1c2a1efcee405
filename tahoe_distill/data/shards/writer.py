"""Cells to MDS shard files, and shard folders to one index."""

import json
import os
import pickle
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch
from streaming import MDSWriter

from tahoe_distill.data.batch import EXPRESSIONS, GENES, ID, TEACHER
from tahoe_distill.files import replace_text

INDEX_FILE = "index.json"
# Beside the splits of a prepared set: what it was made of.
METADATA_FILE = "metadata.json"
SHARD_BYTES = 1 << 25
_DYNAMIC_1D: dict[Any, int] = {np.uint8: 0, np.uint16: 1, np.uint32: 2}


def columns_of(kept: Mapping[str, str], teacher_width: int | None, format: str) -> dict[str, str]:
    """MDS columns of a set of shards.

    Args:
        kept: Encoding of each kept ``obs`` column, by name.
        teacher_width: Width of the teacher embedding, ``None`` without one.
        format: ``"typed"`` or ``"tahoe"``.
    """
    arrays = {GENES: "ndarray:int32", EXPRESSIONS: "ndarray:float32"} if format == "typed" else {}
    if format == "tahoe":
        arrays = {GENES: "pkl", EXPRESSIONS: "pkl"}
    teacher = {TEACHER: f"ndarray:float32:{teacher_width}"} if teacher_width else {}
    return {**arrays, ID: "int64" if format == "tahoe" else "int", **kept, **teacher}


class ShardWriter(MDSWriter):
    """An MDS writer that leaves no index after an exception: ``finish`` it, or it is as if it had never been.

    Genes and expression skip the general encoder, which costs more than all the rest of a cell.
    """

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.finish()
        else:
            self.cancel_future_jobs()

    def encode_sample(self, sample: Mapping[str, Any]) -> bytes:
        # Values that are bytes already pass through the encoders untouched.
        to_bytes = tensor_bytes if self.columns[GENES] == "pkl" else array_bytes
        return super().encode_sample({**sample, **{name: to_bytes(sample[name]) for name in (GENES, EXPRESSIONS)}})


def array_bytes(array: np.ndarray) -> bytes:
    """What MDS's ``ndarray:<dtype>`` encoding gives for a 1-d array: width of the length, length, values."""
    width = next(kind for kind in _DYNAMIC_1D if array.size <= np.iinfo(kind).max)
    return bytes([(1 << 2) | _DYNAMIC_1D[width]]) + width(array.size).tobytes() + array.tobytes()


def tensor_bytes(array: np.ndarray) -> bytes:
    """What MDS's ``pkl`` encoding gives for the tensors of Tahoe's shards."""
    wide = torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "i" else array)
    return pickle.dumps(wide)


def take_entries(folder: str, samples: int) -> list[dict[str, Any]]:
    """Shard entries of a finished writer, whose own index goes: a part alone must not read as a data set.

    Args:
        folder: Where it wrote.
        samples: How many it was given.

    Raises:
        OSError: When another number stands in its index.
    """
    path = os.path.join(folder, INDEX_FILE)
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)["shards"]
    written = sum(entry["samples"] for entry in entries)
    if written != samples:
        raise OSError(f"{path}: {samples} cells were given to the writer, {written} stand in its index; write again")
    os.remove(path)
    return entries


def merged_index(folder: str, parts: Iterable[tuple[str, list[dict[str, Any]]]]) -> None:
    """Write the index of ``folder`` over the shards of its sub-folders.

    Args:
        folder: Where ``index.json`` goes.
        parts: ``(sub-folder, shard entries)`` pairs in order.
    """
    shards = []
    for name, entries in parts:
        for entry in entries:
            entry = {**entry}
            for kind in ("raw_data", "zip_data"):
                if entry.get(kind):
                    entry[kind] = {**entry[kind], "basename": f"{name}/{entry[kind]['basename']}"}
            shards.append(entry)
    replace_text(os.path.join(folder, INDEX_FILE), json.dumps({"version": 2, "shards": shards}, sort_keys=True))
