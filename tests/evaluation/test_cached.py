"""Vectors from a teacher cache are the teacher's own for those cells, and other cells are refused."""

import anndata
import numpy as np
import pytest

from tahoe_distill.embedding import embed
from tahoe_distill.evaluation.cached import is_cache, vectors_of_cache
from tahoe_distill.teacher import load_teacher
from tahoe_distill.training.caching import write_cache
from tests.helpers.in_process import distributed_ends


@pytest.fixture
def cache(tmp_path, run_config):
    """A cache of both splits of the small cells."""
    with distributed_ends():
        write_cache(run_config, tmp_path / "cache")
        yield tmp_path / "cache"


def test_cached_vectors_are_the_teachers(cache, shards, small_teacher):
    cells = anndata.read_h5ad(shards.parent / "cells.h5ad")
    assert is_cache(cache) and not is_cache(shards)
    found, kept = vectors_of_cache(cache, cells)
    teacher = load_teacher(small_teacher)
    expected = embed(kept, (teacher.model, teacher.processor), copy=True, normalize=False).obsm["X_tx1"]
    assert kept.n_obs == len(found.query) == 60
    np.testing.assert_allclose(found.query, expected, atol=5e-3)


def test_a_cache_of_other_cells_is_refused(cache, shards):
    cells = anndata.read_h5ad(shards.parent / "cells.h5ad")
    with pytest.raises(ValueError, match="a cache of other cells: it has a cell number 59, --adata has 20 cells"):
        vectors_of_cache(cache, cells[:20].copy())
    swapped = cells[:, ::-1].copy()
    swapped.var_names = cells.var_names
    with pytest.raises(ValueError, match="a cache of other cells: the teacher saw"):
        vectors_of_cache(cache, swapped)
