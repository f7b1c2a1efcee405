"""The cells of a fit: counts by token, in memory, and which of them are held out."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from tahoe_distill.cells import Cells, match_genes
from tahoe_distill.cells.genes import own_symbols
from tahoe_distill.cells.symbols import Symbols, read_symbols
from tahoe_distill.cells.values import COUNTS, check_cells, recognise
from tahoe_distill.data.batch import EXPRESSIONS, GENES
from tahoe_distill.models import GeneVocab
from tahoe_distill.models.processing_tx1 import gene_columns

log = logging.getLogger(__name__)

# Cells read at a time.
_STEP = 4096
# Below, too few are left to learn from beside those that 10 neighbours can be told among.
LEAST_CELLS = 100
LEAST_HELD_OUT, MOST_HELD_OUT = 20, 2000


@dataclass(frozen=True)
class CountedCells:
    """Cells by the tokens of a vocabulary, none of them without a known gene.

    Args:
        where: What they are, for messages.
        counts: (n, tokens) float32 CSR.
        vocab: The vocabulary.
        rows: (n,) which rows of the source they are.
        symbols: What the source calls its genes beside their names in the vocabulary: symbol to name.
        are_counts: Whether they are raw counts, so that they can be thinned and mixed.
    """

    where: str
    counts: sparse.csr_matrix
    vocab: GeneVocab
    rows: np.ndarray
    symbols: Mapping[str, str]
    are_counts: bool

    def __len__(self) -> int:
        return self.counts.shape[0]

    def take(self, numbers: np.ndarray) -> "CountedCells":
        """Some of the cells, by their places."""
        return replace(self, counts=self.counts[numbers], rows=self.rows[numbers])

    def samples(self, numbers: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Cells as shards have them: ``genes`` and ``expressions``, without special tokens."""
        cells = [self.cell(number) for number in (range(len(self)) if numbers is None else numbers)]
        return [{GENES: genes, EXPRESSIONS: values} for genes, values in cells]

    def cell(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and counts of a cell."""
        span = slice(self.counts.indptr[number], self.counts.indptr[number + 1])
        return self.counts.indices[span], self.counts.data[span]


def count_cells(
    cells: Cells,
    vocab: GeneVocab | None,
    *,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    most: int | None = None,
    seed: int = 0,
) -> CountedCells:
    """Read cells into memory, by the tokens of a vocabulary.

    Args:
        cells: The open source.
        vocab: The vocabulary; ``None`` for that of the cells themselves.
        gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
        symbols: Table of gene symbols that overrides those of the model and of the package.
        most: How many cells to read at most, drawn at random.
        seed: Of that draw.

    Raises:
        ValueError: When values or genes cannot be those of cells, or fewer than 100 cells have a known gene.
    """
    check_cells(cells)
    are_counts = recognise(cells.sample(), cells.where) == COUNTS
    vocab = vocabulary_of(cells, gene_key) if vocab is None else vocab
    match = match_genes(cells, vocab, gene_key=gene_key, symbols=symbols).require()
    counts, rows = _by_token(cells, match.tokens, len(vocab), rows=_drawn(cells.n_obs, most, seed))
    expressed = np.diff(counts.indptr) > 0
    if not expressed.all():
        log.warning("%s: %d cells without a known gene are left out", cells.where, int((~expressed).sum()))
        counts, rows = counts[expressed], rows[expressed]
    if len(rows) < LEAST_CELLS:
        raise ValueError(
            f"{cells.where}: found {len(rows)} cells with a known gene; a fit needs {LEAST_CELLS} at least, of which "
            f"{LEAST_HELD_OUT} are held out to judge it by. Give it more cells"
        )
    own = own_symbols(cells.var, vocab, match.column)
    own |= {} if symbols is None else read_symbols(symbols)
    return CountedCells(cells.where, counts, vocab, rows, own, are_counts)


def vocabulary_of(cells: Cells, gene_key: str | None = None) -> GeneVocab:
    """A vocabulary of the genes of a source, each by its Ensembl id where the source has ids, by its name otherwise.

    Raises:
        ValueError: When ``gene_key`` is not a column, or no gene has a name.
    """
    var, chosen = cells.var, None
    for column in gene_columns(var, gene_key):
        names = [str(name) for name in (var.index if column is None else var[column])]
        chosen = names if chosen is None else chosen
        if 2 * sum(name.startswith("ENSG") for name in names) > len(names):
            chosen = [name.partition(".")[0] if name.startswith("ENSG") else name for name in names]
            break
    genes = [name for name in dict.fromkeys(chosen or []) if name.strip() and name != "nan" and name[0] != "<"]
    if not genes:
        raise ValueError(f"{cells.where}: none of the {cells.n_vars} genes has a name; give --gene-key their column")
    return GeneVocab({token: number for number, token in enumerate(["<pad>", "<cls>", *genes])})


def split(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the cells to learn from and of those to judge by, each in order.

    Args:
        count: All cells.
        share: Share to hold out; 20 cells at least, 2,000 at most.
        seed: Decides.

    Raises:
        ValueError: When the share is none, or leaves too few cells to learn from.
    """
    held_out = min(max(round(share * count), LEAST_HELD_OUT), MOST_HELD_OUT)
    least = LEAST_CELLS - LEAST_HELD_OUT
    if not 0 < share < 1 or count - held_out < least:
        raise ValueError(
            f"held_out must be a share of the cells that leaves {least} of {count} to learn from, found {share}"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _drawn(count: int, most: int | None, seed: int) -> np.ndarray:
    if most is None or count <= most:
        return np.arange(count)
    log.warning("%d of the %d cells are read, drawn at random; --cells N reads more", most, count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _by_token(cells: Cells, tokens: np.ndarray, size: int, *, rows: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """(n, size) counts of some rows, columns of one token summed; and the rows."""
    known = np.flatnonzero(tokens >= 0)
    shape = (len(tokens), size)
    place = sparse.csr_matrix((np.ones(known.size, dtype=np.float32), (known, tokens[known])), shape=shape)
    parts = []
    for start in range(0, cells.n_obs, _STEP):
        stop = min(start + _STEP, cells.n_obs)
        wanted = rows[(rows >= start) & (rows < stop)] - start
        if wanted.size:
            parts.append(cells.rows(start, stop)[wanted].astype(np.float32) @ place)
    counts = sparse.csr_matrix(sparse.vstack(parts, format="csr"))
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts, rows
