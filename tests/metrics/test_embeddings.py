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
    centered_cosine,
    knn_overlap,
    mean_cosine,
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

    shares = [len(neighbours(s, i) & neighbours(t, i)) / k for i in range(len(s))]
    return torch.tensor(shares, dtype=torch.float64).mean()


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


@pytest.mark.parametrize("metric", [MeanCosine(), CenteredCosine(), NormalizedMSE()])
def test_embeddings_must_lie_in_one_space(metric):
    with pytest.raises(ValueError, match=r"in the same space.* found \(2, 3\) and \(2, 4\)"):
        metric.update(torch.ones(2, 3), torch.ones(2, 4))


@pytest.mark.parametrize("metric", [MeanCosine(), CenteredCosine(), NormalizedMSE(), KNNOverlap()])
def test_embeddings_must_be_of_the_same_cells(metric):
    with pytest.raises(ValueError, match=r"of the same cells; found \(2, 3\) and \(1, 3\)"):
        metric.update(torch.ones(2, 3), torch.ones(1, 3))


def test_neighbours_are_compared_between_spaces_of_any_width(embeddings):
    _, teacher = embeddings
    metric = KNNOverlap(k=3)
    # Padding with zeros moves no cosine.
    metric.update(torch.nn.functional.pad(teacher, (0, 4)), teacher)
    assert metric.compute() == 1.0


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (mean_cosine, reference_cosine),
        (centered_cosine, reference_centered),
        (lambda s, t: knn_overlap(s, t, k=3), reference_overlap),
    ],
)
def test_functions_give_the_reference_in_float64(function, reference, embeddings):
    student, teacher = (x.double() for x in embeddings)
    found = function(student, teacher)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, reference(student, teacher), rtol=1e-13, atol=1e-13)
    assert function(student[:0], teacher[:0]) == 0.0


def test_a_center_may_be_given(embeddings):
    student, teacher = embeddings
    center = torch.full((6,), 3.0)
    torch.testing.assert_close(
        centered_cosine(student, teacher, center), reference_cosine(student - center, teacher - center)
    )


@pytest.mark.parametrize("split", [[40], [1, 16, 23], [7] * 5 + [5], [0, 39, 0, 1]], ids=str)
def test_a_capped_metric_keeps_cells_evenly_whatever_the_batches(split):
    student, teacher = torch.randn(40, 3), torch.arange(40.0)[:, None].expand(40, 3)
    metric = KNNOverlap(max_cells=12)
    for s, t in zip(student.split(split), teacher.split(split)):
        metric.update(s, t)
        assert sum(map(len, metric.teacher)) <= 12
    kept_student, kept_teacher = metric.pairs()
    assert kept_teacher[:, 0].tolist() == list(range(0, 40, 4))
    assert torch.equal(kept_student, student[::4])
    assert metric.cells == 40
    torch.testing.assert_close(metric.compute(), knn_overlap(student[::4], teacher[::4]))
    metric.reset()
    metric.update(student[:12], teacher[:12])
    assert len(metric.pairs()[0]) == 12


def test_the_cap_holds_for_all_processes_together():
    here, there = KNNOverlap(max_cells=8), KNNOverlap(max_cells=8)
    for metric in (here, there):
        metric.update(torch.randn(20, 3), torch.randn(20, 3))
    here.merge_state(there)
    assert len(here.pairs()[0]) == 5


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
    with pytest.raises(ValueError, match="at least 1, found 0"):
        KNNOverlap(max_cells=0)
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
