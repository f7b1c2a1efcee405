"""Two processes do what one does: a teacher shared out, and updates from gradients that are averaged."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from tahoe_distill.models import Tx1Config
from tahoe_distill.training.sharding import average_gradients, replicated_mesh, shard_frozen
from tests.helpers.tiny_student import randomised
from tests.helpers.two_processes import in_two_processes

LENGTHS = [9, 6, 2, 5]


def model_and_batch():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "value_dropout": 0.0}
    heads = {"projection_dim": 6, "expression_head_layers": 1, "mvc_head": True}
    model = randomised(Tx1Config(vocab_size=30, **heads, **sizes), 0.3)
    genes = torch.randint(2, 30, (4, 9)).masked_fill(torch.arange(9) >= torch.tensor(LENGTHS)[:, None], 0)
    return model, {"gene_ids": genes, "expression_bins": torch.randint(1, 51, (4, 9)).float()}


def say(model, batch):
    """What a frozen teacher is asked for, packed and padded."""
    with torch.no_grad():
        whole = model(**batch, output_hidden_states=True, output_expression=True, output_mvc=True)
        cells = [model(**batch, cell_only=True, packed=packed).pooler_output for packed in (None, LENGTHS)]
    return [whole.pooler_output, whole.expression, whole.mvc, *whole.hidden_states, *cells]


def updated(model, batch):
    """Weights after two steps of plain descent with clipping, which both go by the size of the gradients."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        model(**batch, cell_only=True).pooler_output.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.7)
        optimizer.step()
    return {name: getattr(p, "full_tensor", lambda p=p: p)().detach() for name, p in model.named_parameters()}


def one_of_two(rank):
    teacher, batch = model_and_batch()
    size = sum(p.numel() for p in teacher.parameters())
    shard_frozen(teacher.requires_grad_(False), torch.device("cpu"))
    kept = sum(p.to_local().numel() for p in teacher.parameters())
    said = say(teacher, batch)
    student, _ = model_and_batch()
    mesh = dist.init_device_mesh("cpu", (2,))
    for block in student.transformer_encoder.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(student, mesh=mesh)
    average_gradients(student)
    half = {name: tensor[2 * rank : 2 * rank + 2] for name, tensor in batch.items()}
    mesh = replicated_mesh("cpu", 2)
    with pytest.raises(ValueError, match="is 3, and 2 processes cannot be divided"):
        replicated_mesh("cpu", 3)
    shape = (tuple(mesh.shape), mesh.mesh_dim_names)
    return {"said": said, "share": kept / size, "weights": updated(student, half), "mesh": shape}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return in_two_processes(one_of_two, tmp_path_factory.mktemp("two"))


def test_a_teacher_that_is_shared_out_says_the_same(found):
    expected = say(*model_and_batch())
    for process in found:
        assert 0.45 < process["share"] < 0.55
        for said, wanted in zip(process["said"], expected, strict=True):
            torch.testing.assert_close(said, wanted, rtol=1e-5, atol=1e-5)


def test_two_processes_make_the_updates_of_one(found):
    model, batch = model_and_batch()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = updated(model, batch)
    assert any((expected[name] - weight).abs().max() > 1e-3 for name, weight in before.items())
    for process in found:
        for name, weight in expected.items():
            torch.testing.assert_close(process["weights"][name], weight, rtol=1e-4, atol=1e-6, msg=name)


def test_replicas_have_the_names_that_composer_looks_for(found):
    from composer.utils import ParallelismType

    names = (ParallelismType.DATA_PARALLEL_REPLICATE.value, ParallelismType.DATA_PARALLEL_SHARD.value)
    assert all(process["mesh"] == ((2, 1), names) for process in found)


@pytest.mark.parametrize("settings", [{"packing": True, "device_train_batch_tokens": 80}])
def test_a_run_of_two_goes_on_as_one_and_as_four(runs, run_config, tmp_path, settings):
    """With a teacher shared out, and batches divided by tokens, which the processes agree on."""
    from tests.helpers.whole_runs import weights

    run_config |= {"eval_loader": None, "eval_interval": 0, "fsdp_config": {"state_dict_type": "full"}}
    run_config["model"]["student"]["value_dropout"] = 0.0
    run_config["model"]["teacher"] = {"source": run_config["model"]["teacher"], "shard": True}
    run_config["train_loader"] |= settings
    run_config["callbacks"]["hf_student"] |= {"verify": False, "overwrite": True}

    def run(folder, batches, processes):
        config = {**run_config, "max_duration": "4ba", "save_folder": str(folder), "save_interval": "2ba"}
        config |= {"autoresume": True, "save_overwrite": True, "device_train_microbatch_size": 8 // processes}
        stop = [f"max_duration={batches}ba"] if batches != 4 else []
        code, output = runs.distill(tmp_path, config, *stop, processes=processes)
        assert code == 0, output
        return weights(tmp_path / "hf")

    whole = run(tmp_path / "whole", 4, 1)
    run(tmp_path / "saved", 2, 2)
    for processes in (1, 4):
        folder = tmp_path / f"saved{processes}"
        folder.mkdir()
        for path in (tmp_path / "saved").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        for name, weight in run(folder, 4, processes).items():
            torch.testing.assert_close(weight, whole[name], rtol=1e-3, atol=1e-5, msg=f"{processes}: {name}")
