"""`tahoe-distill evaluate` on a small teacher and its converted self."""

import json

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.teacher import load_teacher


@pytest.fixture
def arguments(tmp_path, small_teacher, small_cells):
    teacher = load_teacher(small_teacher)
    write_model_folder(teacher.model, teacher.processor, tmp_path / "hf")
    small_cells[:40].copy().write_h5ad(tmp_path / "reference.h5ad")
    small_cells[40:].copy().write_h5ad(tmp_path / "query.h5ad")
    return [
        "evaluate",
        *("--student", str(tmp_path / "hf"), "--teacher", str(small_teacher), "--label-key", "kind"),
        *("--adata", str(tmp_path / "query.h5ad"), "--reference", str(tmp_path / "reference.h5ad")),
    ]


def test_a_teacher_as_its_own_student_is_perfect(arguments, tmp_path, capsys):
    assert main([*arguments, "--skip", "cost", "clustering", "--out", str(tmp_path / "found"), "--swap"]) == 0
    record = json.loads((tmp_path / "found/metrics.json").read_text())
    student = record["subjects"]["student"]["values"]
    assert record["cells"]["query"] == 20
    assert student["fidelity/knn_overlap_10"] == 1
    assert student["fidelity/cosine"] == pytest.approx(1.0, abs=1e-5)
    assert student["fidelity/centered_cosine"] == pytest.approx(1.0, abs=1e-4)
    teacher = record["subjects"]["teacher"]["values"]["annotation/knn_macro_f1"]
    assert teacher == student["annotation/knn_macro_f1"] == student["annotation/swap_knn_macro_f1"]
    out = capsys.readouterr().out
    assert record["verdicts"][0]["difference"] == [0, 0, 0]
    assert "student may replace the teacher for annotation" in out
    assert "left out: integration" in out and "--batch-key" in out


def test_an_absent_label_column_is_named(arguments, capsys):
    arguments[arguments.index("kind")] = "cell_type"
    assert main(arguments) == 1
    assert "no obs column 'cell_type' (--label-key); found kind" in capsys.readouterr().err
