"""What a matrix holds, and what is refused."""

import logging

import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.data.counts import COUNTS, LOGGED, SCALED_TOTALS, recognise


def rows(values):
    return sparse.csr_matrix(np.atleast_2d(np.asarray(values, dtype=np.float32)))


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
