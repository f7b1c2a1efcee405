"""Objectives in two processes: one teacher's mean for both, and learned maps sharded by FSDP2."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from tahoe_distill.objectives import Outputs, Shapes, build_objectives
from tahoe_distill.objectives.centering import TeacherCenter
from tests.helpers.two_processes import in_two_processes

SHAPES = Shapes(
    student_width=3, student_embedding=2, student_layers=1, teacher_width=5, teacher_embedding=4, teacher_layers=2
)
SPEC = {
    "mse": {"normalize": False},
    "gene": 1.0,
    "hidden": {"layer_map": [[0, 0], [1, 2]], "weight": 0.5},
    "classification": {"column": "drug", "num_classes": 3},
}
CELLS = torch.tensor([[4.0, 3.0], [0.0, 1.0], [5.0, 5.0]])
PARTS = (slice(0, 2), slice(2, 3))


def objectives():
    torch.manual_seed(0)
    return build_objectives(SPEC, SHAPES)


def views(seed):
    """Two cells' outputs of student and teacher, and their labels."""
    generator = torch.Generator().manual_seed(seed)

    def outputs(width, layers, embedding):
        genes = torch.randn(2, 3, width, generator=generator)
        hidden = tuple(torch.randn(2, 3, width, generator=generator) for _ in range(layers + 1))
        cell = torch.randn(2, embedding, generator=generator)
        gene_ids = torch.arange(3).expand(2, 3)
        return Outputs(cell=cell, genes=genes, hidden=hidden, gene_ids=gene_ids, seen=torch.ones(2, 3).bool())

    return outputs(3, 1, 2), outputs(5, 2, 4), {"drug": torch.tensor([seed, 2])}


def gradients(objectives, rank):
    total, _ = objectives(*views(rank))
    total.backward()
    full = {name: getattr(p.grad, "full_tensor", lambda p=p: p.grad)() for name, p in objectives.named_parameters()}
    return {name: gradient.clone() for name, gradient in full.items()}


def one_of_two(rank):
    center = TeacherCenter(2)
    center(CELLS[PARTS[rank]], CELLS[PARTS[rank]])
    sharded = objectives()
    mesh = dist.init_device_mesh("cpu", (2,))
    fully_shard(sharded, mesh=mesh)
    return {"center": center.state_dict(), "gradients": gradients(sharded, rank)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return in_two_processes(one_of_two, tmp_path_factory.mktemp("two"))


def test_both_hold_the_mean_of_all_cells(found):
    for rank in range(2):
        torch.testing.assert_close(found[rank]["center"]["mean"], torch.full((2,), 3.0))
        assert found[rank]["center"]["count"] == 3


def unit(gradients):
    """All gradients as one vector of length 1, as FSDP2 averages over processes on NCCL but adds up on gloo (2.7)."""
    flat = torch.cat([gradients[name].flatten() for name in sorted(gradients)])
    return flat / flat.norm()


def test_sharded_maps_get_the_gradient_of_all_cells(found):
    alone = [gradients(objectives(), rank) for rank in range(2)]
    expected = {name: alone[0][name] + alone[1][name] for name in alone[0]}
    for rank in range(2):
        torch.testing.assert_close(unit(found[rank]["gradients"]), unit(expected))
