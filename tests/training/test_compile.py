"""`compile_config` from YAML: the same run as without it, the teacher included."""

import pytest
import torch

from tahoe_distill.models import Tx1Model
from tests.helpers.in_process import train

OBJECTIVES = {"cosine": {"center": True}, "relational": {"tau": {"start": 4.0, "end": 0.5}}}


@pytest.fixture
def run(run_config, tmp_path):
    """Two batches; gives the losses and the weights."""
    run_config["model"]["objectives"] = OBJECTIVES
    # One length for every batch: another one would be compiled anew.
    run_config["train_loader"]["collator"]["max_length"] = 12
    run_config |= {"max_duration": "2ba", "loggers": {"inmemory": {}}, "eval_loader": None, "eval_interval": 0}

    def with_settings(name, **settings):
        run_config["callbacks"]["hf_student"] = {"folder": str(tmp_path / name), "verify": False}
        trainer = train({**run_config, **settings}, tmp_path / "run.yaml")
        logged = trainer.logger.destinations[0].data
        losses = {key: [value for _, value in values] for key, values in logged.items() if key.startswith("loss/")}
        return losses, Tx1Model.from_pretrained(tmp_path / name).state_dict()

    return with_settings


@pytest.fixture
def graphs():
    """Shapes of the weights in each graph that the backend `seen_aot_eager` got; it is `aot_eager` otherwise."""
    seen = []

    def backend(graph, inputs):
        seen.append({tuple(value.shape) for value in inputs if isinstance(value, torch.nn.Parameter)})
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    torch._dynamo.register_backend(backend, name="seen_aot_eager")
    yield seen
    torch._dynamo.reset()


def test_a_compiled_run_is_the_run(run, graphs):
    losses, weights = run("eager")
    assert len(losses["loss/train/relational"]) == 2
    assert not graphs
    compiled_losses, compiled_weights = run("compiled", compile_config={"backend": "seen_aot_eager"})
    assert compiled_losses == losses
    assert all(torch.equal(tensor, compiled_weights[name]) for name, tensor in weights.items())
    student, teacher = (3 * 8, 8), (3 * 16, 16)
    assert any(student in shapes for shapes in graphs)
    assert any(teacher in shapes for shapes in graphs)
