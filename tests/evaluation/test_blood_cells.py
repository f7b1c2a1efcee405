"""The built-in cells are counts, and the split keeps every label on both sides."""

import numpy as np

from tahoe_distill.evaluation.blood_cells import LABEL_KEY, load_blood_cells, split_blood_cells


def test_counts_are_whole_and_normalise_back_to_the_source():
    import scanpy

    cells = load_blood_cells()
    assert cells.shape == (700, 765)
    assert cells.X.dtype == np.int32
    source = np.expm1(scanpy.datasets.pbmc68k_reduced().raw.X.toarray())
    counts = cells.X.toarray()
    one = source.sum(axis=1) / counts.sum(axis=1)
    np.testing.assert_allclose(counts * one[:, None], source, rtol=0.02, atol=1e-2)


def test_split_is_stratified_and_disjoint():
    train, held_out = split_blood_cells(load_blood_cells())
    assert (train.n_obs, held_out.n_obs) == (490, 210)
    assert set(train.obs_names).isdisjoint(held_out.obs_names)
    assert set(train.obs[LABEL_KEY]) == set(held_out.obs[LABEL_KEY])
