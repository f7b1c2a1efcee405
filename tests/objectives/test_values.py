"""Each objective against values worked out by hand, or by a float64 reference that spells the formula out."""

import math

import pytest
import torch

from tahoe_distill.objectives import build_objectives

STUDENT = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
TEACHER = torch.tensor([[4.0, 3.0], [0.0, 1.0]])


def one(spec, shapes):
    """The only objective of a specification."""
    return next(iter(build_objectives(spec, shapes).objectives.values()))


def term(spec, shapes, student, teacher=None, batch=None):
    return one(spec, shapes)(student, teacher, batch or {}).item()


def cells(make_answers, x):
    return make_answers(len(x), 1, cell=x)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"cosine": {}}, (0.04 + 1) / 2),
        # The teacher's mean is (2, 2), so both cosines become 4 / 5.
        ({"cosine": {"center": True}}, 0.2),
        ({"mse": {"normalize": True}}, (0.08 + 2) / 2),
        ({"mse": {"normalize": False}}, 1.0),
        ({"mse": {"normalize": False, "center": True}}, 1.0),
        ({"mse": {"center": True}}, 0.4),
    ],
)
def test_cell_embeddings(spec, expected, shapes, make_answers):
    found = term(spec, shapes, cells(make_answers, STUDENT), cells(make_answers, TEACHER))
    assert found == pytest.approx(expected, abs=1e-6)


def test_relational_by_hand(make_shapes, make_answers):
    # The student's cells are orthogonal, so its softmax is even; the teacher's first two are alike.
    p = math.e / (math.e + 1)
    expected = 2 / 3 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    teacher = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    shapes = make_shapes(student_embedding=3)
    found = term({"relational": {"tau": 1}}, shapes, cells(make_answers, torch.eye(3)), cells(make_answers, teacher))
    assert found == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(0.073963, abs=1e-5)


def reference_relational(student, teacher, tau, teacher_tau):
    def probabilities(x, temperature, row):
        x = x.double()
        scores = [
            math.exp(float(torch.cosine_similarity(x[row], x[other], dim=0)) / temperature)
            for other in range(len(x))
            if other != row
        ]
        return [score / sum(scores) for score in scores]

    total = 0.0
    for row in range(len(student)):
        q, p = probabilities(student, tau, row), probabilities(teacher, teacher_tau, row)
        total += sum(b * math.log(b / a) for a, b in zip(q, p))
    return total / len(student)


def test_relational_against_loops(make_shapes, make_answers):
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 3), torch.randn(6, 5)
    shapes = make_shapes(student_embedding=3, teacher_embedding=5)
    spec = {"relational": {"tau": 0.3, "teacher_tau": 0.7}}
    found = term(spec, shapes, cells(make_answers, student), cells(make_answers, teacher))
    assert found == pytest.approx(reference_relational(student, teacher, 0.3, 0.7), abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_relational_needs_three_cells(count, shapes, make_answers):
    x = torch.randn(count, 2, requires_grad=True)
    loss = one({"relational": 1.0}, shapes)(cells(make_answers, x), cells(make_answers, x), {})
    loss.backward()
    assert loss.item() == 0 and x.grad.abs().sum() == 0


@pytest.mark.parametrize(("tau", "expected"), [(1, 0.130812), (2, 0.145363)])
@pytest.mark.parametrize(("reduction", "share"), [("batchmean", 1), ("mean", 0.5), ("sum", 2)])
def test_kl(tau, expected, reduction, share, make_shapes, make_answers):
    spec = {"kl": {"tau": tau, "reduction": reduction, "num_classes": 2, "column": "scores"}}
    objective = one(spec, make_shapes(teacher_embedding=None))
    torch.nn.init.zeros_(objective.head.weight)
    torch.nn.init.zeros_(objective.head.bias)
    batch = {"scores": torch.tensor([[math.log(3), 0.0]] * 2)}
    found = objective(make_answers(2, cell=torch.ones(2, 2)), None, batch)
    assert found.item() == pytest.approx(share * expected, abs=1e-5)


def test_kl_refuses_a_batch_without_its_logits(shapes, make_answers):
    objective = one({"kl": {"num_classes": 2, "column": "scores"}}, shapes)
    with pytest.raises(ValueError, match="reads the teacher's logits from 'scores'; the batch has"):
        objective(make_answers(1, cell=torch.ones(1, 2)), None, {"drug": []})
    with pytest.raises(ValueError, match="logits of one shape"):
        objective(make_answers(1, cell=torch.ones(1, 2)), None, {"scores": torch.zeros(1, 3)})


def test_gene_leaves_padding_out(shapes, make_answers):
    seen = torch.tensor([[True, False]])
    student = make_answers(1, 2, genes=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), seen=seen)
    teacher = make_answers(1, 2, genes=torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]))
    assert term({"gene": {}}, shapes, student, teacher) == pytest.approx(2.0)
    assert term({"gene": {"distance": "cosine"}}, shapes, student, teacher) == pytest.approx(1 - 1 / math.sqrt(5))


