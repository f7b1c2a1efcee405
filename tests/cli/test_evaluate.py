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
    assert main([*arguments, "--out", str(tmp_path / "report.json"), "--swap"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["cells"] == 20
    assert report["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert report["centered_cosine"] == pytest.approx(1.0, abs=1e-4)
    assert report["student_macro_f1"] == report["teacher_macro_f1"] == report["swap_macro_f1"]
    assert report["student_parameters"] == report["teacher_parameters"]
    assert "20 held-out cells" in capsys.readouterr().out


def test_an_absent_label_column_is_named(arguments, capsys):
    arguments[arguments.index("kind")] = "cell_type"
    assert main(arguments) == 1
    assert "no obs column 'cell_type'; found kind" in capsys.readouterr().err
