"""Weights by gradient norm: shares by hand, what counts as an output, and the way through a checkpoint."""

import pytest
import torch

from tahoe_distill.objectives import Objective, build_objectives


class Slope(Objective):
    """A term whose gradient at the sum of an output is known: its slope."""

    name = "slope"
    needs_teacher = False

    def __init__(self, *, shapes, slope=1.0, field="cell"):
        super().__init__(shapes=shapes)
        self.slope, self.needs = slope, frozenset({field})
        self.field = field

    def forward(self, student, teacher, batch):
        value = getattr(student, self.field)
        return self.slope * (value[-1] if self.field == "hidden" else value).sum()


OWN = f"{__name__}:Slope"


@pytest.fixture
def build(shapes):
    """A function that builds objectives of slopes, balanced, from weight and settings of each."""

    def make(**entries):
        spec = {key: {"type": OWN, **settings} for key, settings in entries.items()}
        return build_objectives({"balance": "gradient_norm", **spec}, shapes)

    return make


def outputs(make_outputs, cells=1):
    """A cell embedding that is made of the last hidden states, as a student's is."""
    hidden = tuple(torch.ones(cells, 1, 1, requires_grad=True) for _ in range(2))
    return make_outputs(cells, 1, cell=10 * hidden[-1][:, 0], hidden=hidden)


def balanced(objectives):
    return {name[9:]: value for name, value in objectives.scheduled_values().items() if name.startswith("balanced/")}


def test_weights_become_shares_of_the_gradient(build, make_outputs):
    objectives = build(steep={"slope": 2.0, "weight": 1.0}, flat={"slope": 0.5, "weight": 3.0})
    student = outputs(make_outputs)
    total, terms = objectives(student, None, {})
    # All gradients together are 1 * 2 + 3 * 0.5 = 3.5, of which one has a quarter: 0.25 * 3.5 / 2, 0.75 * 3.5 / 0.5.
    assert balanced(objectives) == pytest.approx({"steep": 0.4375, "flat": 5.25})
    assert {name: term.item() for name, term in terms.items()} == {"steep": 20.0, "flat": 5.0}
    assert total.item() == pytest.approx(0.4375 * 20 + 5.25 * 5)
    total.backward()
    # 3.5 at the cell embedding, and so ten times that at the hidden state behind it.
    assert student.hidden[-1].grad.item() == pytest.approx(35.0)


def test_norms_are_a_running_mean_and_an_empty_batch_says_nothing(build, make_outputs):
    objectives = build(one={"slope": 2.0}, other={"slope": 1.0})
    objectives(outputs(make_outputs), None, {})
    for slope in (4.0, 0.0):
        objectives.objectives["one"].slope = slope
        objectives(outputs(make_outputs), None, {})
    assert objectives.balance.norms.tolist() == pytest.approx([0.9 * 2 + 0.1 * 4, 1.0])


def test_an_output_is_not_charged_for_what_it_is_made_of(build, make_outputs):
    objectives = build(cell={"slope": 1.0}, hidden={"slope": 1.0, "field": "hidden"})
    objectives(outputs(make_outputs, cells=4), None, {})
    # Four cells, a gradient of one each; that of the cell embedding at the hidden states would be ten.
    assert objectives.balance.norms.tolist() == [2.0, 2.0]


def test_schedules_and_silent_objectives(build, make_outputs):
    objectives = build(
        fading={"weight": {"start": 1.0, "end": 0.0}}, steady={"slope": 4.0}, silent={"slope": 0.0, "weight": 7.0}
    )
    objectives(outputs(make_outputs), None, {})
    # 1 * 1 + 1 * 4 is shared by two; the third has nothing to share.
    assert balanced(objectives) == pytest.approx({"fading": 2.5, "steady": 0.625, "silent": 7.0})
    objectives.step(1.0)
    assert balanced(objectives)["fading"] == 0.0


def test_evaluation_uses_the_weights_of_training_and_leaves_them(build, make_outputs):
    objectives = build(one={"slope": 2.0}, other={"slope": 1.0})
    assert balanced(objectives.eval()) == {"one": 1.0, "other": 1.0}
    assert objectives(outputs(make_outputs), None, {})[0].item() == 30.0
    objectives.train()(outputs(make_outputs), None, {})
    before = balanced(objectives)
    objectives.objectives["one"].slope = 100.0
    with torch.no_grad():
        objectives.eval()(outputs(make_outputs), None, {})
    assert balanced(objectives) == before != {"one": 1.0, "other": 1.0}


def test_a_checkpoint_carries_the_norms(build, make_outputs):
    entries = {"one": {"slope": 2.0}, "other": {"slope": 1.0}}
    before, after = build(**entries), build(**entries)
    before(outputs(make_outputs), None, {})
    after.load_state_dict(before.state_dict())
    assert balanced(after) == balanced(before) == pytest.approx({"one": 0.75, "other": 1.5})


def test_off_by_default_and_named_where_it_is_wrong(shapes):
    assert build_objectives({"cosine": 1.0}, shapes).balance is None
    assert build_objectives({"cosine": 1.0, "balance": "none"}, shapes).balance is None
    with pytest.raises(ValueError, match="model.objectives.balance must be one of none, gradient_norm; found 'grad'"):
        build_objectives({"cosine": 1.0, "balance": "grad"}, shapes)
    with pytest.raises(ValueError, match="must name at least one objective"):
        build_objectives({"balance": "gradient_norm"}, shapes)
