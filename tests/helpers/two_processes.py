"""The same work in two processes of one group, on CPUs."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def in_two_processes(work, folder):
    """What ``work(rank)``, a function of a module, returns in each process; ``folder`` is an empty one."""
    mp.spawn(_one_of_two, args=(work, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _one_of_two(rank, work, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(work(rank), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
