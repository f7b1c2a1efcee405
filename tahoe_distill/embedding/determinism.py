"""Shows on a user's own cells that the same cell gets the same vector."""

import hashlib
import os
from dataclasses import dataclass

import anndata
import numpy as np

from tahoe_distill.embedding.in_memory import embed
from tahoe_distill.embedding.loading import ModelSource, load_student
from tahoe_distill.embedding.session import open_cells

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
    path: str | os.PathLike[str],
    model: ModelSource,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    cells: int = 64,
    processes: bool = True,
) -> list[Comparison]:
    """Embed some cells of a file in several ways.

    Args:
        path: h5ad or zarr file.
        model: As in :func:`tahoe_distill.embed`.
        layer: Layer to read instead of ``X``.
        gene_key: Column of ``var`` with Ensembl ids.
        cells: How many cells, spread over the file.
        processes: Also with worker processes, which take some seconds to start.

    Returns:
        A list of :class:`Comparison`; the first is the reference. All run on the CPU in float32.
    """
    adata = _sample(path, layer, cells)
    pair = load_student(model)
    reference = _vectors(adata, pair, gene_key)
    shuffled = np.random.default_rng(0).permutation(adata.n_obs)
    ways = {
        "once more": _vectors(adata, pair, gene_key),
        "batches of 1": _vectors(adata, pair, gene_key, batch_size=1),
        "one batch": _vectors(adata, pair, gene_key, batch_size=adata.n_obs),
        "shuffled": _vectors(adata[shuffled].copy(), pair, gene_key)[np.argsort(shuffled)],
        "chunks of 7": _vectors(adata, pair, gene_key, window=7),
    }
    if processes:
        ways["2 tokenising processes"] = _vectors(adata, pair, gene_key, workers=2)
        ways["2 other processes"] = _vectors(adata, pair, gene_key, devices="cpu,cpu", window=max(1, adata.n_obs // 2))
    compared = [Comparison("reference", 0.0, _digest(reference))]
    return compared + [Comparison(name, _largest(reference, found), _digest(found)) for name, found in ways.items()]


def _sample(path, layer, count):
    with open_cells(path, layer) as source:
        if source.n_obs == 0:
            raise ValueError(f"{path} has no cells")
        numbers = np.unique(np.linspace(0, source.n_obs - 1, min(count, source.n_obs)).astype(np.int64))
        rows = [source.rows(number, number + 1) for number in numbers.tolist()]
        parts = [anndata.AnnData(row, var=source.genes.var) for row in rows]
        return anndata.concat(parts, merge="same", index_unique="-")


def _vectors(adata, pair, gene_key, **options):
    found = embed(adata, pair, gene_key=gene_key, device="cpu", dtype="float32", copy=True, **options)
    return found.obsm["X_tx1"]


def _largest(reference, found):
    return float(np.abs(reference - found).max())


def _digest(vectors):
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