def test_gene_at_a_subset_of_the_teachers_positions(shapes, make_answers):
    student = make_answers(1, 2, genes=torch.zeros(1, 2, 2), gene_ids=torch.tensor([[1, 7]]))
    teacher = make_answers(1, 3, genes=torch.tensor([[[1.0, 1.0], [5.0, 5.0], [3.0, 3.0]]]))
    teacher.gene_ids = torch.tensor([[1, 6, 7]])
    # A gene that the teacher did not see, or another gene than the index says, is left out.
    for index, expected in ((2, 5.0), (-1, 1.0), (1, 1.0)):
        student.index = torch.tensor([[0, index]])
        assert term({"gene": {}}, shapes, student, teacher) == pytest.approx(expected)
    student.index = None
    with pytest.raises(ValueError, match="student_index"):
        term({"gene": {}}, shapes, student, teacher)


def test_gene_through_its_map(make_shapes, make_answers):
    objective = one({"gene": {}}, make_shapes(teacher_width=1))
    with torch.no_grad():
        objective.map.weight.copy_(torch.tensor([[2.0, 1.0]]))
        objective.map.bias.fill_(1.0)
    student = make_answers(1, 1, genes=torch.tensor([[[1.0, 3.0]]]))
    teacher = make_answers(1, 1, genes=torch.tensor([[[4.0]]]))
    assert objective(student, teacher, {}).item() == pytest.approx((2 + 3 + 1 - 4) ** 2)


def test_hidden_pairs_layers_and_starts_at_the_identity(shapes, make_answers):
    def layers(*values):
        return tuple(torch.full((1, 2, 2), float(v)) for v in values)

    seen = torch.tensor([[True, False]])
    student = make_answers(1, 2, hidden=layers(0, 1, 2), seen=seen)
    teacher = make_answers(1, 2, hidden=layers(0, 10, 20, 30, 40))
    spec = {"hidden": {"layer_map": [[0, 1], [2, 4]]}}
    assert term(spec, shapes, student, teacher) == pytest.approx((10**2 + 38**2) / 2)


def test_hidden_coarse_compares_the_mean_over_seen_positions(shapes, make_answers):
    states = torch.tensor([[[1.0, 1.0], [3.0, 3.0], [100.0, 100.0]]])
    seen = torch.tensor([[True, True, False]])
    student = make_answers(1, 3, hidden=(states,) * 3, seen=seen)
    teacher = make_answers(1, 3, hidden=(torch.zeros(1, 3, 2),) * 5)
    assert term({"hidden": {"layer_map": [[1, 1]], "grain": "coarse"}}, shapes, student, teacher) == pytest.approx(4)
    assert term({"hidden": {"layer_map": [[1, 1]]}}, shapes, student, teacher) == pytest.approx((1 + 9) / 2)


def predictions(make_answers, expression, mvc):
    # Position 0 is special, position 3 is masked but padding.
    masked = torch.tensor([[False, True, True, True]])
    seen = torch.tensor([[True, True, True, False]])
    values = {"expression": torch.tensor([expression]), "mvc": torch.tensor([mvc])}
    return make_answers(1, 4, masked=masked, seen=seen, **values)


