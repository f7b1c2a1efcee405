"""One pass over all cells of a file, for the doctor: lengths, sums, oddities."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

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
        wrong: Values that no cell can have: how many are ``NaN``, ``infinite`` and ``negative``.
        fractional: Cells with values that are no whole numbers.
        log1p: Those of them that are log1p of scaled counts.
        largest: Largest value.
        twins: Cells with exactly the values of an earlier one.
    """

    lengths: np.ndarray
    total: float = 0.0
    known: float = 0.0
    wrong: dict[str, int] = field(default_factory=dict)
    fractional: int = 0
    log1p: int = 0
    largest: float = 0.0
    twins: int = 0


def survey_cells(cells: Cells, tokens: np.ndarray) -> Survey:
    """Read all cells of a source once, in pieces; ``tokens`` (n_vars,) is -1 at unknown genes."""
    survey = Survey(np.zeros(cells.n_obs, dtype=np.int64))
    hashes = set()
    for start in range(0, cells.n_obs, READ):
        # A copy, since rows of cells in memory are the user's own.
        rows = cells.rows(start, min(start + READ, cells.n_obs)).copy()
        rows.eliminate_zeros()
        values = rows.data.astype(np.float64)
        for kind, count in wrong_values(values).items():
            survey.wrong[kind] = survey.wrong.get(kind, 0) + count
        for number, (first, last) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:])):
            columns, cell = rows.indices[first:last].astype(np.int64), values[first:last]
            _add_cell(survey, start + number, cell, tokens[columns] >= 0)
            digest = hashlib.blake2b(columns.tobytes() + cell.tobytes(), digest_size=8).digest()
            survey.twins += digest in hashes
            hashes.add(digest)
    return survey


def _add_cell(survey, cell, values, known):
    survey.lengths[cell] = known.sum()
    finite = np.isfinite(values)
    values, known = values[finite], known[finite]
    if not values.size:
        return
    survey.total += values.sum()
    survey.known += values[known].sum()
    survey.largest = max(survey.largest, float(values.max()))
    if not are_integers(values):
        survey.fractional += 1
        survey.log1p += is_log1p(values)
