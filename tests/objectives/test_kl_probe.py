"""The kl objective against a probe: soft labels of the teacher's head, hard ones blended in, and the head it gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tahoe_distill.objectives import Outputs, Shapes, build_objectives
from tahoe_distill.probes import Probe

SHAPES = Shapes(student_width=4, student_embedding=6, student_layers=1, teacher_width=6, teacher_embedding=6)
LABELS = ("a", "b", "c")
BATCH = {"kind": ["a", "c", "b", "nobody knows"]}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    coef, intercept = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 6), (3,)))
    Probe(coef, intercept, LABELS, 2.0, "f" * 64, {"source": "teacher"}).save_into(tmp_path)
    return str(tmp_path)


def objective(shapes=SHAPES, **settings):
    return build_objectives({"kl": settings}, shapes).objectives["kl"]


def outputs(seed, width=6):
    cell = torch.randn(4, width, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return Outputs(gene_ids=torch.ones(4, 2), seen=torch.ones(4, 2, dtype=torch.bool), cell=cell)


def logits(probe, cell):
    weight, bias = map(torch.from_numpy, probe.calibrated())
    return F.linear(F.normalize(cell, dim=-1), weight, bias)


@pytest.mark.parametrize("alpha", [1.0, 0.3, 0.0])
def test_the_blend_is_hintons(folder, alpha):
    kl = objective(probe=folder, tau=3.0, alpha=alpha, labels_column=None if alpha == 1 else "kind")
    student, teacher = outputs(1), outputs(2)
    s, t = logits(kl.probe, student.cell), logits(kl.probe, teacher.cell)
    soft = 9 * ((t / 3).softmax(-1) * ((t / 3).log_softmax(-1) - (s / 3).log_softmax(-1))).sum(-1).mean()
    # The last cell's label is none of the probe's.
    hard = -s.log_softmax(-1)[[0, 1, 2], [0, 2, 1]].mean()
    torch.testing.assert_close(kl(student, teacher, BATCH), alpha * soft + (1 - alpha) * hard)


def test_the_teachers_own_vectors_cost_nothing_at_first_and_no_gradient_reaches_it(folder):
    kl, teacher = objective(probe=folder, tau=2.0), outputs(2)
    assert float(kl(teacher, teacher, {})) == pytest.approx(0, abs=1e-6)
    teacher.cell.grad = None
    student = outputs(1)
    kl(student, teacher, {}).backward()
    assert student.cell.grad.abs().sum() > 0 and kl.head.weight.grad.abs().sum() > 0 and teacher.cell.grad is None


def test_hard_labels_from_the_probe_itself(folder):
    kl = objective(probe=folder, alpha=0.0, labels_from_probe=True)
    student, teacher = outputs(1), outputs(2)
    target = logits(kl.probe, teacher.cell).argmax(dim=-1)
    torch.testing.assert_close(kl(student, teacher, {}), F.cross_entropy(logits(kl.probe, student.cell), target))


def test_no_known_label_and_no_cell_cost_nothing(folder):
    kl = objective(probe=folder, alpha=0.0, labels_column="kind")
    student = outputs(1)
    loss = kl(student, outputs(2), {"kind": ["?"] * 4})
    loss.backward()
    assert loss == 0 and torch.isfinite(student.cell.grad).all()


def test_it_reads_the_cell_and_the_labels_that_it_needs(folder):
    soft, hard = objective(probe=folder), objective(probe=folder, alpha=0.5, labels_column="kind")
    assert (soft.needs, soft.column) == ({"cell"}, None) and soft.teacher_needs == hard.teacher_needs == {"cell"}
    assert (hard.needs, hard.column) == ({"cell", "labels"}, "kind") and hard.teacher_fingerprint == "f" * 64


def test_the_trained_head_is_a_probe_of_its_own(folder):
    kl = objective(probe=folder)
    with torch.no_grad():
        kl.head.weight.add_(1.0)
    found, cell = kl.trained_head(kl.state_dict()), outputs(1).cell.detach()
    expected = F.linear(F.normalize(cell, dim=-1), kl.head.weight, kl.head.bias).softmax(-1)
    np.testing.assert_allclose(found.probabilities(cell.numpy()), expected.detach().numpy(), atol=1e-6)
    assert found.labels == LABELS and found.record["method"] == "kl"


def test_a_student_of_another_width_learns_a_head_of_its_own(folder):
    narrow = Shapes(student_width=4, student_embedding=5, student_layers=1, teacher_width=6, teacher_embedding=6)
    assert objective(narrow, probe=folder)(outputs(1, 5), outputs(2), {}) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either probe .* or num_classes and column"),
        ({"num_classes": 3}, "give either probe"),
        ({"probe": True, "num_classes": 3, "column": "x"}, "give either probe"),
        ({"num_classes": 3, "column": "x", "alpha": 0.5}, "need the labels of a probe: give probe too"),
        ({"probe": True, "alpha": 0.5}, "alpha below 1 needs hard labels"),
        ({"probe": True, "labels_column": "kind"}, "mean something with alpha below 1"),
        ({"probe": True, "alpha": 0.5, "labels_column": "kind", "labels_from_probe": True}, "not both"),
        ({"probe": True, "alpha": 1.5}, "alpha must be at least 0 and at most 1, found 1.5"),
        ({"probe": "nowhere"}, "nowhere holds no probe"),
    ],
)
def test_settings_that_contradict_each_other(folder, settings, message):
    settings = {**settings, **({"probe": folder} if settings.get("probe") is True else {})}
    with pytest.raises(ValueError, match=message):
        objective(**settings)


def test_a_probe_of_another_width_is_refused(folder):
    wide = Shapes(student_width=4, student_embedding=6, student_layers=1, teacher_width=6, teacher_embedding=7)
    with pytest.raises(ValueError, match="reads vectors of 6 coordinates, the teacher gives 7"):
        objective(wide, probe=folder)


def test_batches_without_the_labels_or_with_numbers(folder):
    kl = objective(probe=folder, alpha=0.5, labels_column="kind")
    with pytest.raises(ValueError, match="reads the hard labels from 'kind'; the batch has"):
        kl(outputs(1), outputs(2), {"gene": 1})
    with pytest.raises(ValueError, match="by their names, found numbers"):
        kl(outputs(1), outputs(2), {"kind": torch.zeros(4)})
