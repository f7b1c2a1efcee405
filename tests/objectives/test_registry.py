"""From a specification to objectives: names, weights, and what is refused."""

import sys
import types

import pytest
import torch

from tahoe_distill.objectives import Cosine, Objective, build_objectives, find_objective, objective_names, registry

BUILT_IN = [
    "classification",
    "contrastive",
    "cosine",
    "expression",
    "gene",
    "hidden",
    "kl",
    "mse",
    "rank",
    "relational",
    "similarity_mse",
]


class Constant(Objective):
    """A user's own objective."""

    name = "constant"
    needs = frozenset({"cell"})
    needs_teacher = False

    def __init__(self, *, shapes, level=1.0, **kwargs):
        super().__init__(shapes=shapes, **kwargs)
        self.level = level

    def forward(self, student, teacher, batch):
        return student.cell.sum() * 0 + self.level


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry.OBJECTIVES, "registered", dict(registry.OBJECTIVES.registered))


def test_names_are_pinned():
    assert objective_names() == BUILT_IN


def test_total_is_the_weighted_sum_and_terms_are_not_weighted(shapes, make_outputs):
    spec = {"cosine": 2.0, "mse": {"weight": 0.5, "normalize": False}, "mse:unit": None}
    objectives = build_objectives(spec, shapes)
    student = make_outputs(2, cell=torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
    teacher = make_outputs(2, cell=torch.tensor([[4.0, 3.0], [0.0, 1.0]]))
    total, terms = objectives(student, teacher, {})
    assert {key: round(term.item(), 5) for key, term in terms.items()} == {"cosine": 0.52, "mse": 1.0, "mse:unit": 1.04}
    assert total.item() == pytest.approx(2 * 0.52 + 0.5 * 1.0 + 1.04)


def test_step_moves_every_schedule_and_weights(shapes, make_outputs):
    spec = {
        "cosine": {"weight": {"start": 1.0, "end": 0.0}},
        "relational": {"tau": {"start": 4.0, "end": 0.5, "stages": 5}, "teacher_tau": 2},
    }
    objectives = build_objectives(spec, shapes)
    objectives.step(0.5)
    expected = {"weight/cosine": 0.5, "weight/relational": 1.0, "tau/relational": 2.25, "teacher_tau/relational": 2.0}
    assert objectives.scheduled_values() == expected
    assert objectives.objectives["relational"].tau.value.item() == 2.25
    x = make_outputs(1, cell=torch.tensor([[1.0, 0.0]]))
    y = make_outputs(1, cell=torch.tensor([[0.0, 1.0]]))
    assert objectives(x, y, {})[0].item() == pytest.approx(0.5)


def test_needs_are_united(shapes):
    spec = {"cosine": 1, "expression": {"heads": "mvc"}, "classification": {"column": "drug", "num_classes": 3}}
    objectives = build_objectives(spec, shapes)
    assert objectives.needs == {"cell", "mvc", "masks", "labels"}
    assert objectives.teacher_needs == {"cell", "mvc"}


def test_state_holds_maps_and_means_but_no_schedule(make_shapes):
    spec = {"cosine": {"center": True}, "gene": 1, "relational": {"tau": {"start": 1, "end": 2}}}
    state = build_objectives(spec, make_shapes(teacher_width=3)).state_dict()
    assert sorted(state) == [
        "objectives.cosine.center.count",
        "objectives.cosine.center.mean",
        "objectives.gene.map.bias",
        "objectives.gene.map.weight",
    ]


def test_one_objective_twice_by_type(shapes):
    objectives = build_objectives({"a": {"type": "cosine"}, "cosine": 1, "cosine:b": 2}, shapes)
    assert all(isinstance(o, Cosine) for o in objectives.objectives.values())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "at least one objective"),
        (["cosine"], "at least one objective"),
        ({"cosin": 1}, "model.objectives.cosin: unknown objective 'cosin'; did you mean 'cosine'"),
        ({"mse": {"normalise": True}}, "model.objectives.mse: unknown setting of mse 'normalise'; did you mean 'norm"),
        ({"cosine": -1}, "weight must be at least 0, found -1"),
        ({"cosine": {"weight": {"start": 1, "end": -1}}}, "found 1 to -1"),
        ({"cosine": 0, "mse": {"weight": 0.0}}, r"all weights .* zero \(cosine, mse\)"),
        ({"cosine": "heavy"}, "found 'heavy'"),
        ({"relational": {"tau": 0}}, "model.objectives.relational: tau must be above 0, found 0"),
        ({"relational": {"tau": {"start": 1, "end": 2, "stages": 0}}}, "stages must be"),
        ({"expression": {"alpha": 1.5}}, "alpha must be at least 0 and at most 1, found 1.5"),
        ({"expression": {"heads": ["mvc", "mcv"]}}, "heads must be of expression, mvc"),
        ({"hidden": {}}, "hidden could not be built .*layer_map"),
        ({"hidden": {"layer_map": [[3, 1]]}}, "the student has no layer 3; it has 2 blocks"),
        ({"hidden": {"layer_map": [[1, 5]]}}, "the teacher has no layer 5; it has 4 blocks"),
        ({"hidden": {"layer_map": [[1, -1]]}}, "no layer -1"),
        ({"hidden": {"layer_map": [1, 2]}}, "must be pairs"),
        ({"hidden": {"layer_map": []}}, "must be pairs"),
        ({"hidden": {"layer_map": [[1, 1]], "grain": "medium"}}, "grain must be one of fine, coarse"),
        ({"gene": {"distance": "l1"}}, "distance must be one of mse, cosine"),
        ({"kl": {"num_classes": 3, "column": "scores", "reduction": "none"}}, "reduction must be one of"),
        ({"kl": {"num_classes": 1, "column": "scores"}}, "at least 2"),
        ({"kl": {"num_classes": 3}}, "kl: give either probe .* column None"),
        ({"kl": {"column": "scores"}}, "kl: give either probe .* num_classes None"),
        ({"classification": {"num_classes": 3}}, "column"),
        ({"classification": {"column": "drug"}}, "either labels"),
        ({"classification": {"column": "drug", "labels": ["a", "a"]}}, "different names"),
        ({"classification": {"column": "drug", "labels": ["a"]}}, "at least 2 classes"),
        ({"cosine": {"center": True, "center_momentum": 2}}, "center_momentum"),
        ({"my.key": {"type": "cosine"}}, "without dots"),
        ({"keys": {"type": "cosine"}}, "cannot name an objective"),
        ({"mine": {"type": "no_such_module:Thing"}}, "cannot import the objective 'no_such_module:Thing'"),
        ({"mine": {"type": "torch:nope"}}, "cannot import"),
        ({"mine": {"type": "torch.nn:Linear"}}, "expected a subclass"),
    ],
)
def test_bad_specifications_are_refused_by_name(spec, message, shapes):
    with pytest.raises(ValueError, match=message):
        build_objectives(spec, shapes)


