"""A real fit that ends on the hub: the callback exports, measures and publishes."""

import json

import torch
from composer import Evaluator
from torch.utils.data import DataLoader

from tahoe_distill.training.callbacks.hf_student import HFStudentCallback
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers.fits import fit


def make_batch():
    genes, bins = torch.randint(3, 43, (4, 9)), torch.randint(1, 51, (4, 9)).float()
    genes[:, 0], bins[:, 0] = 1, -2.0
    unmasked = torch.zeros(4, 9, dtype=torch.bool)
    return {"gene": genes, "expr": bins, "expr_target": bins, "expr_raw": bins, "gen_mask": unmasked}


def test_a_fit_publishes_its_student(hub, tmp_path, small_teacher):
    student = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = TahoeDistillModel(student=student, teacher=str(small_teacher))
    run = {"run_name": "fit", "model": {"teacher": "tx1-nano", "student": student}, "eval_loader": {"name": "made up"}}
    callback = HFStudentCallback(
        run, tmp_path / "hf", verify=False, push_to_hub={"repo_id": "lab/fit", "private": True}
    )
    batches = [make_batch()] * 2
    loader = DataLoader(batches, batch_size=None)
    metrics = list(model.get_metrics(is_train=False))
    evaluator = Evaluator(label="eval", dataloader=loader, metric_names=metrics, device_eval_microbatch_size=4)
    fit(model, batches, callback, eval_dataloader=evaluator, eval_interval="2ba")
    files = hub.files("lab/fit")
    assert hub.repositories["lab/fit"].private
    assert set(json.loads(files["metrics.json"])) >= {"eval/loss", "eval/cosine"}
    assert files["model.safetensors"] == (tmp_path / "hf" / "model.safetensors").read_bytes()
