"""What a matrix holds, and what is refused."""

import logging

import numpy as np
import pytest

from tahoe_distill.cells import check_cells, open_cells
from tahoe_distill.cells.values import COUNTS, LOGGED, SCALED_TOTALS, is_log1p, recognise, wrong_values


def rows(values):
    return np.asarray(values, dtype=np.float32)


def test_raw_counts():
    assert recognise(rows([0, 3, 1]), "f") == COUNTS


def test_logged_counts_are_accepted_and_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert recognise(rows(np.log1p([0, 3.3, 120])), "f") == LOGGED
    assert "depends on ranks only" in caplog.text


def test_normalised_counts_are_accepted():
    assert recognise(rows([0, 3.3, 1200]), "f") == SCALED_TOTALS


@pytest.mark.parametrize(
    ("values", "name"), [([1, -0.5], "negative values"), ([1, np.nan], "NaN"), ([1, np.inf], "infinite values")]
)
def test_other_values_are_refused_by_name(values, name):
    with pytest.raises(ValueError, match=f"f: found {name}.*expected raw counts.*layer"):
        recognise(rows(values), "f")


def test_no_values_at_all():
    assert recognise(rows([0, 0]), "f") == COUNTS


def test_how_many_values_are_wrong():
    values = np.array([1, -1, -2, np.nan, np.inf, -np.inf], dtype=np.float32)
    assert wrong_values(values) == {"NaN": 1, "infinite": 2, "negative": 2}
    assert wrong_values(np.array([3, 0], dtype=np.uint8)) == {} == wrong_values(values[:1])
    assert wrong_values(np.array([3, -4], dtype=np.int64)) == {"negative": 1}


def test_log1p_of_scaled_counts_is_told_from_other_fractions():
    counts = np.array([1, 2, 7, 30], dtype=np.float64)
    assert is_log1p(np.log1p(counts * 3.7)) and is_log1p(np.log1p(2 * counts * 0.3))
    assert not is_log1p(np.array([0.3, 0.55, 1.9])) and not is_log1p(counts + 100.5)


def test_all_cells_are_looked_at(adata):
    with open_cells(adata) as cells:
        check_cells(cells)
    adata.X.data[-1] = np.nan
    with open_cells(adata) as cells, pytest.raises(ValueError, match="adata: found NaN values .1.; expected raw"):
        check_cells(cells)
    with open_cells(adata[:0]) as cells, pytest.raises(ValueError, match="expected cells, found none: the matrix is 0"):
        check_cells(cells)
