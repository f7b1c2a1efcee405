"""Labels by neighbours and regression, from a reference or by folds; what cannot be judged is left out by name."""

import numpy as np
import pytest

from tahoe_distill.evaluation import Columns, NotEvaluable
from tahoe_distill.evaluation.annotation import Annotation, proportions_divergence
from tests.evaluation.conftest import make_cells, vectors_of


def test_well_separated_cells_are_all_found_by_folds_and_by_a_reference(make_bench):
    for reference in (None, make_cells(60, seed=4)):
        bench = make_bench(reference=reference)
        scores = Annotation().evaluate(bench.subjects["student"], bench)
        for name in ("knn", "logistic", "swap_knn", "swap_logistic"):
            assert scores.values[f"{name}_macro_f1"] == scores.values[f"{name}_accuracy"] == 1.0
        assert scores.values["proportions_kl"] == 0
        assert scores.tables["confusion"] == {"labels": ["a", "b", "c"], "counts": np.diag([30, 30, 30]).tolist()}
        assert (scores.cells["predicted_label"] == bench.labels).all()


def test_swap_learns_from_the_teacher(make_bench):
    cells = make_cells()
    bench = make_bench(student=-vectors_of(cells))
    values = Annotation().evaluate(bench.subjects["student"], bench).values
    assert values["knn_accuracy"] == 1.0
    assert values["swap_knn_accuracy"] < 0.5


def test_shuffled_labels_tell_nothing(make_bench):
    bench = make_bench(shuffled_labels=True)
    values = Annotation().evaluate(bench.subjects["student"], bench).values
    assert values["knn_accuracy"] < 0.6


def test_cells_without_a_label_and_rare_labels_are_left_out_and_named(make_bench):
    cells = make_cells()
    labels = cells.obs["kind"].to_numpy(dtype=object)
    labels[:4], labels[4:7] = None, "rare"
    cells.obs["kind"] = labels
    bench = make_bench(query=cells, teacher=vectors_of(make_cells()))
    scores = Annotation().evaluate(bench.subjects["student"], bench)
    assert scores.notes == (
        "4 cells have no label and were left out",
        "labels of fewer than 5 cells were left out: rare",
    )
    assert (scores.cells["predicted_label"][:7] == "").all()
    assert len(bench.judged) == 83


def test_folds_never_divide_a_group(make_bench):
    bench = make_bench(columns=Columns(label="kind", group="donor"))
    donors = bench.query.obs["donor"].to_numpy()
    assert len(bench.folds) == 5
    for learn, judge in bench.folds:
        assert not set(donors[learn]) & set(donors[judge])
    assert sorted(np.concatenate([judge for _, judge in bench.folds])) == list(range(90))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda cells: cells.obs.assign(kind="a"), "two classes with enough cells, found a"),
        (lambda cells: cells.obs.assign(kind=[str(n) for n in range(90)]), "two classes"),
        (lambda cells: cells.obs.assign(donor="d0"), "1 groups are too few for 5 folds"),
    ],
)
def test_what_cannot_be_judged_says_why(make_bench, change, match):
    cells = make_cells()
    vectors = vectors_of(cells)
    cells.obs = change(cells)
    bench = make_bench(columns=Columns(label="kind", group="donor"), query=cells, teacher=vectors)
    with pytest.raises(NotEvaluable, match=match):
        Annotation().evaluate(bench.subjects["student"], bench)


def test_divergence_of_proportions_by_hand():
    truth, found = np.array(["a", "a", "b", "b"]), np.array(["a", "a", "a", "b"])
    p, q = np.array([2.5, 2.5]) / 5, np.array([3.5, 1.5]) / 5
    assert proportions_divergence(truth, found) == pytest.approx((p * np.log(p / q)).sum())