@pytest.mark.parametrize("spec", [{"cosine": 1}, {"hidden": {"layer_map": [[1, 1]]}}, {"gene": 1}, {"expression": 1}])
def test_a_missing_teacher_is_refused(spec, make_shapes):
    alone = make_shapes(teacher_width=None, teacher_embedding=None, teacher_layers=None)
    with pytest.raises(ValueError, match="this run has none: set model.teacher"):
        build_objectives(spec, alone)


@pytest.mark.parametrize("name", ["cosine", "mse"])
def test_different_embedding_widths_get_a_learned_map(name, make_shapes):
    state = build_objectives({name: 1}, make_shapes(teacher_embedding=5)).state_dict()
    assert state[f"objectives.{name}.map.weight"].shape == (5, 2)
    assert not build_objectives({name: 1}, make_shapes()).state_dict()


def test_a_term_must_be_a_scalar(shapes, make_outputs, clean_registry):
    class Vector(Constant):
        name = "vector"

        def forward(self, student, teacher, batch):
            return student.cell

    registry.register_objective(Vector)
    with pytest.raises(ValueError, match=r"'vector' must return a scalar, found the shape \(1, 2\)"):
        build_objectives({"vector": 1}, shapes)(make_outputs(1, cell=torch.ones(1, 2)), None, {})


def test_own_objective_by_decorator(shapes, make_outputs, clean_registry):
    assert registry.register_objective(Constant) is Constant
    total, _ = build_objectives({"constant": {"level": 3.0, "weight": 2}}, shapes)(
        make_outputs(1, cell=torch.ones(1, 2)), None, {}
    )
    assert total.item() == 6.0


def test_own_objective_by_path(shapes, monkeypatch):
    module = types.ModuleType("someones_objectives")
    module.Constant = Constant
    monkeypatch.setitem(sys.modules, "someones_objectives", module)
    objectives = build_objectives({"mine": {"type": "someones_objectives:Constant"}}, shapes)
    assert isinstance(objectives.objectives["mine"], Constant)


def test_own_objective_by_entry_point(shapes, monkeypatch):
    point = types.SimpleNamespace(name="constant", load=lambda: Constant)
    groups = {"tahoe_distill_objectives": [point]}
    monkeypatch.setattr("tahoe_distill.naming.entry_points", lambda group: groups.get(group, []))
    assert "constant" in objective_names()
    assert find_objective("constant") is Constant
    assert isinstance(build_objectives({"constant": 1}, shapes).objectives["constant"], Constant)


def test_a_name_is_taken_once(clean_registry):
    with pytest.raises(ValueError, match="'cosine' .* is taken by"):
        registry.register_objective(type("Other", (Constant,), {"name": "cosine"}))
    with pytest.raises(ValueError, match="set the class attribute name"):
        registry.register_objective(type("Nameless", (Objective,), {}))
    with pytest.raises(ValueError, match=r"needs \['sheets'\]"):
        registry.register_objective(type("Greedy", (Constant,), {"name": "greedy", "needs": frozenset({"sheets"})}))
