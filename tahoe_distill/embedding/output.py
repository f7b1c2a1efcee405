"""The output file: a copy of the input with vectors added, written in pieces and put in place at once."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np

from tahoe_distill.cells import open_cells
from tahoe_distill.cells.stores import open_zarr, opened, stamp

try:
    from anndata.io import write_elem
except ImportError:  # anndata before 0.11 kept it elsewhere
    from anndata.experimental import write_elem

# Cells copied at a time from the partial result into the output.
_STEP = 8192


def check_output(cells, out, keys, needed, overwrite=False):
    """Check, before any long work, that ``out`` can be written.

    Args:
        cells: The input.
        out: Output file.
        keys: Keys such as ``obsm/X_tx1`` that will be written.
        needed: Bytes that the vectors take.
        overwrite: Whether existing files and keys may be replaced.

    Raises:
        ValueError: When the output exists, cannot be written, has another format, or there is too little space.
    """
    path, out = cells.path, Path(out)
    if cells.suffix is None:
        raise ValueError(f"{path.name} cannot be copied with vectors in it; unpack it, or convert it to h5ad")
    if not cells.is_anndata and out.suffix != cells.suffix:
        raise ValueError(
            f"{path.name} is no AnnData; expected an output that ends with {cells.suffix}, found {out.name}"
        )
    if (out.suffix == ".zarr") != (cells.suffix == ".zarr"):
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
    needed = stamp(path)[0] + 2 * needed
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise ValueError(
            f"{out.parent} has {free / 1e9:.2f} GB free, but the output needs up to {needed / 1e9:.2f} GB; free some "
            "space or name an output on another disk"
        )


def _check_keys(path, keys, overwrite):
    with opened(path) as group:
        existing = [key for key in keys if key in group]
    if existing and not overwrite:
        raise ValueError(
            f"{path} already has {', '.join(existing)}; pass --overwrite or another --key-added (key_added)"
        )


def write_output(path, out, key, vectors, uns, varm=None):
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
    out = Path(out)
    growing = out.with_name(f".{out.name}.writing")
    _remove(growing)
    with open_cells(path) as cells:
        cells.copy_to(growing)
    if growing.is_dir():
        _add_to_zarr(growing, key, vectors, uns, varm)
    else:
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
        _remove(old)
    else:
        os.replace(growing, out)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
