"""What a run over a file writes: the windows done so far, which survive a kill, and at the end a copy with vectors."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np

from tahoe_distill.embedding.engine import Totals
from tahoe_distill.embedding.source import open_store, open_zarr
from tahoe_distill.files import remove, replace_text

try:
    from anndata.io import write_elem
except ImportError:  # anndata before 0.11 kept it elsewhere
    from anndata.experimental import write_elem

STATE = "state.json"
VECTORS = "vectors.f32"

# Cells copied at a time from the partial result into the output.
_STEP = 8192


class PartialResult:
    """A folder ``.NAME.partial`` that holds the windows done so far.

    Vectors go into a raw file at their final place, and the state file is replaced, whole, after them; so whenever the
    process dies, the state speaks of windows that are on the disk.

    Args:
        out: The output file that this becomes.
        run: What identifies the run; a folder of another run is refused.
        shape: (n_obs, e) of the vectors.

    Raises:
        ValueError: When the folder belongs to another run.
        OSError: When it cannot be written.
    """

    def __init__(self, out: str | os.PathLike[str], run: dict[str, object], shape: tuple[int, int]):
        self.folder = folder_of(out)
        self.folder.mkdir(exist_ok=True)
        self.state = self._read(run)
        path = self.folder / VECTORS
        fresh = not path.exists() or path.stat().st_size != 4 * shape[0] * shape[1]
        if fresh or self.state is None:
            self.state = {"run": run, "windows": 0, "cells_empty": 0, "cells_at_context": 0}
        self.vectors = np.memmap(path, dtype=np.float32, mode="w+" if fresh else "r+", shape=shape)

    def _read(self, run):
        path = self.folder / STATE
        if not path.exists():
            return None
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["run"] != run:
            wrong = sorted(name for name in {*run, *state["run"]} if run.get(name) != state["run"].get(name))
            raise ValueError(
                f"{self.folder} holds the unfinished result of another run (different: {', '.join(wrong)}); repeat "
                "that run's command to finish it, or pass --overwrite (overwrite=True) to drop it"
            )
        return state

    @property
    def windows(self) -> int:
        """Number of windows that are done."""
        return self.state["windows"]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of odd cells so far, as :class:`Totals` takes them."""
        return {name: self.state[name] for name in ("cells_empty", "cells_at_context")}

    def genes(self) -> dict[int, list]:
        """``{token: [sum, count]}`` as it was after the last window."""
        path = self.folder / f"genes-{self.windows}.npz"
        if not self.windows or not path.exists():
            return {}
        with np.load(path) as stored:
            return {
                int(token): [vector, int(count)]
                for token, vector, count in zip(stored["tokens"], stored["sums"], stored["counts"])
            }

    def commit(self, window: tuple[int, int], vectors: np.ndarray, totals: Totals) -> None:
        """Keep one window's vectors and what all windows so far add up to."""
        self.vectors[slice(*window)] = vectors
        self.vectors.flush()
        done = self.windows + 1
        if totals.genes is not None:
            self._keep_genes(done, totals.genes)
        self.state = {**self.state, **totals.counts, "windows": done}
        replace_text(self.folder / STATE, json.dumps(self.state))
        if totals.genes is not None:
            (self.folder / f"genes-{done - 1}.npz").unlink(missing_ok=True)

    def _keep_genes(self, done, genes):
        tokens = np.array(sorted(genes), dtype=np.int64)
        sums = np.array([genes[token][0] for token in tokens.tolist()])
        counts = np.array([genes[token][1] for token in tokens.tolist()], dtype=np.int64)
        np.savez(self.folder / f"genes-{done}.npz", tokens=tokens, sums=sums, counts=counts)

    def drop(self) -> None:
        """Delete the folder."""
        remove(self.folder)


def folder_of(out: str | os.PathLike[str]) -> Path:
    """Folder that holds the unfinished result of ``out``."""
    out = Path(out)
    return out.with_name(f".{out.name}.partial")


