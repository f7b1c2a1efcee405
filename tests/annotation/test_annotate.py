"""Labels in `obs`: by a classifier, by a probe, by a reference; in memory and in files."""

import anndata
import numpy as np
import pytest

from tahoe_distill import annotate, embed
from tahoe_distill.annotation import annotate_file, export_classifier, fit_probe, labelled_cells
from tahoe_distill.annotation.probing import ProbeSettings
from tahoe_distill.cli.main import main
from tahoe_distill.embedding import load_student
from tahoe_distill.models import Tx1ForCellClassification, Tx1Processor
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture(scope="module")
def pair():
    return tiny_pair()


def labelled(count=120):
    """Cells with few genes and with many, which vectors can tell."""
    cells = tiny_cells(count)
    genes = np.diff(cells.X.indptr)
    cells.obs["kind"] = np.where(genes < np.median(genes), "few", "many")
    return cells


@pytest.fixture(scope="module")
def probe(pair):
    return fit_probe(labelled_cells(labelled(), pair, "kind"), ProbeSettings())


@pytest.fixture(scope="module")
def classifier(pair, probe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "hf"
    export_classifier(pair, probe, folder, verify=False)
    return folder


def expected(pair, probe, cells):
    vectors = embed(cells, pair, copy=True).obsm["X_tx1"]
    return probe.probabilities(vectors)


def test_a_classifier_labels_as_its_probe_says(pair, probe, classifier):
    cells = tiny_cells(40, seed=1)
    wanted = expected(pair, probe, cells)
    annotate(cells, classifier, probabilities=True)
    np.testing.assert_allclose(cells.obsm["tx1_label_probabilities"], wanted, atol=1e-5)
    np.testing.assert_allclose(cells.obs["tx1_label_probability"], wanted.max(axis=1), atol=1e-5)
    assert cells.obs["tx1_label"].tolist() == [probe.labels[n] for n in wanted.argmax(axis=1)]
    noted = cells.uns["tx1_label"]
    assert noted["classifier"] == "model" and list(noted["labels"]) == ["few", "many"]
    assert noted["held_out_macro_f1"] == probe.record["held_out"]["macro_f1"] and noted["model"] == str(classifier)
    # No vectors are left behind.
    assert list(cells.obsm) == ["tx1_label_probabilities"]


def test_an_export_gives_the_embedding_and_the_labels(pair, probe, classifier):
    model, _ = load_student(classifier)
    cells = tiny_cells(10, seed=2)
    np.testing.assert_array_equal(
        embed(cells, classifier, copy=True).obsm["X_tx1"], embed(cells, pair, copy=True).obsm["X_tx1"]
    )
    whole = Tx1ForCellClassification.from_pretrained(classifier).eval()
    assert whole.config.label2id == {"few": 0, "many": 1} and type(model).__name__ == "Tx1Model"
    labels, probabilities = whole.predict(Tx1Processor.from_pretrained(classifier), cells)
    np.testing.assert_allclose(probabilities, expected(pair, probe, cells), atol=1e-5)
    assert labels == [probe.labels[n] for n in probabilities.argmax(axis=1)]
    annotate(cells, (whole, Tx1Processor.from_pretrained(classifier)))
    assert cells.obs["tx1_label"].tolist() == labels


def test_a_reference_needs_no_training(pair, probe):
    cells = tiny_cells(40, seed=1)
    annotate(cells, pair, reference=labelled(), label="kind")
    wanted = expected(pair, probe, cells)
    np.testing.assert_allclose(cells.obs["tx1_label_probability"], wanted.max(axis=1), atol=1e-6)
    assert cells.uns["tx1_label"]["classifier"] == "reference"


def test_cells_are_unknown_only_where_it_is_asked_for(pair, probe):
    cells = tiny_cells(40, seed=1)
    highest = expected(pair, probe, cells).max(axis=1)
    bound = float(np.median(highest))
    annotate(cells, pair, probe=probe, min_probability=bound, key_added="a")
    assert ((cells.obs["a"] == "unknown") == (highest < bound)).all() and (cells.obs["a"] == "unknown").any()
    annotate(cells, pair, probe=probe, key_added="b")
    assert set(cells.obs["b"]) <= {"few", "many"} and "min_probability" not in cells.uns["b"]


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_files_get_what_objects_get(classifier, tmp_path, suffix):
    cells = tiny_cells(40, seed=1)
    getattr(cells, f"write_{suffix}")(tmp_path / f"in.{suffix}")
    out = annotate_file(tmp_path / f"in.{suffix}", classifier, tmp_path / f"out.{suffix}", probabilities=True)
    found = getattr(anndata, f"read_{suffix}")(out)
    annotate(cells, classifier, probabilities=True)
    assert found.obs["tx1_label"].tolist() == cells.obs["tx1_label"].tolist()
    np.testing.assert_allclose(found.obsm["tx1_label_probabilities"], cells.obsm["tx1_label_probabilities"], atol=1e-6)
    assert list(found.uns["tx1_label"]["labels"]) == ["few", "many"]
    assert "X_tx1" not in found.obsm and (found.X != cells.X).nnz == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{suffix}", f"out.{suffix}"]
    with pytest.raises(ValueError, match="already has obs/tx1_label, obs/tx1_label_probability"):
        annotate_file(out, classifier, tmp_path / f"again.{suffix}")
    annotate_file(out, classifier, out, overwrite=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "has no classifier: give a probe"),
        ({"label": "kind"}, "belong together, found one of the two"),
        ({"reference": "r.h5ad"}, "belong together, found one of the two"),
        ({"probe": "nowhere"}, "nowhere holds no probe"),
        ({"probe": "nowhere", "reference": "r.h5ad", "label": "kind"}, "not both"),
        ({"min_probability": 1.5}, "must lie between 0 and 1, found 1.5"),
        ({"key_added": "a/b"}, "expected a name without slashes"),
    ],
)
def test_what_does_not_go_together_is_refused(pair, given, message):
    cells = tiny_cells(10)
    with pytest.raises(ValueError, match=message):
        annotate(cells, pair, **given)
    assert list(cells.obs) == ["drug"] and not cells.uns


