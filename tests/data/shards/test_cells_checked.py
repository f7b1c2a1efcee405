"""Cells that cannot be: named by shard, sample, column and value, before a model meets them."""

import numpy as np
import pytest
from streaming import MDSWriter

from tahoe_distill.data import ShardError
from tahoe_distill.data.shards.reader import cell_problem
from tahoe_distill.training.dataloader import read_sections

COLUMNS = {"genes": "ndarray:int32", "expressions": "ndarray:float32", "id": "int"}
GOOD = {"genes": np.array([1, 4, 5], np.int32), "expressions": np.array([-2, 1, 3], np.float32), "id": 0}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"genes": np.array([1, 4, 70], np.int32)}, "genes holds 70, expected numbers of the vocabulary, 0 to 53"),
        ({"genes": np.array([1, -4, 5], np.int32)}, "genes holds -4, expected numbers of the vocabulary, 0 to 53"),
        ({"genes": np.array([1, 4], np.int32)}, "genes has 2 values and expressions 3, expected as many"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, vocab, change, problem):
    with MDSWriter(out=str(tmp_path / "set"), columns=COLUMNS, hashes=["xxh64"]) as writer:
        writer.write(GOOD)
        writer.write({**GOOD, **change, "id": 1})
    cells, _ = read_sections({"local": str(tmp_path / "set")}, {"max_length": 8}, 2, vocab=vocab)
    assert cells[0]["id"] == 0
    with pytest.raises(ShardError, match=rf"shard.00000.mds, sample 1: {problem}; prepare the cells again"):
        cells[1]


def test_a_missing_column_is_named(tmp_path, vocab):
    columns = {name: kind for name, kind in COLUMNS.items() if name != "expressions"}
    with MDSWriter(out=str(tmp_path / "set"), columns=columns, hashes=["xxh64"]) as writer:
        writer.write({name: GOOD[name] for name in columns})
    cells, _ = read_sections({"local": str(tmp_path / "set")}, {"max_length": 8}, 2, vocab=vocab)
    with pytest.raises(ShardError, match="sample 0: has no column 'expressions', found genes, id"):
        cells[0]


def test_without_a_vocabulary_only_the_sign_is_checked():
    assert cell_problem({**GOOD, "genes": np.array([1, 4, 10**6])}, None) is None
    assert "expected numbers of the vocabulary, 0 or more" in cell_problem(
        {**GOOD, "genes": np.array([1, -1, 2])}, None
    )
