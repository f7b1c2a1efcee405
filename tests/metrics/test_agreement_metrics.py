"""Metrics against plain references, over updates split in any way."""

import copy

import pytest
import torch

from tahoe_distill.metrics import (
    CenteredCosine,
    KNNOverlap,
    MaskedExpressionMSE,
    MaskedSpearman,
    MeanCosine,
    NormalizedMSE,
)


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def reference_cosine(s, t):
    return (unit(s) * unit(t)).sum(1).mean()


def reference_centered(s, t):
    return reference_cosine(s - t.mean(0), t - t.mean(0))


def reference_normalized_mse(s, t):
    return (unit(s) - unit(t)).square().sum(1).mean()


def reference_overlap(s, t, k=3):
    def neighbours(x, i):
        order = sorted((j for j in range(len(x)) if j != i), key=lambda j: -float(unit(x)[i] @ unit(x)[j]))
        return set(order[:k])

    return torch.tensor([len(neighbours(s, i) & neighbours(t, i)) / k for i in range(len(s))]).double().mean()


EMBEDDING = [
    (MeanCosine, {}, reference_cosine),
    (CenteredCosine, {}, reference_centered),
    (NormalizedMSE, {}, reference_normalized_mse),
    (KNNOverlap, {"k": 3}, reference_overlap),
]
SPLITS = [[17], [1, 16], [5, 5, 0, 7]]


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(17, 6, generator=generator) + 5
    return teacher + 0.5 * torch.randn(17, 6, generator=generator), teacher


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize(("kind", "options", "reference"), EMBEDDING)
def test_any_split_gives_the_reference(kind, options, reference, split, embeddings):
    metric = kind(**options)
    for s, t in zip(*(x.split(split) for x in embeddings)):
        metric.update(s, t)
    expected = reference(*(x.double() for x in embeddings)).float()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "options", "reference"), EMBEDDING)
def test_two_processes_give_the_reference(kind, options, reference, embeddings):
    here, there = kind(**options), kind(**options)
    for metric, rows in ((here, slice(0, 4)), (there, slice(4, None))):
        metric.update(*(x[rows] for x in embeddings))
    here.merge_state(there)
    expected = reference(*(x.double() for x in embeddings)).float()
    torch.testing.assert_close(here.compute(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", [MeanCosine(), CenteredCosine(), NormalizedMSE(), KNNOverlap()])
def test_embeddings_must_be_pairs(metric):
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(2, 4\)"):
        metric.update(torch.ones(2, 3), torch.ones(2, 4))


def test_centred_cosine_gives_the_mean_no_credit(embeddings):
    _, teacher = embeddings
    plain, centred = MeanCosine(), CenteredCosine()
    for metric in (plain, centred):
        metric.update(teacher.mean(0).expand_as(teacher) + 1e-3, teacher)
    assert plain.compute() > 0.9 and centred.compute().abs() < 0.2


def test_overlap_bounds(embeddings):
    student, teacher = embeddings
    for k in (3, 100):
        metric = KNNOverlap(k=k)
        metric.update(teacher * 2, teacher)
        assert metric.compute() == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        KNNOverlap(k=0)
    metric = KNNOverlap()
    metric.update(student[:1], teacher[:1])
    assert metric.compute() == 0.0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("kind", [k for k, _, _ in EMBEDDING] + [MaskedExpressionMSE, MaskedSpearman])
def test_nothing_seen_is_zero_and_reset_forgets(kind):
    metric = kind()
    assert metric.compute() == 0.0
    full = torch.rand(4, 5), torch.rand(4, 5)
    masks = (torch.ones(4, 5, dtype=torch.bool),) if kind in (MaskedExpressionMSE, MaskedSpearman) else ()
    metric.update(*full, *masks)
    assert metric.compute() != 0.0
    metric.reset()
    assert metric.compute() == 0.0


@pytest.mark.parametrize("kind", [k for k, _, _ in EMBEDDING])
def test_metrics_copy_and_take_low_precision(kind, embeddings):
    metric = copy.deepcopy(kind())
    metric.update(*(x.bfloat16() for x in embeddings))
    assert metric.compute().dtype == torch.float32
