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
def write_evaluation(tmp_path):
    """A function that writes what `evaluate --out` would have written of a student."""

    def write(name, shift, cells="hash"):
        overlap = np.random.default_rng(0).uniform(0.3, 0.7, 200) + shift
        record = {
            "schema": SCHEMA,
            "seed": 0,
            "cells": {"names": cells, "query": 200, "reference": None, "files": {}},
            "higher_is_better": {OVERLAP: True},
            "subjects": {
                "teacher": {"role": "teacher", "source": "t", "sketch": [0.5], "values": {}},
                "student": {"role": "student", "values": {OVERLAP: overlap.mean()}, "intervals": {}},
            },
        }
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(record))
        with gzip.open(tmp_path / name / "cells.csv.gz", "wt") as file:
            file.write("cell,student/knn_overlap_10\n" + "".join(f"c{n},{v}\n" for n, v in enumerate(overlap)))
        return tmp_path / name

    return write


def judged_push(folder, evaluation, margin=0.0, metric=OVERLAP):
    judge = judge_by_evaluations(margin)
    return push_folder(folder, REPO, only_if_better=metric, evaluation=evaluation, judge=judge)


def test_the_interval_decides_and_the_evaluation_is_published(hub, write_student, write_evaluation):
    folder = write_student()
    report = push_folder(folder, REPO, evaluation=write_evaluation("old", 0.0))
    assert {"evaluation.json", "evaluation_cells.csv.gz"} <= set(report.files) & set(hub.files(REPO))
    assert not (folder / "evaluation.json").exists()
    with pytest.raises(
        NotBetterError, match=r"of the published one 0.5.*-0.05 .*not shown to be no worse; push without"
    ):
        judged_push(folder, write_evaluation("worse", -0.05))
    judged_push(folder, write_evaluation("a little worse", -0.01), margin=0.02)
    judged_push(folder, write_evaluation("better", 0.05))
    found = json.loads(hub.files(REPO)["evaluation.json"])
    assert found["subjects"]["student"]["values"][OVERLAP] > 0.54


def test_other_cells_cannot_decide_so_the_metrics_do(hub, write_student, write_evaluation, caplog):
    push_folder(write_student(), REPO, evaluation=write_evaluation("old", 0.0))
    folder = write_student("new", seed=1, **{"eval/cosine": 0.95})
    other = write_evaluation("other", 0.1, cells="others")
    with pytest.raises(ValueError, match="no metric named 'fidelity/knn_overlap_10'"):
        judged_push(folder, other)
    assert "it judged other cells" in caplog.text
    judged_push(folder, other, metric="eval/cosine")


def test_an_evaluation_does_not_outlive_its_weights(hub, write_student, write_evaluation):
    push_folder(write_student(), REPO, evaluation=write_evaluation("old", 0.0))
    push_folder(write_student("new", seed=1), REPO)
    assert "evaluation.json" not in hub.files(REPO)


def test_a_folder_that_is_no_evaluation(write_student, tmp_path):
    with pytest.raises(ValueError, match=r"metrics.json is missing; expected the folder that `tahoe-distill evaluate"):
        push_folder(write_student(), REPO, evaluation=tmp_path / "none", dry_run=True)
