"""What a run over a file ends in, a copy of its input with vectors: all that may be in its way, and writing it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tahoe_distill.cells import Cells, open_cells
from tahoe_distill.cells.stores import open_zarr, opened, stamp
from tahoe_distill.embedding.partial import allocate, folder_of, former_of, growing_of, telling_space
from tahoe_distill.files import remove, sync

try:
    from anndata.io import write_elem
except ImportError:  # anndata before 0.11 kept it elsewhere
    from anndata.experimental import write_elem

# Cells copied at a time from the partial result into the output.
_STEP = 8192
# Of a value in a matrix that is turned around: itself, its row and its column.
_TURNED_BYTES = 16
# Bytes for the notes in uns and for HDF5's own tables.
_SLACK = 1 << 20
# What tells a zarr store from any other folder.
_STORES = {".zarr": (".zgroup", "zarr.json", ".zattrs"), ".soma": ("__schema",)}


def check_key(key: str) -> None:
    """Refuse a key that names no entry of its own.

    Raises:
        ValueError: When it is empty, has a slash, or is ``.`` or ``..``.
    """
    if not isinstance(key, str) or not key or "/" in key or key in (".", ".."):
        raise ValueError(f"key_added (--key-added) is {key!r}; expected a name without slashes, such as X_tx1")


def check_keys(where: str, found: Mapping[str, Any], keys: list[str], *, overwrite: bool = False) -> None:
    """Refuse to replace what is not to be replaced.

    Args:
        where: The file or object, for messages.
        found: What is at ``keys``, where anything is.
        keys: Keys such as ``obsm/X_tx1`` that will be written. What embedding notes in ``uns`` replaces its own notes
            of an earlier run and nothing else.
        overwrite: Whether the others may be replaced.

    Raises:
        ValueError: When one is there that must stay.
    """
    foreign = [key for key in keys if key in found and key.startswith("uns/") and not _is_provenance(found[key])]
    if foreign:
        raise ValueError(
            f"{where} already has {foreign[0]}, which is no note on embeddings and must stay; choose another "
            "--key-added (key_added)"
        )
    existing = [key for key in keys if key in found and not key.startswith("uns/")]
    if existing and not overwrite:
        raise ValueError(
            f"{where} already has {', '.join(existing)}; pass --overwrite (overwrite=True) or another --key-added "
            "(key_added)"
        )


def _is_provenance(entry: Any) -> bool:
    """Whether an entry of ``uns``, in memory or on the disk, is one that embedding wrote."""
    return hasattr(entry, "keys") and "tahoe_distill" in entry


def check_place(out: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that something can be written at ``out``.

    Args:
        out: Output file, or folder for zarr.
        overwrite: Whether what is there may be replaced.

    Raises:
        ValueError: When it exists, is of another kind, or cannot be written.
    """
    out = Path(out)
    if out.is_dir() and not any((out / name).exists() for name in _STORES.get(out.suffix, ())):
        raise ValueError(f"{out} is a folder; expected the name of a file to write, such as {out / 'embedded.h5ad'}")
    if out.is_file() and out.suffix == ".zarr":
        raise ValueError(f"{out} is a file, while a zarr store is a folder; name another output")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists; pass --overwrite (overwrite=True) to replace it, or name another output")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent}: no such folder to write {out.name} into; create it first")
    if not os.access(out.parent, os.W_OK) or (out.exists() and not os.access(out, os.W_OK)):
        raise ValueError(f"{out} cannot be written (no permission); name an output in a folder of your own")


def check_output(
    cells: Cells, out: str | os.PathLike[str], keys: list[str], *, needed: int, overwrite: bool = False
) -> None:
    """Check, before any long work, that the input can be written to ``out`` with something in it.

    Args:
        cells: The input.
        out: Output file, at a place that :func:`check_place` let pass.
        keys: Keys such as ``obsm/X_tx1`` that will be written.
        needed: Bytes that the vectors take.
        overwrite: Whether existing keys may be replaced.

    Raises:
        ValueError: When the output has another format, a key is taken or lies behind a link, or there is too little
            space.
    """
    path, out = cells.path, Path(out)
    _check_format(cells, out)
    _check_stored_keys(path, keys, overwrite)
    # The partial vectors and the finished file stand side by side for a moment, and rows that were turned with them.
    turned = _TURNED_BYTES * cells.width() * cells.n_obs if cells.storage == "csc" else 0
    needed = stamp(path)[0] + 2 * needed + turned - stamp(folder_of(out))[0]
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise ValueError(
            f"{out.parent} has {free / 1e9:.2f} GB free, but the output needs up to {needed / 1e9:.2f} GB; free some "
            "space or name an output on another disk"
        )


def _check_stored_keys(path, keys, overwrite):
    with opened(path) as root:
        if isinstance(root, h5py.Group):
            _refuse_links(path, root, keys)
        check_keys(str(path), {key: root[key] for key in keys if key in root}, keys, overwrite=overwrite)


