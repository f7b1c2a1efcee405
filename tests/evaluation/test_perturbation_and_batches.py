"""Shifts of conditions and mixing of batches, against values known beforehand."""

import numpy as np
import pytest

from tahoe_distill.evaluation import Columns, NotEvaluable
from tahoe_distill.evaluation.integration import Integration
from tahoe_distill.evaluation.perturbation import Perturbation
from tests.evaluation.conftest import make_cells

DRUGS = Columns(condition="drug", control="DMSO")


def shifted(cells, shifts, noise=0.0):
    """Vectors that hold nothing but their condition's shift."""
    rng = np.random.default_rng(0)
    names = cells.obs["drug"].to_numpy(dtype=str)
    return np.stack([shifts.get(name, np.zeros(3)) for name in names]) + noise * rng.normal(size=(len(names), 3)) + 5.0


def test_shifts_by_hand(make_bench):
    cells = make_cells()
    one, two, three = np.eye(3)
    theirs = shifted(cells, {"one": one, "two": 2 * two, "three": 3 * three})
    # Right, right but twice as long, and the direction of another.
    mine = shifted(cells, {"one": one, "two": 4 * two, "three": one * 9})
    bench = make_bench(columns=DRUGS, teacher=theirs, student=mine)
    scores = Perturbation().evaluate(bench.subjects["student"], bench)
    assert scores.values == pytest.approx(
        {"conditions": 3, "effect_spearman": 1, "shift_cosine": 2 / 3, "retrieval": 2 / 3}
    )
    assert scores.tables["shift_cosine"] == pytest.approx({"one": 1, "two": 1, "three": 0})


def test_rare_conditions_are_left_out_and_a_rare_control_refused(make_bench):
    cells = make_cells()
    drugs = cells.obs["drug"].to_numpy(dtype=object)
    drugs[:3] = "rare"
    cells.obs["drug"] = drugs
    bench = make_bench(columns=DRUGS, query=cells, teacher=shifted(cells, {"one": np.ones(3)}, 0.1))
    scores = Perturbation().evaluate(bench.subjects["student"], bench)
    assert scores.notes == ("conditions of fewer than 5 cells left out: rare",)
    bench = make_bench(columns=Columns(condition="drug", control="rare"), query=cells)
    with pytest.raises(NotEvaluable, match="control 'rare' has fewer than 5 cells"):
        Perturbation().evaluate(bench.subjects["student"], bench)


def test_mixed_batches_score_high_and_separate_ones_low(make_bench):
    cells = make_cells(400)
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(400, 4))
    apart = mixed + 100 * (cells.obs["batch"] == "x").to_numpy()[:, None]
    bench = make_bench(columns=Columns(label="kind", batch="batch"), query=cells, teacher=mixed, student=apart)
    good, bad = (Integration().evaluate(bench.subjects[name], bench).values for name in ("teacher", "student"))
    assert good["batch_entropy"] > 0.95 and good["ilisi"] > 1.9 and good["batch_silhouette"] > 0.95
    assert bad["batch_entropy"] == 0 and bad["ilisi"] == 1 and bad["batch_silhouette"] < 0.1
    assert bad["clisi"] == pytest.approx(3, abs=0.2)


def test_one_batch_says_why(make_bench):
    cells = make_cells()
    cells.obs["batch"] = "x"
    bench = make_bench(columns=Columns(batch="batch"), query=cells)
    with pytest.raises(NotEvaluable, match="1 batches"):
        Integration().evaluate(bench.subjects["student"], bench)
