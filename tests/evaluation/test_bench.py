"""Columns that are not there, controls that nobody has, samples in proportion."""

import numpy as np
import pandas as pd
import pytest

from tahoe_distill.evaluation import Bench, Columns
from tahoe_distill.evaluation.bench import sample, text
from tests.evaluation.conftest import make_cells


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (Columns(label="type"), r"no obs column 'type' \(--label-key\); found kind, batch"),
        (Columns(condition="drug"), "need a control"),
        (Columns(condition="drug", control="water"), "no cell has drug = 'water', the control; found DMSO, one"),
    ],
)
def test_wrong_columns_are_named(columns, match):
    with pytest.raises(ValueError, match=match):
        Bench(make_cells(), None, columns)


def test_a_reference_needs_labels_alone():
    reference = make_cells()
    del reference.obs["batch"]
    assert Bench(make_cells(), reference, Columns(label="kind", batch="batch")).available == {"labels", "batches"}


def test_a_sample_keeps_the_proportions_and_the_order():
    obs = pd.DataFrame({"kind": ["a"] * 80 + ["b"] * 20})
    numbers = sample(obs, Columns(label="kind"), 10, seed=1)
    assert (np.diff(numbers) > 0).all()
    assert obs["kind"].iloc[numbers].value_counts().to_dict() == {"a": 8, "b": 2}
    assert (sample(obs, Columns(label="kind"), 10, seed=2) != numbers).any()
    assert sample(obs, Columns(), 1000, seed=0).tolist() == list(range(100))
    with pytest.raises(ValueError, match="at least 1, found 0"):
        sample(obs, Columns(), 0, seed=0)


def test_missing_values_are_empty_text():
    assert text(pd.Series(pd.Categorical(["a", None, "b"]))).tolist() == ["a", "", "b"]
    assert text(pd.Series([1.0, np.nan])).tolist() == ["1.0", ""]
