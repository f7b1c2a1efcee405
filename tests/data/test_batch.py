"""What teacher and student see of a batch, and how many cells it has."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from tahoe_distill.data.batch import CACHED, CellView, column, count_cells, student_view, teacher_view
from tahoe_distill.data.collating.collator import Tx1Collator

NAMES = {"gene_ids": "gene", "target": "expr_target", "shown": "expr", "masked": "gen_mask"}


@pytest.fixture
def batch():
    """One cell with the drug at position 1; the student sees three of its five positions."""
    genes = torch.tensor([[1, 3, 8, 5, 9]])
    whole = {"gene": genes, "expr_target": genes.float() - 10, "expr": genes.float() - 20, "gen_mask": genes.gt(5)}
    index = torch.tensor([[0, 1, 3]])
    part = {f"student_{name}": tensor[:, index[0]] for name, tensor in whole.items()}
    return {**whole, "drug_ids": torch.tensor([2]), **part, "student_index": index}


def assert_sees(view, batch, positions):
    """The view is the teacher's row at ``positions``."""
    for field, name in NAMES.items():
        assert torch.equal(getattr(view, field), batch[name][:, positions]), field


def test_the_teacher_sees_the_whole_row(batch):
    view = teacher_view(batch)
    assert view.gene_ids is batch["gene"] and view.drug_ids is batch["drug_ids"]
    assert view.index is None
    assert_sees(view, batch, [0, 1, 2, 3, 4])


def test_a_student_without_a_part_of_its_own_sees_what_the_teacher_sees(batch):
    shared = {name: tensor for name, tensor in batch.items() if not name.startswith("student_")}
    assert student_view(shared, drug_token=True) == teacher_view(shared)


def test_a_student_with_a_part_of_its_own_sees_that(batch):
    view = student_view(batch, drug_token=True)
    assert_sees(view, batch, [0, 1, 3])
    assert view.index is batch["student_index"]


@pytest.mark.parametrize(("own", "positions"), [(True, [0, 3]), (False, [0, 2, 3, 4])])
def test_a_student_without_a_drug_token_does_not_see_the_drug(batch, own, positions):
    if not own:
        batch = {name: tensor for name, tensor in batch.items() if not name.startswith("student_")}
    before = {name: tensor.clone() for name, tensor in batch.items()}
    view = student_view(batch, drug_token=False)
    assert_sees(view, batch, positions)
    assert view.drug_ids is None and view.index.tolist() == [positions]
    assert all(torch.equal(batch[name], tensor) for name, tensor in before.items())


def test_the_views_read_all_that_the_collator_gives(small_vocab):
    samples = [{"genes": np.arange(3, 13), "expressions": np.arange(10, dtype=np.float32)}]
    batch = Tx1Collator(small_vocab, 10, student_max_length=4)(samples)
    seen = {id(getattr(view, field.name)) for view in views(batch) for field in fields(CellView)}
    assert [name for name, tensor in batch.items() if id(tensor) not in seen and name not in CACHED] == []


def views(batch):
    """Both models' views."""
    return teacher_view(batch), student_view(batch, drug_token=True)


def test_counting_refuses_uneven_batches():
    assert count_cells({"gene": torch.zeros(3, 2), "names": ["a", "b", "c"]}) == 3
    with pytest.raises(ValueError, match="3 cells has entries of other lengths: {'x': 2}"):
        count_cells({"gene": torch.zeros(3, 2), "x": [1, 2]})


def test_a_column_is_a_tensor_unless_it_holds_text():
    samples = [{"dose": 0.5, "name": "a", "vector": np.ones(2)}, {"dose": 1.0, "name": "b", "vector": np.zeros(2)}]
    assert column(samples, "dose").tolist() == [0.5, 1.0]
    assert column(samples, "name") == ["a", "b"]
    assert column(samples, "vector").tolist() == [[1.0, 1.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match="names 'donor', which the shards do not have; found dose, name, vector"):
        column(samples, "donor")
