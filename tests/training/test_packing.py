"""A step of packed batches is that of padded ones; it never waits for the device, nor is it compiled for ever."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from tahoe_distill.data.batch import count_cells
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers.in_process import train

STUDENT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "value_dropout": 0.0}
EVERYTHING = {
    "cosine": {"center": True},
    "mse": 1.0,
    "relational": 1.0,
    "gene": 1.0,
    "hidden": {"layer_map": [[1, 2]]},
    "expression": 1.0,
}
# What makes the host wait for a GPU: values that are read, and results whose size depends on values.
WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")


class Waits(TorchDispatchMode):
    """Names of the operations for which the host would wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        if name in WAITING or masks:
            self.found.append(name)
        return function(*arguments, **(options or {}))


@pytest.fixture
def make_model(small_teacher):
    def make(objectives=EVERYTHING, **student):
        torch.manual_seed(0)
        return TahoeDistillModel({**STUDENT, **student}, str(small_teacher), objectives).train()

    return make


@pytest.fixture
def make_batch(small_vocab):
    """Batches of cells of the given numbers of genes."""

    def make(*sizes, **options):
        rng = torch.Generator().manual_seed(sum(sizes))
        rows = [torch.cat([torch.tensor([1]), torch.randperm(40, generator=rng)[:size] + 3]) for size in sizes]
        samples = [{"genes": row, "expressions": torch.arange(len(row)).float() - 2} for row in rows]
        return Tx1Collator(small_vocab, 32, **options)(samples)

    return make


def step(model, batch):
    model.zero_grad()
    losses = model.loss(model(batch), batch)
    losses["total"].backward()
    return losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("student_max_length", [None, 14])
def test_packed_is_padded(make_model, make_batch, student_max_length):
    sizes, options = (30, 4, 17, 9), {"student_max_length": student_max_length}
    (expected, gradients), (found, packed) = (
        step(make_model(), make_batch(*sizes, **options, packing=packing)) for packing in (False, True)
    )
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=1e-6, msg=name)
    assert packed.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("objectives", [{"cosine": {"center": True}, "mse": 1.0, "relational": 1.0}, EVERYTHING])
def test_no_step_waits_for_the_device(make_model, make_batch, packing, objectives):
    model, batch = make_model(objectives), make_batch(30, 4, 17, 9, packing=packing)
    # The first step compares the checkpoint's teacher.
    step(model, batch)
    with Waits() as waits:
        step(model, batch)
    assert waits.found == []
    del batch["lengths"]
    batch.pop("packed", None)
    with Waits() as waits:
        step(model, {name: value for name, value in batch.items() if name != "lengths"})
    # The counter counts: without lengths, models that see no masks look at their padding.
    assert waits.found or model.student_sees_masks


@pytest.mark.parametrize("packing", [False, True])
def test_lengths_are_not_compiled_for_ever(make_model, make_batch, packing):
    model, counter = make_model({"cosine": 1.0, "mse": 1.0}), CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(model.forward, backend=counter)
    counts = []
    for number in range(6):
        compiled(make_batch(30 - number, 4 + number, 17, 9 - number, packing=packing))
        counts.append(counter.frame_count)
    torch._dynamo.reset()
    # A length that changes becomes a variable; from then on nothing is compiled.
    assert counts[0] > 0 and counts[-1] == counts[3]


def test_a_run_by_tokens_is_the_run_by_cells(run_config, tmp_path):
    run_config |= {"max_duration": "3ba", "loggers": {"inmemory": {}}, "eval_loader": None, "eval_interval": 0}
    del run_config["callbacks"]["hf_student"]
    run_config["model"]["student"]["value_dropout"] = 0.0

    def losses(**settings):
        loader = {**run_config["train_loader"], **settings}
        trainer = train({**run_config, "train_loader": loader}, tmp_path / "run.yaml")
        assert trainer.state.timestamp.sample.value == 24
        return [value for _, value in trainer.logger.destinations[0].data["loss/train/total"]]

    by_tokens = losses(packing=True, device_train_batch_tokens=80)
    torch.testing.assert_close(torch.tensor(by_tokens), torch.tensor(losses()), rtol=1e-5, atol=1e-6)


def test_settings_that_contradict_each_other(run_config):
    loader = {key: value for key, value in run_config["train_loader"].items() if key != "name"}
    for wrong, message in (
        ({"device_train_batch_tokens": 64}, "set packing: true beside it"),
        ({"device_train_batch_tokens": 16, "packing": True}, r"a cell of max_length \(32\), found 16"),
    ):
        with pytest.raises(ValueError, match=message):
            build_tahoe_mds_dataloader(**loader, device_batch_size=8, **wrong)


def test_lists_count_as_entries(make_batch):
    assert count_cells(make_batch(3, 5, packing=True)) == 2
