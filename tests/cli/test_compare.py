"""`tahoe-distill compare`: of written evaluations and of models, and the exit code of its gate."""

import json

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import Tx1Model
from tahoe_distill.teacher import load_teacher


@pytest.fixture
def models(tmp_path, small_teacher, small_cells):
    """Folders of a teacher's copy and of a random model, and the arguments to judge them by."""
    teacher = load_teacher(small_teacher)
    write_model_folder(teacher.model, teacher.processor, tmp_path / "copy")
    write_model_folder(Tx1Model(teacher.model.config).eval(), teacher.processor, tmp_path / "random")
    small_cells.copy().write_h5ad(tmp_path / "cells.h5ad")
    judge = ["--teacher", str(small_teacher), "--adata", str(tmp_path / "cells.h5ad"), "--only", "fidelity"]
    return [str(tmp_path / "copy"), str(tmp_path / "random")], judge


def test_models_are_evaluated_together_and_the_better_passes_the_gate(models, tmp_path, capsys):
    (good, bad), judge = models
    out = tmp_path / "out"
    options = ["--gate", "fidelity/knn_overlap_10", "--margin", "0", "--out", str(out)]
    assert main(["compare", good, bad, *options, *judge]) == 0
    said = capsys.readouterr().out
    assert said.index("copy") < said.index("random") and "no worse" in said
    assert {"comparison.json", "comparison.md", "metrics.json", "cells.csv.gz"} <= {p.name for p in out.iterdir()}
    found = json.loads((out / "comparison.json").read_text())
    assert found["standings"][0]["value"] == 1 and found["gate"]["passed"] is True
    # The folder can be compared again, of which the worse one, given first, does not pass.
    assert main(["compare", bad, good, *options[:4], *judge]) == 1
    captured = capsys.readouterr()
    assert "random is not shown to be no worse by fidelity/knn_overlap_10" in captured.err
    assert "not shown to be no worse" in captured.out
    assert main(["compare", str(out), "--metric", "fidelity/cka"]) == 0
    assert main(["compare", str(out), "--out", str(out)]) == 1
    assert "holds a comparison already" in capsys.readouterr().err


def test_a_model_without_cells_to_judge_it_by(models, tmp_path, capsys):
    (good, _), (_, teacher, *_) = models
    assert main(["compare", good]) == 1
    assert "expected what `tahoe-distill evaluate --out` wrote" in capsys.readouterr().err
    (tmp_path / "copy/metrics.json").write_text('{"eval/cosine": 0.9}')
    assert main(["compare", good]) == 1
    assert "give --teacher and --adata where this is a model" in capsys.readouterr().err
    assert main(["compare", good, "--teacher", teacher]) == 1
    assert "no cells to judge the models by: add --adata" in capsys.readouterr().err
