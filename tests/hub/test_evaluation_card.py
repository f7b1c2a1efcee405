"""An evaluation in a model's folder: what the card says of it, and what is refused."""

import json

import pytest
import yaml

from tahoe_distill.hub.card import card_of_folder
from tahoe_distill.hub.checklist import failed_checks
from tahoe_distill.hub.evaluation_card import add_evaluation, check_dataset
from tahoe_distill.hub.folder import CARD_FILE, TRAINING_FILE, strays

RECORD = {
    "created": "2026-01-02T03:04:05+00:00",
    "seed": 0,
    "cells": {"query": 100, "reference": 200, "files": {"adata": {"name": "held_out.h5ad"}}},
    "primary": {"fidelity": "fidelity/knn_overlap_10", "annotation": "annotation/knn_macro_f1"},
    "subjects": {
        "teacher": {"role": "teacher", "values": {"annotation/knn_macro_f1": 0.7}, "intervals": {}},
        "student": {
            "role": "student",
            "values": {"fidelity/knn_overlap_10": 0.75, "annotation/knn_macro_f1": 0.69, "cost/parameters": 100.0},
            "intervals": {"fidelity/knn_overlap_10": [0.7, 0.8]},
        },
        "ridge": {"role": "baseline", "values": {"fidelity/knn_overlap_10": 0.36}, "intervals": {}},
        "shuffled labels": {"role": "control", "values": {"annotation/knn_macro_f1": 0.1}, "intervals": {}},
    },
    "verdicts": [{"student": "student", "replaces_teacher": True, "because": "It loses next to nothing."}],
    "machine": {"cores": 2, "machine": "x86_64", "gpu": None},
}


@pytest.fixture
def folder(write_student, tmp_path):
    """A student with an evaluation in its folder, and its card written anew."""
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "metrics.json").write_text(json.dumps(RECORD))
    (evaluation / "cells.csv.gz").write_bytes(b"cells")
    (evaluation / "maps.png").write_bytes(b"png")
    student = write_student()
    (student / TRAINING_FILE).write_text(
        json.dumps({"seconds": 3725.0, "batches": 1000, "processes": 8, "hardware": "NVIDIA H100"})
    )
    add_evaluation(student, evaluation, dataset="lab/cells:annotation")
    (student / CARD_FILE).write_text(card_of_folder(student))
    return student


def test_the_card_shows_student_teacher_and_baselines(folder):
    card = card_of_folder(folder)
    assert "| | teacher | student | ridge |" in card
    assert "| 10 nearest neighbours kept |  | 75.0% (70.0% … 80.0%) | 36.0% |" in card
    assert "**May it replace its teacher for annotation?** Yes. It loses next to nothing." in card
    assert "On 100 cells (`held_out.h5ad`), labels and baselines learned from 200 others" in card
    assert "![maps](evaluation-maps.png)" in card
    assert "Trained for 1 h 02 min (1,000 batches) by 8 processes on NVIDIA H100." in card


def test_the_head_and_the_hub_get_its_numbers(folder):
    head = yaml.safe_load(card_of_folder(folder).split("---\n")[1])
    results = head["model-index"][0]["results"]
    found = next(result for result in results if result["dataset"]["name"] == "held_out.h5ad")
    assert {m["name"]: m["value"] for m in found["metrics"]} == {
        "fidelity/knn_overlap_10": 0.75,
        "annotation/knn_macro_f1": 0.69,
    }
    [hub] = yaml.safe_load((folder / ".eval_results/tahoe-distill.yaml").read_text())
    assert hub["dataset"] == {"id": "lab/cells", "task_id": "annotation"} and hub["value"] == 0.75
    assert hub["date"] == "2026-01-02"


def test_the_folder_is_fit_to_be_published_until_one_of_the_two_is_changed(folder):
    assert not strays(folder) and not failed_checks(folder)
    record = json.loads((folder / "evaluation.json").read_text())
    record["subjects"]["student"]["values"]["fidelity/knn_overlap_10"] = 0.99
    (folder / "evaluation.json").write_text(json.dumps(record))
    assert "fidelity/knn_overlap_10 = 0.75" in failed_checks(folder)["card"]


def test_a_second_evaluation_replaces_the_first(folder, tmp_path):
    (tmp_path / "evaluation/maps.png").unlink()
    add_evaluation(folder, tmp_path / "evaluation")
    assert not (folder / "evaluation-maps.png").exists() and "![" not in card_of_folder(folder)


def test_without_one_the_card_says_how(write_student):
    assert "Not yet evaluated beside baselines: `tahoe-distill evaluate" in card_of_folder(write_student())


@pytest.mark.parametrize("name", ["cells", "lab/cells/annotation", "lab/cells:", "https://x/y"])
def test_a_data_set_is_a_hub_id(name):
    with pytest.raises(ValueError, match="expected a hub id such as owner/name"):
        check_dataset(name)