HARD = ((9**2 + 18**2) / 2 + (8**2 + 16**2) / 2) / 2
SOFT = ((1**2 + 1**2) / 2 + (2**2 + 2**2) / 2) / 2


@pytest.mark.parametrize(("alpha", "expected"), [(0, HARD), (1, SOFT), (0.25, 0.25 * SOFT + 0.75 * HARD)])
def test_expression(alpha, expected, shapes, make_answers):
    student = predictions(make_answers, [7.0, 1.0, 2.0, 7.0], [7.0, 2.0, 4.0, 7.0])
    teacher = predictions(make_answers, [5.0, 2.0, 3.0, 5.0], [5.0, 4.0, 6.0, 5.0])
    student.target = torch.tensor([[-2, 10, 20, -2]])
    assert term({"expression": {"alpha": alpha}}, shapes, student, teacher) == pytest.approx(expected)


def test_expression_is_pretraining_without_a_teacher(make_shapes, make_answers):
    student = predictions(make_answers, [7.0, 1.0, 2.0, 7.0], [7.0, 2.0, 4.0, 7.0])
    shapes = make_shapes(teacher_width=None, teacher_embedding=None, teacher_layers=None)
    student.target = torch.tensor([[-2, 10, 20, -2]])
    assert term({"expression": {"alpha": 0}}, shapes, student) == pytest.approx(HARD)


def test_expression_scales_bins_to_minus_one_to_one(make_shapes, make_answers):
    student = predictions(make_answers, [0.0] * 4, [0.0] * 4)
    student.target = torch.tensor([[-2.0, 1.0, 25.5, -2.0]])
    shapes = make_shapes(standard_scale_outputs=True, num_bins=51)
    assert term({"expression": {"alpha": 0}}, shapes, student) == pytest.approx((1 + 0) / 2)


def test_expression_needs_hard_targets_at_the_students_positions(shapes, make_answers):
    student = predictions(make_answers, [0.0] * 4, [0.0] * 4)
    spec = {"expression": {"alpha": 0}}
    with pytest.raises(ValueError, match="expr_target"):
        term(spec, shapes, student)
    student.target = torch.ones(1, 5)
    with pytest.raises(ValueError, match="student's shape"):
        term(spec, shapes, student)


@pytest.mark.parametrize(
    ("settings", "column"),
    [
        ({"labels": ["DMSO", "Talc"]}, ["DMSO", "Talc", "unheard of"]),
        ({"num_classes": 2}, torch.tensor([0, 1, -1])),
        ({"num_classes": 2}, [0, 1, 7]),
    ],
)
def test_classification_ignores_unknown_labels(settings, column, shapes, make_answers):
    objective = one({"classification": {"column": "drug", **settings}}, shapes)
    with torch.no_grad():
        objective.head.weight.copy_(torch.eye(2))
        objective.head.bias.zero_()
    student = make_answers(3, cell=torch.tensor([[2.0, 0.0], [1.0, 0.0], [5.0, 5.0]]))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert objective(student, None, {"drug": column}).item() == pytest.approx(expected, abs=1e-6)


def test_classification_with_no_known_label_is_zero(shapes, make_answers):
    objective = one({"classification": {"column": "drug", "labels": ["a", "b"]}}, shapes)
    loss = objective(make_answers(2, cell=torch.ones(2, 2)), None, {"drug": ["?", "?"]})
    loss.backward()
    assert loss.item() == 0 and objective.head.weight.grad.abs().sum() == 0


def test_classification_column_is_checked(shapes, make_answers):
    student = make_answers(1, cell=torch.ones(1, 2))
    with pytest.raises(ValueError, match="batch has line"):
        term({"classification": {"column": "drug", "num_classes": 2}}, shapes, student, None, {"line": ["x"]})
    with pytest.raises(ValueError, match="give labels"):
        term({"classification": {"column": "drug", "num_classes": 2}}, shapes, student, None, {"drug": ["x"]})
