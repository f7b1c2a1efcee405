"""The relational objective with standardised similarities: by hand, and its gradient beside the others'."""

import math

import pytest
import torch

from tahoe_distill.objectives import Schedule, build_objectives, stage_table

# What the curriculum goes through, and the temperature that the objective has by default.
TAUS = [*stage_table(Schedule(4.0, 0.5, stages=5)), 0.1]
WIDTH = 16


def gradient(spec, make_shapes, make_outputs, student, teacher):
    """Norm of an objective's gradient at the student's cell embeddings."""
    shapes = make_shapes(student_embedding=WIDTH, teacher_embedding=WIDTH)
    (objective,) = build_objectives(spec, shapes).objectives.values()
    x = student.clone().requires_grad_()
    objective(make_outputs(len(x), cell=x), make_outputs(len(x), cell=teacher), {}).backward()
    return float(x.grad.norm())


@pytest.fixture
def cells():
    """Vectors of 32 cells as a teacher gives them, a common direction and small differences; and two students'."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(32, WIDTH, generator=generator)
    common = 5 * torch.nn.functional.normalize(torch.ones(WIDTH), dim=0)
    noise = torch.randn(32, WIDTH, generator=generator)
    # Before training a student puts all cells into nearly one place, and that another one.
    place = torch.randn(WIDTH, generator=generator)
    return {"untrained": place + 1e-3 * noise, "halfway": own + noise / 2 + common}, own + common


@pytest.mark.parametrize("student", ["untrained", "halfway"])
@pytest.mark.parametrize("tau", TAUS)
def test_standardised_its_gradient_is_of_the_size_of_the_others(tau, student, cells, make_shapes, make_outputs):
    students, teacher = cells
    given = (make_shapes, make_outputs, students[student], teacher)
    cosine = gradient({"cosine": {"center": True}}, *given)
    assert cosine / 10 < gradient({"relational": {"tau": tau, "standardize": True}}, *given) < 10 * cosine


def test_as_published_it_fades_with_the_temperature(cells, make_shapes, make_outputs):
    students, teacher = cells
    given = (make_shapes, make_outputs, students["halfway"], teacher)
    cosine = gradient({"cosine": {"center": True}}, *given)
    assert gradient({"relational": {"tau": 4.0}}, *given) < cosine / 100


def reference(student, teacher, tau, teacher_tau):
    """In loops: standardised cosines, softmax over the other cells, KL, tau times tau."""
    cells = range(len(student))

    def rows(x):
        pairs = {(i, j): float(torch.cosine_similarity(x[i], x[j], dim=0)) for i in cells for j in cells if i != j}
        mean = sum(pairs.values()) / len(pairs)
        return pairs, mean, sum((value - mean) ** 2 for value in pairs.values()) / len(pairs)

    (ours, our_mean, our_variance), (theirs, their_mean, their_variance) = rows(student), rows(teacher)
    total = 0.0
    for i in cells:
        weights = {}
        for name, pairs, mean, variance, t in (
            ("q", ours, our_mean, our_variance, tau),
            ("p", theirs, their_mean, their_variance, teacher_tau),
        ):
            spread = math.sqrt(variance + 0.01**2 * their_variance)
            found = [math.exp((pairs[i, j] - mean) / spread / t) for j in cells if j != i]
            weights[name] = [value / sum(found) for value in found]
        total += sum(p * math.log(p / q) for p, q in zip(weights["p"], weights["q"]))
    return tau * teacher_tau * total / len(student)


def test_standardised_against_loops(make_shapes, make_outputs):
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 3).double(), torch.randn(6, 5).double()
    shapes = make_shapes(student_embedding=3, teacher_embedding=5)
    spec = {"relational": {"tau": 2.0, "teacher_tau": 0.7, "standardize": True}}
    (objective,) = build_objectives(spec, shapes).objectives.values()
    found = objective(make_outputs(6, cell=student), make_outputs(6, cell=teacher), {})
    assert found.item() == pytest.approx(reference(student, teacher, 2.0, 0.7), rel=1e-4)


def test_cells_that_are_all_one_to_the_teacher_give_no_nan(make_shapes, make_outputs):
    student, teacher = torch.randn(4, WIDTH), torch.ones(4, WIDTH)
    spec = {"relational": {"standardize": True}}
    assert math.isfinite(gradient(spec, make_shapes, make_outputs, student, teacher))
    assert math.isfinite(gradient(spec, make_shapes, make_outputs, teacher, student))


def test_standardize_is_a_switch(shapes):
    with pytest.raises(ValueError, match="standardize must be true or false; found 'yes'"):
        build_objectives({"relational": {"standardize": "yes"}}, shapes)
