"""Cells of the evaluation become the export's word on how far to trust a vector."""

import numpy as np
import pytest
import torch

from tahoe_distill.embedding import calibration, confidence
from tahoe_distill.embedding.calibration import HIDDEN
from tahoe_distill.embedding.confidence import Confidence
from tahoe_distill.hub.folder import CONFIDENCE_FILE
from tahoe_distill.training.calibration import Calibration
from tests.helpers.cached import batches, model
from tests.helpers.in_process import train


@pytest.fixture(autouse=True)
def few_cells(monkeypatch):
    """The small data set has 12 held-out cells."""
    monkeypatch.setattr(confidence, "MIN_CELLS", 10)
    monkeypatch.setattr(calibration, "MIN_CELLS", 10)


def test_whole_cells_are_judged_by_what_the_run_computed(run_config):
    student = model(run_config)
    kept = Calibration(student)
    outputs = []
    with torch.no_grad():
        for batch in batches(run_config, split="eval"):
            outputs.append(student.eval_forward(batch))
            kept.add(batch, outputs[-1])
    found = kept.fit(student.student)
    mine, theirs = (torch.cat([o[name].cell for o in outputs]).double().numpy() for name in ("student", "teacher"))
    a, b = (x - theirs.mean(axis=0) for x in (mine, theirs))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.cells == kept.cells == 12 and found.hidden == HIDDEN
    assert found.closeness[0] == pytest.approx(cosines.mean(), abs=1e-5)
    # With nearly all genes hidden the cells look alike, whatever the student.
    assert found.closeness[-1] != found.closeness[0]
    kept.clear()
    assert kept.cells == 0 and kept.fit(student.student) is None


def test_a_run_exports_it_beside_the_student(run_config, tmp_path):
    train(run_config, tmp_path / "run.yaml")
    found = Confidence.from_file(tmp_path / "hf" / CONFIDENCE_FILE)
    assert found.cells == 12 and 0 < found.coverage < 1
