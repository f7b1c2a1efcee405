"""What several processes share out: a teacher too large for one GPU, replicas of shards, and gradients that average."""

import logging
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from tahoe_distill.models import Tx1Block, Tx1GeneEncoder, Tx1Model

log = logging.getLogger(__name__)

# Composer's names of the two kinds of copies, by which it finds who writes a checkpoint.
REPLICATE, SHARD = "data_parallel_replicate", "data_parallel_shard"


def shard_frozen(model: Tx1Model, device: torch.device, *, local: int | None = None) -> None:
    """Share a frozen model out over the processes of each node, block by block, in place; they must call it together.

    A block's weights are gathered for its turn and let go of after it.

    Args:
        model: The model, whole in each process.
        device: Where this process computes.
        local: Processes of a node; all of them by default.
    """
    world = dist.get_world_size()
    local = local or world
    if world % local:
        raise ValueError(f"{world} processes cannot be divided into nodes of {local}: start equally many on each")
    shape, names = ((world // local, local), (REPLICATE, SHARD)) if local < world else ((world,), (SHARD,))
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=names)
    # A module's own weights are moved to the device when its turn comes, so that never all of them are there at once.
    # The gene table is a part of its own, since FSDP2 keeps what is left to the whole gathered after its first call.
    for part in model.modules():
        if isinstance(part, (Tx1Block, Tx1GeneEncoder)):
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def replicated_mesh(device_type: str, replicas: int) -> DeviceMesh:
    """Processes in ``replicas`` groups, within which a model is sharded and between which it is replicated (HSDP).

    Args:
        device_type: ``cuda`` or ``cpu``.
        replicas: How many groups.

    Raises:
        ValueError: When the processes cannot be divided so.
    """
    world = dist.get_world_size()
    if replicas < 1 or world % replicas:
        raise ValueError(
            f"fsdp_config.data_parallel_replicate_degree is {replicas}, and {world} processes cannot be divided into "
            f"so many groups; expected a divisor of {world}"
        )
    return init_device_mesh(device_type, (replicas, world // replicas), mesh_dim_names=(REPLICATE, SHARD))


def use_replicas(state: Any, replicas: int | None) -> None:
    """Have Composer shard the model in so many replicas; under FSDP2 it leaves the setting out, with a warning.

    Args:
        state: Composer's, before the model is sharded.
        replicas: ``fsdp_config.data_parallel_replicate_degree``; nothing is done without it, or where nothing is
            sharded.
    """
    if replicas in (None, 1) or getattr(state, "_fsdp2_config", None) is None or dist.get_world_size() == 1:
        return
    mesh = replicated_mesh("cuda" if state.device.name == "gpu" else state.device.name, int(replicas))
    state.device_mesh = state.fsdp_config.device_mesh = mesh


def average_gradients(model: nn.Module) -> None:
    """Have the gradients of a model that FSDP2 sharded be the mean over processes, as they are on GPUs.

    Gloo's reduce-scatter adds up where it is told to average (torch 2.7), so that on CPUs the gradients of N processes
    would be N times those of one: clipping, and optimizers other than Adam's kin, would do something else there.

    Args:
        model: The model; those that nobody sharded are left alone.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not parts or next(model.parameters()).device.type != "cpu" or not _adds_up():
        return
    world = dist.get_world_size()
    log.debug("gradients are divided by %d processes after they are added up", world)

    def divide(gradient: Tensor) -> None:
        gradient.div_(world)

    for part in parts:
        part.set_all_reduce_hook(divide)


def _adds_up() -> bool:
    """Whether the mean of ones over processes is not one."""
    found = torch.empty(1)
    dist.reduce_scatter_tensor(found, torch.ones(dist.get_world_size()), op=dist.ReduceOp.AVG)
    return bool(found != 1)
