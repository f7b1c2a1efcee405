"""`--only-if-better` where both versions carry an evaluation of the same cells: the paired interval decides."""

import gzip
import json

import numpy as np
import pytest

from tahoe_distill.evaluation.compare import judge_by_evaluations
from tahoe_distill.evaluation.record import SCHEMA
from tahoe_distill.hub import push
from tahoe_distill.hub.comparison import NotBetterError
from tahoe_distill.hub.push import push_folder

REPO, OVERLAP = "lab/student", "fidelity/knn_overlap_10"


@pytest.fixture(autouse=True)
def no_reload(monkeypatch):
    """Without the fresh process after the upload, which other tests pay for."""
    monkeypatch.setattr(push, "verify_published", lambda *arguments, **golden: 0.0)


@pytest.fixture
def write_evaluated(write_student):
    """A function that writes a student's folder with an evaluation as `evaluate --card` would have put there."""

    def write(name, shift, cells="hash", **metrics):
        overlap = np.random.default_rng(0).uniform(0.3, 0.7, 200) + shift
        record = {
            "schema": SCHEMA,
            "seed": 0,
            "cells": {"names": cells, "query": 200, "reference": None, "files": {}},
            "higher_is_better": {OVERLAP: True},
            "verdicts": [],
            "primary": {"fidelity": OVERLAP},
            "machine": {"cores": 2, "machine": "x86_64", "gpu": None},
            "subjects": {
                "teacher": {"role": "teacher", "source": "t", "sketch": [0.5], "values": {}, "intervals": {}},
                "student": {"role": "student", "values": {OVERLAP: overlap.mean()}, "intervals": {}},
            },
        }
        folder = write_student(name, **metrics)
        (folder / "evaluation.json").write_text(json.dumps(record))
        with gzip.open(folder / "evaluation_cells.csv.gz", "wt") as file:
            file.write("cell,student/knn_overlap_10\n" + "".join(f"c{n},{v}\n" for n, v in enumerate(overlap)))
        return folder

    return write


def judged_push(folder, margin=0.0, metric=OVERLAP):
    return push_folder(folder, REPO, only_if_better=metric, judge=judge_by_evaluations(margin))


def test_the_interval_decides(hub, write_evaluated):
    report = push_folder(write_evaluated("old", 0.0), REPO)
    assert {"evaluation.json", "evaluation_cells.csv.gz"} <= set(report.files) & set(hub.files(REPO))
    with pytest.raises(
        NotBetterError, match=r"of the published one 0.5.*-0.05 .*not shown to be no worse; push without"
    ):
        judged_push(write_evaluated("worse", -0.05))
    judged_push(write_evaluated("little", -0.01), margin=0.02)
    judged_push(write_evaluated("better", 0.05))
    found = json.loads(hub.files(REPO)["evaluation.json"])
    assert found["subjects"]["student"]["values"][OVERLAP] > 0.54


def test_other_cells_cannot_decide_so_the_metrics_do(hub, write_evaluated, caplog):
    push_folder(write_evaluated("old", 0.0), REPO)
    folder = write_evaluated("new", 0.1, cells="others", **{"eval/cosine": 0.95})
    with pytest.raises(ValueError, match="no metric named 'fidelity/knn_overlap_10'"):
        judged_push(folder)
    assert "it judged other cells" in caplog.text
    judged_push(folder, metric="eval/cosine")


def test_an_evaluation_does_not_outlive_its_weights(hub, write_student, write_evaluated):
    push_folder(write_evaluated("old", 0.0), REPO)
    push_folder(write_student("new", seed=1), REPO)
    assert "evaluation.json" not in hub.files(REPO)
