"""What embedding a file came to, in a line for the one who asked for it, and how long things take in words."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anndata.io import read_elem

from tahoe_distill.cells.stores import opened


def summary(path: str | os.PathLike[str], key: str, seconds: float, *, done: int | None = None) -> str:
    """What stands in an output.

    Args:
        path: A file that :func:`tahoe_distill.embedding.embed_file` wrote.
        key: Its key of ``obsm`` and ``uns``.
        seconds: How long it took.
        done: Cells that were embedded in that time, where an earlier call had begun; all when left out.

    Returns:
        Cells, genes, share of the counts where it was noted, time, and where the vectors are.
    """
    with opened(path) as root:
        cells = int(root[f"obsm/{key}"].shape[0])
        noted: Mapping[str, Any] = read_elem(root[f"uns/{key}"])
    matched, genes = int(noted["genes_matched"]), int(noted["genes_total"])
    text = f"{cells:,} cells, {matched:,} of {genes:,} genes in the vocabulary"
    if "counts_known" in noted:
        text += f" with {100 * float(noted['counts_known']):.1f} % of the counts"
    if noted.get("cells_empty"):
        text += f", {int(noted['cells_empty']):,} cells with none of them"
    pace = (cells if done is None else done) / max(seconds, 1e-9)
    return f"{text}; {duration(seconds)} ({pace:,.0f} cells/s); vectors in obsm[{key!r}] of {Path(path)}"


def duration(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
