"""The objectives on cell embeddings that compare the cells of a batch, and all of them at nested sizes."""

import itertools
import math

import pytest
import torch

from tahoe_distill.objectives import build_objectives
from tahoe_distill.objectives.rank import Triples

WIDE = {"student_embedding": 6, "teacher_embedding": 6}
OTHER = {"student_embedding": 3, "teacher_embedding": 5}


@pytest.fixture
def one(make_shapes):
    def build(spec, **shapes):
        return next(iter(build_objectives(spec, make_shapes(**{**WIDE, **shapes})).objectives.values()))

    return build


@pytest.fixture
def term(one, make_outputs):
    def value(spec, student, teacher, **shapes):
        sides = (make_outputs(len(x), 1, cell=x) for x in (student, teacher))
        return one(spec, **shapes)(*sides, {}).item()

    return value


def cosine(a, b):
    return float(a.double() @ b.double() / a.double().norm() / b.double().norm())


def test_similarity_is_the_mean_over_pairs(term):
    student, teacher = torch.randn(5, 3), torch.randn(5, 5)
    pairs = list(itertools.permutations(range(5), 2))
    expected = sum((cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2 for i, j in pairs) / 20
    assert term({"similarity_mse": {}}, student, teacher, **OTHER) == pytest.approx(expected, abs=1e-6)
    # Turning all cells together changes no cosine.
    turned = student @ torch.linalg.qr(torch.randn(3, 3)).Q
    assert term({"similarity_mse": {}}, student, turned, **{**OTHER, "teacher_embedding": 3}) < 1e-10


def test_contrastive_is_the_log_of_a_softmax(term):
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    expected = 0.0
    for i in range(4):
        scores = [math.exp(cosine(student[i], teacher[j]) / 0.2) for j in range(4)]
        expected -= math.log(scores[i] / sum(scores)) / 4
    assert term({"contrastive": {"tau": 0.2}}, student, teacher) == pytest.approx(expected, abs=1e-5)


def test_contrastive_of_centred_vectors(term):
    student, teacher = torch.randn(4, 6) + 5, torch.randn(4, 6) + 5
    mean = teacher.mean(dim=0)
    centred = term({"contrastive": {"center": True}}, student, teacher)
    assert centred == pytest.approx(term({"contrastive": {}}, student - mean, teacher - mean), abs=1e-5)


def test_rank_is_the_hinge_of_its_triples(one, make_outputs):
    objective = one({"rank": {"margin": 0.3, "triples": 50}}, **OTHER).eval()
    student, teacher = torch.randn(6, 3), torch.randn(6, 5)
    found = objective(make_outputs(6, 1, cell=student), make_outputs(6, 1, cell=teacher), {}).item()
    expected = 0.0
    for a, b, c in objective.triples(6).T.tolist():
        theirs = cosine(teacher[a], teacher[b]) - cosine(teacher[a], teacher[c])
        ours = cosine(student[a], student[b]) - cosine(student[a], student[c])
        expected += max(0.0, min(abs(theirs), 0.3) - math.copysign(1, theirs) * ours) / 50
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_perfect_student_has_every_order_right(term):
    cells = torch.randn(8, 6)
    assert term({"rank": {}}, cells, cells) == pytest.approx(0, abs=1e-6)
    assert term({"rank": {}}, -cells, cells) == pytest.approx(0, abs=1e-6)
    assert term({"rank": {}}, cells.flip(0), cells) > 0.01


@pytest.mark.parametrize(("name", "few"), [("similarity_mse", 1), ("contrastive", 1), ("rank", 2)])
def test_too_few_cells_are_a_zero(name, few, term):
    cells = torch.randn(few, 6)
    assert term({name: {}}, cells, torch.randn(few, 6)) == pytest.approx(0, abs=1e-6)


def test_triples_are_of_three_cells_and_every_one_comes():
    triples = Triples(3000, 1)
    drawn = {tuple(row) for row in triples(4).T.tolist()}
    assert drawn == set(itertools.permutations(range(4), 3))


def test_triples_go_on_where_a_checkpoint_left_off():
    whole, first, second = Triples(5, 3), Triples(5, 3), Triples(5, 3)
    expected = [whole(9) for _ in range(4)]
    found = [first(9) for _ in range(2)]
    second.load_state_dict(first.state_dict())
    found += [second(9) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    assert not torch.equal(expected[0], expected[1]) and not torch.equal(Triples(5, 4)(9), expected[0])
    assert torch.equal(whole.eval()(9), second.eval()(9))


@pytest.mark.parametrize("settings", [{"margin": 0}, {"triples": 0}])
def test_rank_needs_a_margin_and_triples(settings, one):
    with pytest.raises(ValueError, match="rank needs a margin and triples above zero"):
        one({"rank": settings})


NESTED = {
    "cosine": {"center": True},
    "mse": {"normalize": False},
    "relational": {"tau": 0.3},
    "similarity_mse": {},
    "rank": {"triples": 30},
    "contrastive": {},
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_sizes_are_the_mean_over_the_sizes(name, term):
    student, teacher = torch.randn(7, 6), torch.randn(7, 6) + 1
    # Cut before the mean is taken, or after: the same coordinates.
    keeps = name in ("relational", "similarity_mse", "rank")
    parts = []
    for size in (6, 2, 3):
        whole = 6 if keeps else size
        shapes = {"student_embedding": size, "teacher_embedding": whole}
        parts.append(term({name: NESTED[name]}, student[:, :size], teacher[:, :whole], **shapes))
    found = term({name: {**NESTED[name], "matryoshka": [2, 3, 6]}}, student, teacher)
    assert found == pytest.approx(sum(parts) / 3, abs=1e-5)


@pytest.mark.parametrize("sizes", [[0], [7], [2, 2], [2.0], "24", 9])
def test_sizes_that_are_none_are_refused(sizes, one):
    with pytest.raises(ValueError, match="matryoshka must be sizes of the student's embedding, each once, in 1 … 6"):
        one({"cosine": {"matryoshka": sizes}})


@pytest.mark.parametrize("spec", [{"similarity_mse": {"center": True}}, {"rank": {"center": True}}])
def test_centring_needs_one_width_where_there_is_no_map(spec, one):
    with pytest.raises(ValueError, match=r"have 3 \(student\) and 5 \(teacher\) coordinates: leave it out"):
        one(spec, **OTHER)


NARROW = {"cosine": {"center": True}, "mse": {"normalize": False}, "contrastive": {"tau": 0.2}}


@pytest.mark.parametrize("name", NARROW)
def test_a_narrower_student_is_compared_behind_its_map(name, one, make_outputs):
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 5)
    narrow, same = (
        one({name: NARROW[name]}, **OTHER),
        one({name: NARROW[name]}, student_embedding=5, teacher_embedding=5),
    )
    term = narrow(make_outputs(4, cell=student), make_outputs(4, cell=teacher), {})
    mapped = student @ narrow.map.weight.T + narrow.map.bias
    torch.testing.assert_close(term, same(make_outputs(4, cell=mapped), make_outputs(4, cell=teacher), {}))
    term.backward()
    assert all(p.grad.abs().sum() > 0 for p in (student, narrow.map.weight, narrow.map.bias))


def test_a_map_can_reach_what_no_narrower_vector_is(one, make_outputs):
    # The teacher's cells lie in a plane of its five dimensions, so three coordinates can say all of them.
    objective = one({"mse": {"normalize": False}}, **OTHER)
    own = torch.randn(16, 3)
    given = make_outputs(16, cell=own), make_outputs(16, cell=own @ torch.randn(3, 5) + 1), {}
    optimizer = torch.optim.LBFGS(objective.parameters(), max_iter=100)
    optimizer.step(lambda: (optimizer.zero_grad(), (loss := objective(*given)).backward(), loss)[-1])
    assert objective(*given).item() < 1e-6


def test_nested_sizes_go_through_one_map(one, make_outputs):
    objective = one({"mse": {"normalize": False, "matryoshka": [1]}}, **OTHER)
    student, teacher = torch.randn(4, 3), torch.randn(4, 5)
    found = objective(make_outputs(4, cell=student), make_outputs(4, cell=teacher), {}).item()
    weight, bias = objective.map.weight, objective.map.bias
    parts = (student @ weight.T + bias, student[:, :1] @ weight[:, :1].T + bias)
    assert found == pytest.approx(sum((part - teacher).square().mean().item() for part in parts) / 2, abs=1e-6)


def test_a_centre_behind_a_map_counts_each_cell_once(one, make_outputs):
    objective = one({"cosine": {"center": True, "matryoshka": [1, 2]}}, **OTHER)
    teacher = torch.randn(4, 5)
    objective(make_outputs(4, cell=torch.randn(4, 3)), make_outputs(4, cell=teacher), {})
    assert objective.center.count == 4
    torch.testing.assert_close(objective.center.mean, teacher.mean(dim=0))
