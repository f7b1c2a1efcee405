"""The formats that cells are read from, and the one way to open them."""

import glob
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from tahoe_distill.cells import anndata_store, memory, soma, tenx
from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.stores import identity, opened

if TYPE_CHECKING:
    from anndata import AnnData

Source = Union[str, os.PathLike, "AnnData"]


def _identity(path: str) -> str:
    return identity(path) if os.path.exists(path) else ""


@dataclass(frozen=True)
class Format:
    """A way in for cells.

    Args:
        name: What messages call it.
        recognises: Tells whether a source (an AnnData or a path) is of this format; must not raise where it is not.
        open: Takes a source, a layer's name or ``None``, and a folder (or ``None``) for the row-wise copy of a matrix
            that is stored by columns; returns a :class:`~tahoe_distill.cells.base.Cells`.
        is_path: Whether its sources are files and folders. Others are addresses, which are told apart by their looks,
            taken as they are, and never copied.
        whole: A source's name in full, which means the same wherever a process stands.
        identity: What tells a changed source from the one that was read; empty where there is none.
    """

    name: str
    recognises: Callable[[object], bool]
    open: Callable[[Source, str | None, Path | None], Cells]
    is_path: bool = True
    whole: Callable[[str], str] = os.path.abspath
    identity: Callable[[str], str] = _identity


# In the order in which they are asked.
FORMATS: dict[str, Format] = {}


def register_format(format: Format) -> None:
    """Let every command read another format.

    Raises:
        ValueError: When a format of that name is there already.
    """
    if format.name in FORMATS:
        raise ValueError(f"a format {format.name!r} is registered already; known: {', '.join(FORMATS)}")
    FORMATS[format.name] = format


register_format(Format("AnnData in memory", memory.recognises, memory.MemoryCells))
register_format(Format("10x h5", tenx.recognises, tenx.TenX))
# Before the folders, which zarr stores are as well.
register_format(
    Format("SOMA", soma.recognises, soma.SomaCells, is_path=False, whole=soma.whole_address, identity=soma.identity)
)
register_format(Format("h5ad or zarr", anndata_store.recognises, anndata_store.AnnDataStore))


def open_cells(source: Source, *, layer: str | None = None, turned: str | os.PathLike[str] | None = None) -> Cells:
    """Open cells, to be used in a ``with`` block.

    Args:
        source: An AnnData, the path of an h5ad file, a zarr store or a 10x ``.h5`` file, or a SOMA experiment: a
            folder, ``s3://…``, or what :func:`tahoe_distill.cells.soma_address` gives.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        turned: Folder for the row-wise copy of a matrix that is stored by columns on the disk: written there by whoever
            reads rows first, found there by those who come later. A temporary one when left out.

    Raises:
        ValueError: When the source is missing, damaged or of no known format, or lacks the matrix.

    Examples:
        >>> with open_cells("cells.h5ad", layer="raw") as cells:  # doctest: +SKIP
        ...     cells.rows(0, 100)
    """
    for format in FORMATS.values():
        if format.recognises(source):
            return format.open(source, layer, None if turned is None else Path(turned))
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"expected an AnnData or the path of a file of cells, found a {type(source).__name__}")
    with opened(source) as root:
        found = ", ".join(sorted(root)) or "nothing"
    raise ValueError(f"{source}: is of no known format ({', '.join(FORMATS)}); found {found}")


def whole_name(source: str | os.PathLike[str]) -> str:
    """A source's name in full, by which any process finds it: an absolute path, or a whole address."""
    found = _address_format(source)
    return os.path.abspath(source) if found is None else found.whole(os.fspath(source))


def identity_of(source: str | os.PathLike[str]) -> str:
    """What tells a changed source from the one that was read; empty where there is none.

    Raises:
        ValueError: When an address is none.
        OSError: When an object store cannot be reached.
    """
    found = _address_format(source)
    return _identity(os.fspath(source)) if found is None else found.identity(os.fspath(source))


def is_address(source: object) -> bool:
    """Whether a source is an address, such as a SOMA experiment's, and no file or folder that can be copied."""
    return _address_format(source) is not None


def _address_format(source: object) -> Format | None:
    """The format of an address; files, which cost something to open, are not looked into."""
    return next((format for format in FORMATS.values() if not format.is_path and format.recognises(source)), None)


def expand_inputs(inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths for paths and globs, addresses as they are, each once, in the order given.

    Raises:
        FileNotFoundError: When a path or a glob matches nothing.
        ValueError: When there is no input at all.
    """
    paths: list[str] = []
    for item in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        if is_address(item):
            found = [os.fspath(item)]
        else:
            found = sorted(glob.glob(os.fspath(item), recursive=True)) or [os.fspath(item)]
            if not os.path.exists(found[0]):
                raise FileNotFoundError(
                    f"{item}: found no such file, zarr store or match; expected h5ad, zarr, 10x h5 or SOMA"
                )
        paths += [path for path in found if path not in paths]
    if not paths:
        raise ValueError("no input was given; expected at least one h5ad, zarr or 10x h5 file")
    return paths