def _refuse_links(path, root, keys):
    """Refuse to write through links, whose other end may be in another file."""
    for name in dict.fromkeys(part for key in keys for part in (key.partition("/")[0], key)):
        # Whether it leads anywhere or not, so membership says nothing.
        link = root.get(name, h5py.HardLink(), getlink=True)
        if not isinstance(link, h5py.HardLink):
            to = f"{link.filename}:{link.path}" if isinstance(link, h5py.ExternalLink) else link.path
            raise ValueError(
                f"{path}: {name} is a link to {to}, and what is written there would go elsewhere; copy the cells into "
                "a file of their own (anndata.read_h5ad(...).write_h5ad(...))"
            )


def _check_format(cells, out):
    name = cells.path.name
    if cells.suffix is None:
        raise ValueError(f"{name} cannot be copied with vectors in it; unpack it, or convert it to h5ad")
    if not cells.is_anndata and out.suffix != cells.suffix:
        raise ValueError(f"{name} is no AnnData; expected an output that ends with {cells.suffix}, found {out.name}")
    if (out.suffix == ".zarr") != (cells.suffix == ".zarr"):
        raise ValueError(f"input {name} and output {out.name} must have one format; expected both .h5ad or both .zarr")


@dataclass(frozen=True)
class Added:
    """What is written beside the cells of a file.

    Args:
        uns: Dict by key.
        obsm: (n_obs, …) float32 arrays by key, which may live on the disk.
        varm: (n_vars, …) float32 arrays by key.
        obs: (n_obs,) columns by name.
    """

    uns: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    obsm: Mapping[str, np.ndarray] = field(default_factory=dict)
    varm: Mapping[str, np.ndarray] = field(default_factory=dict)
    obs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        return sum(array.nbytes for array in (*self.obsm.values(), *self.varm.values()))


def write_output(path: str | os.PathLike[str], out: str | os.PathLike[str], added: Added) -> None:
    """Write the input and the results to ``out``.

    The file grows under another name and is renamed when it is whole, so ``out`` may be the input itself, and a crash
    leaves either the old file or the new one.

    Args:
        path: Input file.
        out: Output file.
        added: The results.

    Raises:
        OSError: When the disk is full; the unfinished file is removed.
    """
    out, growing = Path(out), growing_of(out)
    remove(growing)
    try:
        with telling_space(out.parent, stamp(path)[0] + added.nbytes):
            with open_cells(path) as cells:
                cells.copy_to(growing)
            if growing.is_file():
                # HDF5 cannot close a file without room to grow, and says so at length. It cuts off what is too much.
                allocate(growing, growing.stat().st_size + added.nbytes + _SLACK)
            if growing.is_dir():
                _add_to_zarr(growing, added)
            else:
                _add_to_h5ad(growing, added)
            sync(growing)
        replace_output(growing, out)
    finally:
        remove(growing)


def _add_to_h5ad(growing, added):
    with h5py.File(growing, "r+") as file:
        for key, array in added.obsm.items():
            group = _group(file, "obsm")
            if key in group:
                del group[key]
            dataset = group.create_dataset(key, shape=array.shape, dtype=np.float32)
            dataset.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for start in range(0, len(array), _STEP):
                dataset[start : start + _STEP] = array[start : start + _STEP]
        _add_small(file, added)


def _add_to_zarr(growing, added):
    import zarr

    consolidated = (growing / ".zmetadata").exists() or "consolidated_metadata" in _text(growing / "zarr.json")
    root = open_zarr(growing, "r+")
    for key, array in added.obsm.items():
        chunks = (min(_STEP, len(array)), array.shape[1])
        write_elem(_group(root, "obsm"), key, np.asarray(array), dataset_kwargs={"chunks": chunks})
    _add_small(root, added)
    if consolidated:
        zarr.consolidate_metadata(str(growing))


def _add_small(root, added):
    for name in ("obsm", "uns", "varm"):
        _group(root, name)
    for name, entries in (("uns", added.uns), ("varm", added.varm)):
        for key, entry in entries.items():
            write_elem(_group(root, name), key, entry)
    _add_columns(root["obs"], added.obs)


def _group(root, name):
    """A group of a stored AnnData, made where it has none."""
    if name not in root:
        write_elem(root, name, {})
    return root[name]


def _add_columns(table, columns):
    """Add columns to a stored ``obs``, after those that are there."""
    for name, values in columns.items():
        write_elem(table, name, values)
    there = [str(name) for name in table.attrs["column-order"]]
    table.attrs["column-order"] = [*there, *(name for name in columns if name not in there)]


def _text(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def replace_output(growing: Path, out: Path) -> None:
    """Give a whole output its name; a crash leaves either the old one or the new one."""
    if growing.is_dir() and out.exists():
        old = former_of(out)
        os.replace(out, old)
        os.replace(growing, out)
        remove(old)
    else:
        os.replace(growing, out)
