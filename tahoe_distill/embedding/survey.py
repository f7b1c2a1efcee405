"""One pass over all cells of a file, for the doctor: lengths, sums, oddities."""

import hashlib
from dataclasses import dataclass

import numpy as np

# Cells read at a time.
READ = 1024


@dataclass
class Survey:
    """Numbers gathered in one pass over the cells.

    Args:
        lengths: (n_obs,) expressed genes of the vocabulary, a cell.
        total: Sum of all values.
        known: Sum of the values of genes of the vocabulary.
        bad: Values that are NaN or infinite.
        negative: Values below zero.
        fractional: Cells with values that are no whole numbers.
        log1p: Those of them that are log1p of scaled counts.
        largest: Largest value.
        twins: Cells with exactly the values of an earlier one.
    """

    lengths: np.ndarray
    total: float = 0.0
    known: float = 0.0
    bad: int = 0
    negative: int = 0
    fractional: int = 0
    log1p: int = 0
    largest: float = 0.0
    twins: int = 0


def survey_cells(source, tokens):
    """Read all cells of a source once, in pieces; ``tokens`` (n_vars,) is -1 at unknown genes."""
    survey = Survey(np.zeros(source.n_obs, dtype=np.int64))
    hashes = set()
    for start in range(0, source.n_obs, READ):
        stop = min(start + READ, source.n_obs)
        rows = source.rows(start, stop)
        for number in range(stop - start):
            columns, values = _row(rows, number)
            _add_cell(survey, start + number, values, tokens[columns] >= 0)
            digest = hashlib.blake2b(columns.tobytes() + values.tobytes(), digest_size=8).digest()
            survey.twins += digest in hashes
            hashes.add(digest)
    return survey


def _row(rows, number):
    """Columns and float64 values of the entries of one row that are not zero."""
    if hasattr(rows, "indptr"):
        part = slice(rows.indptr[number], rows.indptr[number + 1])
        values = np.asarray(rows.data[part], dtype=np.float64)
        kept = values != 0
        return np.asarray(rows.indices[part], dtype=np.int64)[kept], values[kept]
    row = np.asarray(rows[number], dtype=np.float64)
    columns = np.flatnonzero(row)
    return columns, row[columns]


def _add_cell(survey, cell, values, known):
    survey.lengths[cell] = known.sum()
    if not values.size:
        return
    finite = np.isfinite(values)
    survey.bad += int((~finite).sum())
    values, known = values[finite], known[finite]
    if not values.size:
        return
    survey.negative += int((values < 0).sum())
    survey.total += values.sum()
    survey.known += values[known].sum()
    survey.largest = max(survey.largest, float(values.max()))
    if (values != np.rint(values)).any():
        survey.fractional += 1
        survey.log1p += _is_log1p(values)


def _is_log1p(values):
    """Whether ``expm1`` of a cell is whole counts times a factor; its smallest count is taken to be 1, 2 or 3."""
    if values.min() <= 0 or values.max() > 50:
        return False
    counts = np.expm1(values)
    for smallest in (1, 2, 3):
        scaled = counts / counts.min() * smallest
        if np.abs(scaled - np.rint(scaled)).max() < 1e-3 * max(1.0, scaled.max() / 100):
            return True
    return False
