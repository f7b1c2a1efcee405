"""What every objective must do: reach the student and its own weights, spare the teacher, survive an empty batch."""

import pytest
import torch

from tahoe_distill.objectives import Outputs, Shapes, build_objectives, objective_names
from tahoe_distill.objectives.centering import TeacherCenter
from tahoe_distill.objectives.rank import Triples

C, GT, GS, E, K, LAYERS = 4, 6, 5, 8, 3, 3
SHAPES = Shapes(
    student_width=4, student_embedding=E, student_layers=2, teacher_width=6, teacher_embedding=E, teacher_layers=LAYERS
)
SPECS = {
    "cosine": {"center": True},
    "cosine:plain": {},
    "mse": {"normalize": True},
    "mse:raw": {"normalize": False},
    "relational": {"tau": 0.5, "teacher_tau": 0.2},
    "cosine:nested": {"center": True, "matryoshka": [2, 4]},
    "relational:nested": {"tau": 0.5, "matryoshka": [3]},
    "relational:standardized": {"tau": 2.0, "standardize": True},
    "similarity_mse": {"matryoshka": [4]},
    "rank": {"margin": 0.3, "triples": 64},
    "contrastive": {"tau": 0.5, "center": True},
    "kl": {"tau": 2.0, "num_classes": K, "column": "scores"},
    "gene": {},
    "gene:cosine": {"distance": "cosine"},
    "hidden": {"layer_map": [[0, 0], [2, 3]]},
    "hidden:coarse": {"layer_map": [[1, 2]], "grain": "coarse"},
    "expression": {"alpha": 0.3},
    "expression:hard": {"alpha": 0},
    "expression:soft": {"alpha": 1, "heads": ["expression"]},
    "classification": {"column": "drug", "labels": ["a", "b", "c"]},
}


def outputs(cells, genes, width, layers, generator):
    def leaf(*shape):
        return torch.randn(shape, generator=generator).requires_grad_()

    seen = torch.ones(cells, genes, dtype=torch.bool)
    seen[:, -1] = False
    return Outputs(
        cell=leaf(cells, E),
        genes=leaf(cells, genes, width),
        hidden=tuple(leaf(cells, genes, width) for _ in range(layers + 1)),
        expression=leaf(cells, genes),
        mvc=leaf(cells, genes),
        gene_ids=torch.arange(1, genes + 1).expand(cells, genes),
        seen=seen,
        masked=torch.arange(genes).expand(cells, genes) % 2 == 1,
        target=torch.randint(1, 51, (cells, genes), generator=generator),
    )


@pytest.fixture(params=list(SPECS))
def objective(request):
    torch.manual_seed(0)
    return build_objectives({request.param: SPECS[request.param]}, SHAPES).objectives[request.param]


def views(cells=C):
    generator = torch.Generator().manual_seed(1)
    student = outputs(cells, GS, SHAPES.student_width, SHAPES.student_layers, generator)
    teacher = outputs(cells, GT, SHAPES.teacher_width, LAYERS, generator)
    student.index = torch.arange(GS).expand(cells, GS)
    batch = {"drug": ["a", "b", "?", "c"][:cells], "scores": torch.randn(cells, K, generator=generator)}
    return student, teacher, batch


def leaves(outputs):
    values = (getattr(outputs, name) for name in ("cell", "genes", "expression", "mvc"))
    return [*values, *outputs.hidden]


def test_specs_cover_every_objective():
    assert {key.split(":")[0] for key in SPECS} == set(objective_names())


def test_gradient_reaches_the_student_and_the_maps_and_never_the_teacher(objective):
    student, teacher, batch = views()
    loss = objective(student, teacher, batch)
    assert loss.dim() == 0 and loss.dtype == torch.float32 and torch.isfinite(loss) and loss > 0
    loss.backward()
    assert any(x.grad is not None and x.grad.abs().sum() > 0 for x in leaves(student))
    assert all(x.grad is None for x in leaves(teacher))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters())


def test_padding_gets_no_gradient(objective):
    student, teacher, batch = views()
    objective(student, teacher, batch).backward()
    for x in (student.genes, student.expression, student.mvc, *student.hidden):
        assert x.grad is None or x.grad[:, -1].abs().sum() == 0


@pytest.mark.parametrize("kind", ["no cells", "nothing seen", "nothing masked"])
def test_nothing_to_compare_is_a_connected_zero(objective, kind):
    student, teacher, batch = views(cells=0 if kind == "no cells" else C)
    if kind == "nothing seen":
        student.seen = torch.zeros_like(student.seen)
    if kind == "nothing masked":
        student.masked = torch.zeros_like(student.masked)
    loss = objective(student, teacher, batch)
    assert torch.isfinite(loss)
    loss.backward()
    gradients = [x.grad for x in (*leaves(student), *objective.parameters()) if x.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
    if kind == "no cells" or ("cell" not in objective.needs and (kind == "nothing seen" or "masks" in objective.needs)):
        assert loss == 0


def test_bfloat16_autocast_gives_the_same_in_float32(objective):
    student, teacher, batch = views()
    expected = objective.eval()(student, teacher, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(student, teacher, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.01)


def test_bfloat16_outputs_are_compared_in_float32(objective):
    student, teacher, batch = views()
    for side in (student, teacher):
        side.hidden = tuple(x.bfloat16() for x in side.hidden)
        for name in ("cell", "genes", "expression", "mvc"):
            setattr(side, name, getattr(side, name).bfloat16())
    loss = objective(student, teacher, batch)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_teacher_may_run_under_inference_mode(objective):
    student, teacher, batch = views()
    expected = objective(student, teacher, batch).detach()
    for part in (m for m in objective.modules() if isinstance(m, (TeacherCenter, Triples))):
        part.reset_parameters()
    with torch.inference_mode():
        teacher.hidden = tuple(x.clone() for x in teacher.hidden)
        for name in ("cell", "genes", "expression", "mvc"):
            setattr(teacher, name, getattr(teacher, name).clone())
    found = objective(student, teacher, batch)
    found.backward()
    torch.testing.assert_close(found.detach(), expected)


def test_a_missing_output_is_named(objective):
    student, teacher, batch = views()
    for name in ("cell", "genes", "hidden", "expression", "mvc"):
        setattr(student, name, None)
    with pytest.raises(ValueError, match="of the student, which was not given"):
        objective(student, teacher, batch)
