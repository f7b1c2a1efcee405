"""Golden vectors: written and read back exactly, differences told with both numbers."""

import numpy as np
import pytest

from tahoe_distill.hub.golden import GoldenMismatchError, golden_text, read_golden, require_equal

BATCH = {"gene_ids": np.array([[1, 5]], np.int64), "expression_bins": np.array([[-2.0, 7.0]], np.float32)}
OUTPUTS = np.array([[0.1, -1 / 3]], np.float32)


def test_written_and_read_back_exactly(tmp_path):
    (tmp_path / "golden.json").write_text(golden_text(BATCH, OUTPUTS))
    batch, outputs = read_golden(tmp_path)
    assert (outputs == OUTPUTS).all()
    assert all((batch[name] == BATCH[name]).all() and batch[name].dtype == BATCH[name].dtype for name in BATCH)


def test_a_model_that_answers_nan_has_no_golden_vectors():
    with pytest.raises(GoldenMismatchError, match="gives nan for value 1 of test cell 0"):
        golden_text(BATCH, np.array([[0.1, np.nan]]))


@pytest.mark.parametrize("wrong", [0.2, np.nan])
def test_a_difference_is_told_with_both_numbers(wrong):
    found = np.array([[0.1, wrong]], np.float32)
    with pytest.raises(GoldenMismatchError, match=f"it gives other .* cell 0 is {wrong}.*, expected -0.3333333"):
        require_equal(found, OUTPUTS, "it")


def test_another_width_is_a_mismatch():
    with pytest.raises(GoldenMismatchError, match=r"shape \(1, 3\), the golden vectors have \(1, 2\)"):
        require_equal(np.zeros((1, 3)), OUTPUTS, "it")


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "golden.json").write_text('{"inputs": {}}')
    with pytest.raises(ValueError, match="expected inputs and pooler_output, found damaged .* delete the file"):
        read_golden(tmp_path)