def check_output(
    path: str | os.PathLike[str], out: str | os.PathLike[str], keys: list[str], *, needed: int, overwrite: bool = False
) -> None:
    """Check, before any long work, that ``out`` can be written.

    Args:
        path: Input file.
        out: Output file.
        keys: Keys such as ``obsm/X_tx1`` that will be written.
        needed: Bytes that the vectors take.
        overwrite: Whether existing files and keys may be replaced.

    Raises:
        ValueError: When the output exists, cannot be written, has another format, or there is too little space.
    """
    path, out = Path(path), Path(out)
    if is_zarr(path) != is_zarr(out):
        raise ValueError(
            f"input {path.name} and output {out.name} must have one format; expected both .h5ad or both .zarr"
        )
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists; pass --overwrite (overwrite=True) to replace it, or name another output")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent}: no such folder to write {out.name} into; create it first")
    if not os.access(out.parent, os.W_OK) or (out.exists() and not os.access(out, os.W_OK)):
        raise ValueError(f"{out} cannot be written (no permission); name an output in a folder of your own")
    _check_keys(path, keys, overwrite)
    # The partial vectors and the finished file stand side by side for a moment.
    needed = size_of(path) + 2 * needed
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise ValueError(
            f"{out.parent} has {free / 1e9:.2f} GB free, but the output needs up to {needed / 1e9:.2f} GB; free some "
            "space or name an output on another disk"
        )


def _check_keys(path, keys, overwrite):
    group = open_store(path)
    try:
        existing = [key for key in keys if key in group]
    finally:
        if isinstance(group, h5py.File):
            group.close()
    if existing and not overwrite:
        raise ValueError(
            f"{path} already has {', '.join(existing)}; pass --overwrite or another --key-added (key_added)"
        )


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a zarr folder."""
    return Path(path).suffix == ".zarr"


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of all files of a folder."""
    path = Path(path)
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def write_output(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    key: str,
    *,
    vectors: np.ndarray,
    uns: dict[str, object],
    varm: np.ndarray | None = None,
) -> None:
    """Write the input and the results to ``out``.

    The file grows under another name and is renamed when it is whole, so ``out`` may be the input itself, and a crash
    leaves either the old file or the new one.

    Args:
        path: Input file.
        out: Output file.
        key: Key of ``obsm``, ``uns`` and ``varm``.
        vectors: (n_obs, e) float32 array, which may live on the disk.
        uns: Dict for ``uns[key]``.
        varm: (n_vars, d) gene embeddings, or ``None``.
    """
    path, out = Path(path), Path(out)
    growing = out.with_name(f".{out.name}.writing")
    remove(growing)
    if is_zarr(path):
        shutil.copytree(path, growing)
        _add_to_zarr(growing, key, vectors, uns, varm)
    else:
        shutil.copyfile(path, growing)
        _add_to_h5ad(growing, key, vectors, uns, varm)
    _put_in_place(growing, out)


def _add_to_h5ad(growing, key, vectors, uns, varm):
    with h5py.File(growing, "r+") as file:
        for name in ("obsm", "uns", "varm"):
            if name not in file:
                write_elem(file, name, {})
        if key in file["obsm"]:
            del file["obsm"][key]
        dataset = file["obsm"].create_dataset(key, shape=vectors.shape, dtype=np.float32)
        dataset.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for start in range(0, len(vectors), _STEP):
            dataset[start : start + _STEP] = vectors[start : start + _STEP]
        write_elem(file["uns"], key, uns)
        if varm is not None:
            write_elem(file["varm"], key, varm)


def _add_to_zarr(growing, key, vectors, uns, varm):
    import zarr

    consolidated = (growing / ".zmetadata").exists() or "consolidated_metadata" in _text(growing / "zarr.json")
    group = open_zarr(growing, "r+")
    write_elem(
        group["obsm"], key, np.asarray(vectors), dataset_kwargs={"chunks": (min(_STEP, len(vectors)), vectors.shape[1])}
    )
    write_elem(group["uns"], key, uns)
    if varm is not None:
        write_elem(group["varm"], key, varm)
    if consolidated:
        zarr.consolidate_metadata(str(growing))


def _text(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _put_in_place(growing, out):
    if growing.is_dir() and out.exists():
        old = out.with_name(f".{out.name}.old")
        os.replace(out, old)
        os.replace(growing, out)
        remove(old)
    else:
        os.replace(growing, out)
