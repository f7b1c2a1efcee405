"""Views: the measured cells first, then others of the same genes, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.fitting.views import MIXED, THINNED, made_up, views_for


def stacked(counted, views, augment, seed=1):
    return sparse.vstack(list(made_up(counted, views, augment, seed=seed))).toarray()


def test_the_first_view_is_the_cells_themselves(counted):
    found = stacked(counted, 3, MIXED)
    np.testing.assert_array_equal(found[: len(counted)], counted.counts.toarray())
    assert len(found) == 3 * len(counted)
    np.testing.assert_array_equal(found, stacked(counted, 3, MIXED))
    assert (found != stacked(counted, 3, MIXED, seed=2)).any()


def test_thinned_views_have_no_count_that_the_cell_has_not(counted):
    found = stacked(counted, 3, THINNED)[len(counted) :].reshape(2, len(counted), -1)
    measured = counted.counts.toarray()
    assert (found <= measured).all() and (found < measured).any()
    mixed = stacked(counted, 3, MIXED)[len(counted) :].reshape(2, len(counted), -1)
    assert (mixed > measured).any()


def test_how_many_views(counted):
    assert views_for(counted, None) == 60 and views_for(counted, 7) == 7
    logged = replace(counted, are_counts=False)
    assert views_for(logged, None) == 1 and views_for(logged, 1) == 1
    with pytest.raises(ValueError, match="needs raw counts.*found views 2"):
        views_for(logged, 2)
    with pytest.raises(ValueError, match="found 0"):
        views_for(counted, 0)
