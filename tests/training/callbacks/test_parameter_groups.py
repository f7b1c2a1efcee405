"""Which parameters the optimizer gets, and which of them decay."""

import subprocess

import pytest
import torch
from composer.optim import DecoupledAdamW
from torch import nn

from tahoe_distill.models import Tx1Model
from tahoe_distill.training.callbacks.parameter_groups import group_parameters
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers import HELPERS
from tests.helpers.fits import fit
from tests.helpers.whole_runs import COMPOSER, environment, write_config

OBJECTIVES = {"cosine": 1.0, "gene": 1.0, "hidden": {"layer_map": [[1, 2]]}}


@pytest.fixture
def model(small_teacher, student_spec):
    return TahoeDistillModel({**student_spec, "gene_rank": 4}, str(small_teacher), OBJECTIVES)


def names(model, group):
    ids = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}


def test_only_matrices_outside_the_gene_table_decay(model):
    optimizer = DecoupledAdamW(model.parameters(), lr=1e-3, weight_decay=0.5)
    group_parameters(model, optimizer)
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    assert decayed["lr"] == spared["lr"] == 1e-3
    block = "student.transformer_encoder.layers.0"
    assert names(model, decayed) >= {
        "student.projection.weight",
        "student.expression_encoder.linear1.weight",
        f"{block}.self_attn.Wqkv.weight",
        f"{block}.down_proj.weight",
    }
    assert any(name.startswith("objectives.") for name in names(model, decayed))
    assert names(model, spared) >= {
        "student.gene_encoder.embedding.weight",
        "student.gene_encoder.expand.weight",
        "student.projection.bias",
        f"{block}.norm1.weight",
        f"{block}.norm1.bias",
        f"{block}.self_attn.Wqkv.bias",
        "student.transformer_encoder.norm.weight",
    }
    assert not [name for name in names(model, decayed) if "norm" in name or name.endswith("bias")]


def test_frozen_parameters_are_in_no_group(model):
    optimizer = DecoupledAdamW(model.parameters(), lr=1e-3, weight_decay=0.5)
    assert "student.flag_encoder.weight" in names(model, optimizer.param_groups[0])
    group_parameters(model, optimizer)
    grouped = set().union(*(names(model, group) for group in optimizer.param_groups))
    assert grouped == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "student.flag_encoder.weight" not in grouped


def test_decay_leaves_the_spared_parameters_as_they_are(model):
    optimizer = DecoupledAdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    group_parameters(model, optimizer)
    spared = names(model, optimizer.param_groups[1])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for name, parameter in model.named_parameters():
        if name in spared or not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
        else:
            torch.testing.assert_close(parameter.detach(), before[name] * 0.9**3, msg=name)


def test_groups_of_the_users_own_only_lose_what_is_frozen():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[1].bias.requires_grad_(False)
    groups = [{"params": model[0].parameters(), "weight_decay": 0.3}, {"params": model[1].parameters(), "lr": 0.1}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.2)
    group_parameters(model, optimizer)
    found = [(names(model, group), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert found == [({"0.weight", "0.bias"}, 1.0, 0.3), ({"1.weight"}, 0.1, 0.2)]


def test_an_optimizer_without_weight_decay_keeps_one_group():
    model = nn.Linear(2, 3)
    optimizer = torch.optim.Rprop(model.parameters())
    group_parameters(model, optimizer)
    assert [names(model, group) for group in optimizer.param_groups] == [{"weight", "bias"}]


def test_the_callback_groups_what_a_run_optimises(model, batch):
    trainer = fit(model, [batch], optimizers=DecoupledAdamW(model.parameters(), lr=1e-3, weight_decay=1e-4))
    assert [group["weight_decay"] for group in trainer.state.optimizers[0].param_groups] == [1e-4, 0.0]


def test_groups_and_the_best_student_hold_under_fsdp2_and_resume(tmp_path, run_config):
    run_config |= {"max_duration": "4ba", "eval_interval": "1ba"}
    run_config["optimizer"] |= {"lr": 0.01, "weight_decay": 0.01}
    command = [COMPOSER, "-n", "2", HELPERS / "sharded_groups.py", write_config(tmp_path, run_config)]
    variables = {**environment(tmp_path), "FSDP_VERSION": "2"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = torch.load(tmp_path / "found.pt")
    whole = found.pop("whole")
    (decay, decayed), (none, spared) = whole["groups"]
    assert (decay, none) == (1e-2, 0.0)
    assert "student.projection.weight" in decayed and "student.gene_encoder.embedding.weight" in spared
    assert "student.flag_encoder.weight" not in decayed + spared
    for kind, resumed in found.items():
        assert resumed["groups"] == whole["groups"]
        assert all(torch.equal(tensor, resumed["weights"][name]) for name, tensor in whole["weights"].items()), kind
        assert resumed["best"] == whole["best"] and whole["best"]["batch"] > 0
        best = (Tx1Model.from_pretrained(tmp_path / name) for name in ("whole-best", f"{kind}-resumed-best"))
        assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in best))), kind
