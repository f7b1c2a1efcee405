"""The record, its tables and the table of cells: complete, readable again, never a NaN."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from tahoe_distill.evaluation import read_record, to_record, write_record
from tahoe_distill.evaluation.record import SCHEMA, check_output, describe_file, read_cells


def test_every_number_is_finite_and_has_a_direction(judged_folder):
    text = (judged_folder / "metrics.json").read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=lambda word: pytest.fail(f"found {word}"))
    assert record["schema"] == SCHEMA
    for subject in record["subjects"].values():
        assert subject["values"].keys() <= record["higher_is_better"].keys()
        assert subject["intervals"].keys() <= subject["values"].keys()
        for name, (low, high) in subject["intervals"].items():
            assert low <= subject["values"][name] + 1e-9 and subject["values"][name] - 1e-9 <= high, name


def test_a_number_that_is_none_is_left_out_with_a_reason(judged):
    from tahoe_distill.evaluation import Evaluation, Scores
    from tahoe_distill.evaluation.fidelity import Fidelity

    found = Evaluation(judged.bench)
    found.add(judged.students[0], Fidelity(), Scores({"cka": float("nan"), "cosine": 1.0}))
    assert found.values["near"] == {"fidelity/cosine": 1.0}
    assert found.skipped[0]["evaluator"] == "fidelity/cka"


def test_the_record_is_read_again_from_its_folder_or_itself(judged_folder, record):
    assert read_record(judged_folder) == read_record(judged_folder / "metrics.json") == record


@pytest.mark.parametrize(
    ("text", "says"), [("{", "found no JSON"), ("[]", "found None"), ('{"schema": "old"}', "found 'old'")]
)
def test_something_else_is_refused(tmp_path, text, says):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_record(tmp_path)


def test_the_same_evaluation_writes_the_same_cells(judged, judged_folder, tmp_path):
    write_record(judged, to_record(judged), tmp_path)
    assert (tmp_path / "cells.csv.gz").read_bytes() == (judged_folder / "cells.csv.gz").read_bytes()


def test_cells_are_read_again_with_texts_as_texts(judged, judged_folder):
    cells = read_cells(judged_folder)
    assert cells["cell"].tolist() == judged.bench.query.obs_names.tolist()
    assert cells["label"].tolist() == judged.bench.labels.tolist()
    assert cells["batch"].tolist() == judged.bench.batches.tolist()
    assert cells["judged"].dtype == bool and cells["judged"].all()
    # Clusters are named by numbers and stay names.
    assert cells["near/cluster"].map(type).eq(str).all()
    np.testing.assert_allclose(cells["near/knn_overlap_10"], judged.cells["near"]["knn_overlap_10"], rtol=1e-6)


def test_an_empty_number_of_a_cell_is_nan_and_an_empty_label_is_not(tmp_path):
    with gzip.open(tmp_path / "cells.csv.gz", "wt") as file:
        file.write("cell,label,judged,s/umap_1,s/own\n1,NA,True,0.5,a\n2,,False,,b\n")
    cells = read_cells(tmp_path)
    assert cells["cell"].tolist() == ["1", "2"] and cells["label"].tolist() == ["NA", ""]
    assert cells["s/umap_1"].isna().tolist() == [False, True]
    assert cells["s/own"].tolist() == ["a", "b"]


def test_a_missing_table_of_cells_says_what_writes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="evaluate again"):
        read_cells(tmp_path)


def test_the_long_table_has_a_row_for_each_number(judged_folder, record):
    table = pd.read_csv(judged_folder / "metrics.csv")
    assert len(table) == sum(len(subject["values"]) for subject in record["subjects"].values())
    row = table[(table["subject"] == "near") & (table["metric"] == "fidelity/knn_overlap_10")].iloc[0]
    assert row["low"] <= row["value"] <= row["high"]


def test_output_goes_to_an_empty_place_or_over_an_evaluation(tmp_path, judged_folder):
    check_output(tmp_path / "new", overwrite=False)
    check_output(judged_folder, overwrite=True)
    with pytest.raises(FileExistsError, match="add --overwrite"):
        check_output(judged_folder, overwrite=False)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds other things"):
        check_output(tmp_path, overwrite=True)


def test_a_file_is_known_by_its_content(tmp_path):
    for name, content in (("a/x", "1"), ("b/x", "1"), ("c/x", "2"), ("d/y", "1")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    digests = {name: describe_file(tmp_path / name)["sha256"] for name in "abcd"}
    assert digests["a"] == digests["b"] and len(set(digests.values())) == 3
    assert describe_file(tmp_path / "a/x") == {
        "name": "x",
        "bytes": 1,
        # Of "1", by sha256sum.
        "sha256": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    }