def test_a_probe_of_another_model_is_refused(probe):
    with pytest.raises(ValueError, match="the probe was fitted on vectors of the model"):
        annotate(tiny_cells(10), tiny_pair(seed=1), probe=probe)


def test_settings_that_would_change_the_vectors_are_no_arguments(pair, probe):
    with pytest.raises(TypeError, match="unknown argument of annotate 'normalize'"):
        annotate(tiny_cells(10), pair, probe=probe, normalize=False)


def test_labels_are_checked_before_cells_are_embedded(pair, monkeypatch):
    reference = labelled()
    reference.obs.loc[reference.obs_names[:3], "kind"] = np.nan
    monkeypatch.setattr("tahoe_distill.annotation.labelled.vectors_in_memory", None)
    with pytest.raises(ValueError, match="3 of 120 cells have no label"):
        annotate(tiny_cells(10), pair, reference=reference, label="kind")
    with pytest.raises(ValueError, match="obs has no column 'knid'; found drug, kind"):
        annotate(tiny_cells(10), pair, reference=reference, label="knid")


def test_the_commands(pair, tmp_path, capsys):
    student = save_pair(pair, tmp_path / "student")
    labelled().write_h5ad(tmp_path / "labelled.h5ad")
    arguments = ["--adata", str(tmp_path / "labelled.h5ad"), "--label", "kind", "--out", str(tmp_path / "probe")]
    main(["probe", "--model", str(student), *arguments, "--export", str(tmp_path / "hf")])
    told = capsys.readouterr().out
    assert "2 labels learned from 96 cells; on 24 others: macro-F1 " in told and "annotate --model" in told
    out = tmp_path / "labelled.annotated.h5ad"
    main(["annotate", "--model", str(tmp_path / "hf"), "--adata", str(tmp_path / "labelled.h5ad")])
    assert "120 cells: " in capsys.readouterr().out and "tx1_label" in anndata.read_h5ad(out).obs
    assert main(["probe", "--model", str(student), *arguments]) == 1
    assert "exists already" in capsys.readouterr().err
