"""The student judged on an AnnData while it is trained: what `best` and early stopping then follow."""

import json

import anndata
import pytest

from tahoe_distill.embedding import embed, load_student
from tahoe_distill.evaluation import Columns, evaluate
from tahoe_distill.teacher import load_teacher
from tahoe_distill.training.callbacks.evaluate import EvaluateCallback
from tests.helpers.in_process import train


@pytest.fixture
def config(run_config, small_cells, tmp_path):
    """A run that evaluates twice, on twenty cells of which it knows the labels."""
    small_cells[40:].copy().write_h5ad(tmp_path / "cells.h5ad")
    run_config["eval_interval"] = "3ba"
    run_config["callbacks"]["evaluate"] = {"adata": str(tmp_path / "cells.h5ad"), "label_key": "kind"}
    return run_config


def test_the_numbers_are_those_of_the_exported_student(config, tmp_path, small_teacher):
    config["callbacks"]["hf_student"]["best"] = "cells/fidelity/knn_overlap_10"
    train(config, tmp_path / "run.yaml")
    teacher = load_teacher(small_teacher)
    cells = anndata.read_h5ad(tmp_path / "cells.h5ad")
    found = evaluate(
        load_student(tmp_path / "hf"),
        (teacher.model, teacher.processor),
        cells,
        columns=Columns(label="kind"),
        only=("fidelity", "annotation"),
        baselines=False,
    )
    recorded = json.loads((tmp_path / "hf/metrics.json").read_text())
    own = {name.removeprefix("cells/"): value for name, value in recorded.items() if name.startswith("cells/")}
    assert own == pytest.approx(found.values["student"], abs=1e-5)
    best = json.loads((tmp_path / "hf-best/best.json").read_text())
    assert best["mode"] == "max" and best["batch"] in (3, 6)


def test_early_stopping_follows_it(config, tmp_path):
    config["callbacks"]["early_stopper"] = {
        "monitor": "fidelity/normalized_mse", "dataloader_label": "cells", "patience": "1ba", "min_delta": 100.0,
    }  # fmt: skip
    config["eval_interval"] = "1ba"
    trainer = train(config, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch.value < 6


def test_a_cached_teacher_needs_its_vectors_in_the_file(config, tmp_path, small_teacher):
    teacher = load_teacher(small_teacher)
    cells = anndata.read_h5ad(tmp_path / "cells.h5ad")
    embed(cells, (teacher.model, teacher.processor), key_added="X_teacher", normalize=False)
    cells.write_h5ad(tmp_path / "embedded.h5ad")
    settings = {"label_key": "kind", "teacher_key": "X_teacher", "adata": tmp_path / "embedded.h5ad"}
    callback = EvaluateCallback(config, **settings)

    class NoTeacher:
        teacher = None

    assert callback._prepare(NoTeacher())["fidelity/knn_overlap_10"] is True
    del settings["teacher_key"]
    with pytest.raises(ValueError, match="no live teacher: put them into obsm of the file"):
        EvaluateCallback(config, **settings)._prepare(NoTeacher())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"label_kye": "kind"}, "callbacks.evaluate has no option 'label_kye': did you mean 'label_key'"),
        ({"evaluators": ["fidelty"]}, "did you mean 'fidelity'"),
        ({"label_key": "type"}, "no obs column 'type'"),
        ({"evaluators": ["integration"]}, "none of its evaluators can judge these cells. integration: the cells have"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(config, tmp_path, settings, match):
    config["callbacks"]["evaluate"].update(settings)
    with pytest.raises(ValueError, match=match):
        train(config, tmp_path / "run.yaml")
