"""What is written for cz-benchmarks; its own tasks run where TAHOE_DISTILL_CZ_PYTHON names an environment with it."""

import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from tahoe_distill.evaluation import Columns, Evaluation
from tahoe_distill.evaluation.cz_benchmarks import export_for_cz_benchmarks
from tests.evaluation.conftest import make_cells, vectors_of


@pytest.fixture
def exported(make_bench, tmp_path):
    cells = make_cells()
    labels = cells.obs["kind"].to_numpy(dtype=object)
    labels[:3] = None
    cells.obs["kind"] = labels
    columns = Columns(label="kind", batch="batch")
    vectors = vectors_of(make_cells())
    bench = make_bench(columns=columns, query=cells, teacher=vectors, student=vectors * 2)
    return export_for_cz_benchmarks(Evaluation(bench), tmp_path), vectors


def test_vectors_and_labels_are_those_of_the_labelled_cells(exported):
    folder, vectors = exported
    np.testing.assert_array_equal(np.load(folder / "vectors/student.npy"), vectors[3:] * 2)
    obs = pd.read_csv(folder / "obs.csv", index_col=0)
    assert obs.columns.tolist() == ["label", "batch"] and obs.index[0] == "cell3" and len(obs) == 87
    compile((folder / "run.py").read_text(), "run.py", "exec")


def test_labels_are_needed(make_bench, tmp_path):
    bench = make_bench(columns=Columns())
    with pytest.raises(ValueError, match="need labels"):
        export_for_cz_benchmarks(Evaluation(bench), tmp_path)


@pytest.mark.skipif(
    "TAHOE_DISTILL_CZ_PYTHON" not in os.environ,
    reason="needs an environment with cz-benchmarks, its Python named by TAHOE_DISTILL_CZ_PYTHON",
)
def test_its_tasks_run_on_the_export(exported):
    folder, _ = exported
    subprocess.run([os.environ["TAHOE_DISTILL_CZ_PYTHON"], folder / "run.py"], check=True)
    results = pd.read_csv(folder / "results.csv")
    assert set(results["task"]) == {"clustering", "embedding", "label_prediction", "batch_integration"}
    assert set(results["subject"]) == {"teacher", "student"} and results["value"].notna().all()
