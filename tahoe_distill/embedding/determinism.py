"""Shows on a user's own cells that the same cell gets the same vector."""

import contextlib
import hashlib
import logging
from dataclasses import dataclass

import numpy as np

from tahoe_distill.cells import open_cells
from tahoe_distill.cells.formats import Source
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.in_memory import embed
from tahoe_distill.embedding.loading import ModelSource, load_student

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One way of embedding the same cells, against the first way.

    Args:
        name: What was different.
        difference: Largest absolute difference of any number of any vector.
        sha256: Digest of the vectors in the order of the file.
    """

    name: str
    difference: float
    sha256: str


def check_determinism(
    path: Source,
    model: ModelSource,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    cells: int = 64,
    processes: bool = True,
) -> list[Comparison]:
    """Embed some cells of a file in several ways.

    Args:
        path: File as :func:`tahoe_distill.embedding.embed_file` takes it, or an AnnData.
        model: As in :func:`tahoe_distill.embed`.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        cells: How many cells, spread over the file.
        processes: Also with worker processes, which take some seconds to start.

    Returns:
        A list of :class:`Comparison`; the first is the reference. All run on the CPU in float32.
    """
    adata = _sample(path, layer, cells)
    pair = load_student(model)
    genes = {"gene_key": gene_key, "symbols": symbols}
    reference = _vectors(adata, pair, genes)
    # What the reference said of the cells need not be said of each way.
    with _silence():
        ways = _ways(adata, pair, genes, processes)
    compared = [Comparison("reference", 0.0, _digest(reference))]
    return compared + [Comparison(name, _largest(reference, found), _digest(found)) for name, found in ways.items()]


@contextlib.contextmanager
def _silence():
    package = logging.getLogger("tahoe_distill")
    level = package.level
    package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(level)


def _ways(adata, pair, genes, processes):
    """Vectors of the same cells, in their order, by the name of what was different."""
    shuffled = np.random.default_rng(0).permutation(adata.n_obs)
    ways = {
        "once more": _vectors(adata, pair, genes),
        "batches of 1": _vectors(adata, pair, genes, batch_size=1),
        "one batch": _vectors(adata, pair, genes, batch_size=adata.n_obs),
        "shuffled": _vectors(adata[shuffled].copy(), pair, genes)[np.argsort(shuffled)],
        "chunks of 7": _vectors(adata, pair, genes, window=7),
    }
    if processes:
        ways["2 tokenising processes"] = _vectors(adata, pair, genes, workers=2)
        ways["2 other processes"] = _vectors(adata, pair, genes, devices="cpu,cpu", window=max(1, adata.n_obs // 2))
    return ways


def _sample(path, layer, count):
    with open_cells(path, layer=layer) as source:
        if source.n_obs == 0:
            raise ValueError(f"{source.where} has no cells")
        numbers = np.unique(np.linspace(0, source.n_obs - 1, min(count, source.n_obs)).astype(np.int64))
        return source.to_anndata(numbers)


def _vectors(adata, pair, genes, **options):
    found = embed(adata, pair, device="cpu", dtype="float32", copy=True, **genes, **options)
    return found.obsm["X_tx1"]


def _largest(reference, found):
    return float(np.abs(reference - found).max())


def _digest(vectors):
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
