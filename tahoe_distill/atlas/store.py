"""Vectors of cells that were embedded before, found by what the cells are: any atlas, any file, any place in it.

A key is the hash of a cell's tokens, values and drug; keys are kept apart by the fingerprint of the model and of all
that the vector's bits depend on. Segments are written whole, never changed, and read through the page cache.

Shapes: n cells of a segment, E width of a vector.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tahoe_distill.embedding.engine import Engine, WindowResult
from tahoe_distill.embedding.loading import weights_fingerprint
from tahoe_distill.embedding.options import Options, choose_dtype
from tahoe_distill.files import sync_names
from tahoe_distill.locks import FolderInUseError, held
from tahoe_distill.models import Tx1Model
from tahoe_distill.models.processing_tx1 import Cell

_MAGIC = b"tx1cells"
# Segments up to so many cells are put together once there are so many of them.
_SMALL, _MANY = 1 << 20, 16


class Segment(NamedTuple):
    """Cells in the order of their keys, mapped from a file."""

    path: Path
    heads: np.ndarray
    tails: np.ndarray
    vectors: np.ndarray


class CellStore:
    """Vectors by the content of cells.

    Args:
        folder: The folder; made where it is missing.
        model: The model, whose fingerprint keeps its vectors apart from others'.
        options: Likewise.
    """

    def __init__(self, folder: str | os.PathLike[str], model: Tx1Model, options: Options):
        place = options.places()[0]
        kind = [weights_fingerprint(model), options.backend, options.normalize, place.type]
        kind.append(str(choose_dtype(options.dtype, place)))
        name = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]
        self.folder, self.width = Path(folder) / name, model.config.embedding_size
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segments: dict[str, Segment] = {}
        self.found = self.computed = 0

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look cells up.

        Args:
            keys: (C, 2) uint64.

        Returns:
            (C,) True where a cell is known, and (C, E) float32 vectors, zeros where it is not.

        Raises:
            ValueError: When a segment is damaged.
        """
        self._refresh()
        known, vectors = np.zeros(len(keys), dtype=bool), np.zeros((len(keys), self.width), dtype=np.float32)
        for segment in self._segments.values():
            left = np.flatnonzero(~known)
            places = np.searchsorted(segment.heads, keys[left, 0])
            hits = segment.heads[np.minimum(places, len(segment.heads) - 1)] == keys[left, 0]
            for number, place in zip(left[hits].tolist(), places[hits].tolist(), strict=True):
                # Two cells may share the first half of a key.
                while place < len(segment.heads) and segment.heads[place] == keys[number, 0]:
                    if segment.tails[place] == keys[number, 1]:
                        known[number], vectors[number] = True, segment.vectors[place]
                        break
                    place += 1
        return known, vectors

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Keep (C, E) vectors under their (C, 2) keys."""
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        self._write([keys[order, 0], keys[order, 1], np.asarray(vectors, dtype=np.float32)[order]])

    def tidy(self) -> None:
        """Put small segments together, where there are many and nobody else is at it."""
        self._refresh()
        small = [segment for segment in self._segments.values() if len(segment.heads) < _SMALL]
        if len(small) < _MANY:
            return
        with contextlib.suppress(FolderInUseError), held(self.folder, "tidy up cells"):
            self._merge(small)

    def _merge(self, small: list[Segment]) -> None:
        heads, tails = (np.concatenate([getattr(part, name) for part in small]) for name in ("heads", "tails"))
        order = np.lexsort((tails, heads))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(heads[order]) != 0) | (np.diff(tails[order]) != 0)
        order = order[first]
        bounds = np.cumsum([0, *(len(part.heads) for part in small)])
        vectors = np.empty((len(order), self.width), dtype=np.float32)
        owners = np.searchsorted(bounds, order, side="right") - 1
        for number, part in enumerate(small):
            mine = owners == number
            vectors[mine] = part.vectors[order[mine] - bounds[number]]
        self._write([heads[order], tails[order], vectors])
        # What others have mapped stays readable for them.
        for part in small:
            part.path.unlink(missing_ok=True)

    def _write(self, parts: list[np.ndarray]) -> None:
        draft = self.folder / f".{uuid.uuid4().hex}"
        try:
            with open(draft, "wb") as file:
                file.write(_MAGIC + np.array([len(parts[0]), self.width], dtype="<u8").tobytes())
                for part in parts:
                    file.write(np.ascontiguousarray(part).data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.folder / f"{uuid.uuid4().hex}.cells")
        finally:
            draft.unlink(missing_ok=True)
        sync_names(self.folder)

    def _refresh(self) -> None:
        """Map segments that others wrote, and let go of those that were put together."""
        there = {entry.name for entry in os.scandir(self.folder) if entry.name.endswith(".cells")}
        for name in set(self._segments) - there:
            del self._segments[name]
        for name in sorted(there - set(self._segments)):
            # Gone since it was listed: its cells are in another one, or are computed again.
            with contextlib.suppress(FileNotFoundError):
                self._segments[name] = self._open(self.folder / name)

    def _open(self, path: Path) -> Segment:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(24)
        count, width = np.frombuffer(head[8:], dtype="<u8").tolist() if len(head) == 24 else (0, 0)
        if head[:8] != _MAGIC or width != self.width or size != 24 + count * (16 + 4 * width):
            raise ValueError(f"{path} is damaged: {size} bytes do not hold {count} cells; remove it")
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        ends = [24, 24 + 8 * count, 24 + 16 * count]
        heads, tails = (raw[start : start + 8 * count].view("<u8") for start in ends[:2])
        return Segment(path, heads, tails, raw[ends[2] :].view("<f4").reshape(count, width))


def keys_of(cells: list[Cell], drug_ids: np.ndarray | None = None) -> np.ndarray:
    """(C, 2) uint64 hashes of encoded cells and their drugs."""
    keys = np.empty((len(cells), 2), dtype=np.uint64)
    for number, (tokens, values) in enumerate(cells):
        digest = hashlib.blake2b(np.asarray(tokens, dtype="<i8").tobytes(), digest_size=16)
        digest.update(np.asarray(values, dtype="<f4").tobytes())
        digest.update(b"" if drug_ids is None else str(int(drug_ids[number])).encode())
        keys[number] = np.frombuffer(digest.digest(), dtype="<u8")
    return keys


class StoredEngine:
    """An engine that computes only what a store does not have.

    Args:
        engine: The engine, which must give a cell the same bits in whatever company.
        store: The store.
    """

    def __init__(self, engine: Engine, store: CellStore):
        self.engine, self.store = engine, store

    def window(
        self, cells: list[Cell], drug_ids: np.ndarray | None = None, on_batch: Callable[[int], object] | None = None
    ) -> WindowResult:
        """As :meth:`Engine.window`, cell embeddings alone."""
        keys = keys_of(cells, drug_ids)
        known, vectors = self.store.find(keys)
        # A cell that comes twice is computed once.
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        missing = first[~known[first]]
        if on_batch is not None:
            on_batch(len(cells) - len(missing))
        if len(missing):
            drugs = None if drug_ids is None else np.asarray(drug_ids)[missing]
            vectors[missing] = self.engine.window([cells[number] for number in missing], drugs, on_batch).vectors
            self.store.add(keys[missing], vectors[missing])
        self.store.computed += len(missing)
        self.store.found += len(cells) - len(missing)
        return WindowResult(vectors[first][inverse.reshape(-1)])
