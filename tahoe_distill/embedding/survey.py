"""One pass over all cells of a file, before they are embedded and for the doctor: lengths, sums, oddities."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.values import are_integers, is_log1p, wrong_values

# Cells read at a time.
READ = 1024


@dataclass
class Survey:
    """Numbers gathered in one pass over the cells.

    Args:
        lengths: (n_obs,) expressed genes of the vocabulary, a cell.
        total: Sum of all values.
        known: Sum of the values of genes of the vocabulary.
        wrong: Values that no cell can have: how many of each kind, as :func:`~tahoe_distill.cells.values.wrong_values`.
        fractional: Cells with values that are no whole numbers.
        log1p: Those of them that are log1p of scaled counts.
        largest: Largest value.
        twins: Cells with exactly the values of an earlier one.
        expressed: Values that are not zero.
    """

    lengths: np.ndarray
    total: float = 0.0
    known: float = 0.0
    wrong: dict[str, int] = field(default_factory=dict)
    fractional: int = 0
    log1p: int = 0
    largest: float = 0.0
    twins: int = 0
    expressed: int = 0

    @property
    def share(self) -> float:
        """Share of all counts that fall on genes of the vocabulary."""
        return self.known / self.total if self.total else 0.0


def survey_cells(cells: Cells, tokens: np.ndarray, *, closely: bool = True, most: int | None = None) -> Survey:
    """Read all cells of a source once, in pieces.

    Args:
        cells: The source.
        tokens: (n_vars,) vocabulary number of each gene, -1 where unknown.
        closely: Also look at each cell by itself: ``fractional``, ``log1p`` and ``twins``.
        most: Cells to look at, the first ones; ``None`` for all.

    Raises:
        ValueError: When the source is damaged.
    """
    count = cells.n_obs if most is None else min(most, cells.n_obs)
    survey, known = Survey(np.zeros(count, dtype=np.int64)), tokens >= 0
    hashes: set[bytes] = set()
    for start in range(0, count, READ):
        rows = cells.rows(start, min(start + READ, count))
        _add_rows(survey, start, rows, known)
        if closely:
            _add_each(survey, rows, hashes)
    return survey


def _add_rows(survey: Survey, start: int, rows: sparse.csr_matrix, known: np.ndarray) -> None:
    """Add what can be told of many cells at once; ``known`` (n_vars,) bool says which genes are in the vocabulary."""
    values = rows.data.astype(np.float64)
    for kind, count in wrong_values(values).items():
        survey.wrong[kind] = survey.wrong.get(kind, 0) + count
    if survey.wrong:
        values[~np.isfinite(values)] = 0
    counted = known[rows.indices]
    expressed = np.concatenate([[0], np.cumsum(counted & (rows.data != 0))])
    survey.lengths[start : start + rows.shape[0]] = expressed[rows.indptr[1:]] - expressed[rows.indptr[:-1]]
    survey.expressed += int(np.count_nonzero(rows.data))
    survey.total += float(values.sum())
    survey.known += float(values[counted].sum())
    survey.largest = max(survey.largest, float(values.max(initial=0.0)))


def _add_each(survey: Survey, rows: sparse.csr_matrix, hashes: set[bytes]) -> None:
    """Add what is told of each cell alone; ``hashes`` has the cells so far."""
    # A copy, since rows of cells in memory are the user's own.
    rows = rows.copy()
    rows.eliminate_zeros()
    columns, values = rows.indices.astype(np.int64), rows.data.astype(np.float64)
    for first, last in zip(rows.indptr[:-1], rows.indptr[1:]):
        cell = values[first:last]
        digest = hashlib.blake2b(columns[first:last].tobytes() + cell.tobytes(), digest_size=8).digest()
        survey.twins += digest in hashes
        hashes.add(digest)
        cell = cell[np.isfinite(cell)]
        if cell.size and not are_integers(cell):
            survey.fractional += 1
            survey.log1p += is_log1p(cell)
