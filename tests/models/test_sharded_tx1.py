"""`cell_only` of a model whose blocks FSDP2 has sharded over two processes."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.fsdp import fully_shard

from tahoe_distill import Tx1Config
from tests.helpers.tiny_student import randomised


def model_and_batch():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "value_dropout": 0.0}
    model = randomised(Tx1Config(vocab_size=30, projection_dim=6, masked_attention=True, **sizes), 0.3)
    genes = torch.randint(2, 30, (3, 9))
    masked = torch.zeros(3, 9, dtype=torch.bool)
    masked[:, 4:6] = True
    genes[:, 0], genes[2, 6:] = 1, 0
    return model, {"gene_ids": genes, "expression_bins": torch.randint(1, 51, (3, 9)).float(), "masked": masked}


def step(model, batch, cell_only):
    """Cell embeddings, and the gradient of their squares."""
    cell = model(**batch, cell_only=cell_only).pooler_output
    cell.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    full = {name: getattr(grad, "full_tensor", lambda grad=grad: grad)() for name, grad in gradients.items()}
    return cell.detach(), full


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model, batch = model_and_batch()
    mesh = dist.init_device_mesh("cpu", (2,))
    for block in model.transformer_encoder.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    torch.save(step(model, batch, cell_only=True), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_sharded_blocks_give_the_cells_and_gradients_of_whole_ones(found):
    cell, gradients = step(*model_and_batch(), cell_only=False)
    for sharded_cell, sharded in found:
        torch.testing.assert_close(sharded_cell, cell, rtol=1e-5, atol=1e-5)
        assert sharded.keys() == gradients.keys()
        # Both processes saw the same cells; FSDP2 averages over processes on NCCL but adds up on gloo (torch 2.7).
        times = sharded["projection.bias"].norm() / gradients["projection.bias"].norm()
        assert times.item() == pytest.approx(1, rel=1e-4) or times.item() == pytest.approx(2, rel=1e-4)
        for name, gradient in gradients.items():
            torch.testing.assert_close(sharded[name] / times, gradient, rtol=1e-3, atol=1e-4, msg=name)
