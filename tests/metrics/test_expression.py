"""Metrics of expression at masked genes: by hand, against SciPy, and on empty masks."""

import pytest
import torch
from scipy.stats import spearmanr

from tahoe_distill.metrics import MaskedExpressionMSE, MaskedSpearman
from tahoe_distill.metrics.expression import average_ranks


def test_masked_mse_by_hand():
    metric = MaskedExpressionMSE()
    masked = torch.tensor([[True, False, True], [False, False, False]])
    metric.update(torch.tensor([[1.0, 9.0, 3.0], [9.0, 9.0, 9.0]]), torch.zeros(2, 3), masked)
    metric.update(torch.tensor([[2.0, 9.0, 9.0]]), torch.zeros(1, 3), torch.tensor([[True, False, False]]))
    assert metric.compute().item() == pytest.approx((1 + 9 + 4) / 3)
    assert metric.count == 3


def test_an_empty_mask_is_not_nan():
    metric = MaskedExpressionMSE()
    metric.update(torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert metric.compute() == 0.0 and metric.count == 0


def test_average_ranks_with_ties_among_the_masked():
    x = torch.tensor([[3.0, 1.0, 3.0, 2.0, 3.0, 9.0, 0.0], [0.0, 9.0, 5.0, 5.0, 9.0, 9.0, 9.0]])
    masked = torch.tensor([[True] * 5 + [False] * 2, [False] * 2 + [True] * 2 + [False] * 3])
    assert average_ranks(x, masked)[masked].tolist() == [4, 1, 4, 2, 4, 1.5, 1.5]


@pytest.mark.parametrize("split", [[9], [2, 7], [3, 3, 3]], ids=str)
def test_spearman_is_scipys_mean_over_cells(split):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(1, 6, (9, 30), generator=generator).float()
    predicted = target + torch.randn(9, 30, generator=generator)
    masked = torch.rand(9, 30, generator=generator) < 0.6
    expected = [spearmanr(p[m], t[m]).statistic for p, t, m in zip(predicted, target, masked)]
    metric = MaskedSpearman()
    for part in zip(*(x.split(split) for x in (predicted, target, masked))):
        metric.update(*part)
    assert metric.compute().item() == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    assert metric.count == 9 and metric.skipped == 0


def test_spearman_skips_and_counts_cells_without_a_correlation():
    masked = torch.tensor([[True, True, True], [False, False, False], [True, False, False], [True, True, True]])
    predicted = torch.tensor([[1.0, 2.0, 3.0]] * 3 + [[2.0, 2.0, 2.0]])
    metric = MaskedSpearman()
    metric.update(predicted, torch.tensor([[10.0, 20.0, 30.0]] * 4), masked)
    assert metric.compute() == pytest.approx(1.0)
    assert metric.count == 1 and metric.skipped == 3


@pytest.mark.parametrize("kind", [MaskedExpressionMSE, MaskedSpearman])
def test_shapes_must_agree(kind):
    with pytest.raises(ValueError, match="must all be"):
        kind().update(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 4, dtype=torch.bool))
