"""A teacher's vectors from its cache, for the cells of the file that its shards were prepared from."""

import os
from pathlib import Path

import numpy as np
from anndata import AnnData

from tahoe_distill.cache.read import first_views
from tahoe_distill.cache.record import CACHE_FILE, PARTIAL_FILE, CacheRecord
from tahoe_distill.cells import match_genes, open_cells
from tahoe_distill.data.batch import EXPRESSIONS, GENES, ID, TEACHER
from tahoe_distill.evaluation.run import TeacherVectors
from tahoe_distill.models import Tx1Processor

# Cells whose genes are compared with the cache's before anything is believed.
_COMPARED = 200


def is_cache(source: str | os.PathLike[str]) -> bool:
    """Whether a folder is a teacher cache, finished or not."""
    return any(Path(source, name).is_file() for name in (CACHE_FILE, PARTIAL_FILE))


def vectors_of_cache(
    folder: str | os.PathLike[str], query: AnnData, *, gene_key: str | None = None
) -> tuple[TeacherVectors, AnnData]:
    """The cached vectors of those cells of a file that the cache holds.

    A sample's ``id`` is the number of its cell in the one file that ``tahoe-distill prepare`` read; the genes that the
    teacher saw are compared with those that the cell expresses.

    Args:
        folder: What ``tahoe-distill cache`` wrote.
        query: All cells of the file.
        gene_key: Column of ``var`` with gene ids.

    Returns:
        The vectors, and the cells they belong to.

    Raises:
        FileNotFoundError: When the cache is not finished.
        ValueError: When it is a cache of other cells, or of cells that were changed before the teacher saw them.
    """
    record = CacheRecord.load(Path(folder) / CACHE_FILE)
    samples = dict(_samples(Path(folder), record))
    strays = [number for number in samples if number >= query.n_obs]
    if strays or not samples:
        raise ValueError(
            f"{folder} is a cache of other cells: it has a cell number {max(strays, default=0)}, --adata has "
            f"{query.n_obs} cells; give the one file that its shards were prepared from, without --num-samples"
        )
    numbers = np.array(sorted(samples))
    _compare(folder, query, numbers, samples, Tx1Processor.from_pretrained(folder), gene_key)
    vectors = np.stack([samples[number][TEACHER] for number in numbers.tolist()]).astype(np.float32)
    return TeacherVectors(vectors, source=str(folder)), query[numbers].copy()


def _samples(folder, record):
    """Number of a cell, and its sample in the first view."""
    for sample in first_views(folder, record):
        if ID not in sample:
            raise ValueError(f"{folder}: its shards do not number their cells, so none can be found in a file")
        yield int(sample[ID]), sample


def _compare(folder, query, numbers, samples, processor, gene_key):
    with open_cells(query) as cells:
        tokens = match_genes(cells, processor.vocab, gene_key=gene_key).require().tokens
    for number in numbers[np.linspace(0, len(numbers) - 1, min(_COMPARED, len(numbers))).astype(int)].tolist():
        genes, values = (np.asarray(samples[number][name]) for name in (GENES, EXPRESSIONS))
        seen = genes[(values > 0) & ~np.isin(genes, processor.special_tokens)]
        strange = np.setdiff1d(seen, tokens[query.X[[number]].nonzero()[1]])
        if strange.size:
            raise ValueError(
                f"{folder} is a cache of other cells: the teacher saw {strange.size} genes in cell {number} that "
                "--adata does not have there; give the one file that its shards were prepared from"
            )
