"""Baselines against scanpy and scikit-learn called by hand; controls that change what they say they change."""

import numpy as np
import pytest
import scanpy
from sklearn.linear_model import Ridge

from tahoe_distill.evaluation import Bench, Columns, Subject
from tahoe_distill.evaluation.baselines import LogCounts, _permuted, _random, expression_baselines
from tahoe_distill.models import Tx1Processor
from tests.evaluation.conftest import make_cells, vectors_of
from tests.helpers.tiny_student import tiny_pair


def make_bench(reference=None):
    query = make_cells()
    bench = Bench(query, reference, Columns())
    known = None if reference is None else vectors_of(reference)
    bench.subjects["teacher"] = Subject("teacher", "teacher", vectors_of(query), known, shared_space=True)
    return bench


def by_hand(adata):
    adata = adata.copy()
    scanpy.pp.normalize_total(adata, target_sum=1e4)
    scanpy.pp.log1p(adata)
    return adata.X


def test_log_counts_are_scanpys_and_logged_input_is_left_alone():
    bench = make_bench()
    np.testing.assert_allclose(LogCounts(bench).matrix.toarray(), by_hand(bench.query), rtol=1e-6)
    logged = bench.query.copy()
    logged.X = by_hand(logged)
    np.testing.assert_allclose(LogCounts(Bench(logged)).matrix.toarray(), logged.X, rtol=1e-6)


def test_ridge_is_fitted_on_the_reference():
    reference = make_cells(60, seed=3)
    bench = make_bench(reference)
    found = {subject.name: subject for subject in expression_baselines(bench)}["ridge"]
    fitted = Ridge(alpha=found.about["penalty"]).fit(by_hand(reference), bench.teacher.reference)
    np.testing.assert_allclose(found.query, fitted.predict(by_hand(bench.query)), atol=1e-3)


def test_ridge_without_a_reference_predicts_no_cell_it_has_seen():
    bench = make_bench()
    found = {subject.name: subject for subject in expression_baselines(bench)}["ridge"]
    leaked = Ridge(alpha=found.about["penalty"]).fit(by_hand(bench.query), bench.teacher.query)
    error = np.linalg.norm(found.query - bench.teacher.query)
    assert error > np.linalg.norm(leaked.predict(by_hand(bench.query)) - bench.teacher.query)


def test_cells_that_share_no_gene_are_refused():
    reference = make_cells(60)
    reference.var_names = [f"other{number}" for number in range(30)]
    with pytest.raises(ValueError, match="share no gene name"):
        LogCounts(make_bench(reference))


def test_controls_change_genes_and_weights_and_leave_the_model_alone():
    model, processor = tiny_pair()
    shuffled = _permuted(processor, 0)
    assert isinstance(shuffled, Tx1Processor) and len(shuffled.vocab) == len(processor.vocab)
    changed = [token for token, number in processor.vocab.tokens.items() if shuffled.vocab[token] != number]
    assert len(changed) > len(processor.vocab) / 2 and not any(token.startswith("<") for token in changed)
    fresh = _random(model, 0)
    assert fresh.num_parameters() == model.num_parameters()
    pairs = zip(fresh.parameters(), model.parameters())
    assert all((a != b).any() for a, b in pairs)
