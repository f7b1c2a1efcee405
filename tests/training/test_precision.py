"""Norms in low precision, as upstream trains with: the same student by the same names."""

import pytest
import torch
from composer.algorithms.low_precision_layernorm import low_precision_layernorm
from composer.core import Precision

from tahoe_distill.models import Tx1Model
from tests.helpers.in_process import train


@pytest.fixture
def in_bf16(monkeypatch):
    """Have Composer take the run for one in bfloat16, which it refuses on CPUs; there the norms compute as they did."""
    apply = low_precision_layernorm.apply_low_precision_layernorm

    def as_in_bf16(model, optimizers, precision):
        apply(model=model, optimizers=optimizers, precision=Precision.AMP_BF16)

    monkeypatch.setattr(low_precision_layernorm, "apply_low_precision_layernorm", as_in_bf16)


def test_low_precision_norms_train_and_export_the_same_student(run_config, tmp_path, in_bf16):
    train(run_config, tmp_path / "run.yaml")
    plain = Tx1Model.from_pretrained(tmp_path / "hf").state_dict()
    run_config["algorithms"] = {"low_precision_layernorm": {}}
    run_config["callbacks"]["hf_student"] = {"folder": str(tmp_path / "low")}
    trainer = train(run_config, tmp_path / "run.yaml")
    norms = [module for module in trainer.state.model.student.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert norms and all(isinstance(norm, low_precision_layernorm.LPLayerNorm) for norm in norms)
    found = Tx1Model.from_pretrained(tmp_path / "low").state_dict()
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())
