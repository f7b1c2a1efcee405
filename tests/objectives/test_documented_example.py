"""The example of docs/objectives.md runs as written."""

import math
import re

import pytest
import torch
import yaml

from tahoe_distill.objectives import build_objectives, objective_names
from tests.helpers import REPOSITORY

PAGE = REPOSITORY / "docs/objectives.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_users_own_objective(tmp_path, monkeypatch, shapes, make_answers):
    (source,) = blocks("python")
    (tmp_path / "my_objectives.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = yaml.safe_load(next(block for block in blocks("yaml") if "my_objectives:Length" in block))
    objectives = build_objectives(spec, shapes)
    objectives.step(1.0)

    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    student, teacher = make_answers(1, cell=x), make_answers(1, cell=torch.tensor([[0.6, 0.8]]))
    total, terms = objectives(student, teacher, {})
    total.backward()
    assert terms["length"].item() == pytest.approx((math.log(5.1) - math.log(1.1)) ** 2, rel=1e-5)
    assert x.grad.abs().sum() > 0
    assert objectives.scheduled_values()["offset/length"] == 0.1


def test_the_first_block_builds(make_shapes):
    spec = yaml.safe_load(blocks("yaml")[0])["model"]["objectives"]
    objectives = build_objectives(spec, make_shapes(student_layers=3, teacher_layers=12))
    assert set(objectives.objectives) == set(spec)


def test_every_objective_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in objective_names())
