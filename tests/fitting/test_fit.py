"""A fit: its closed form, what training adds, what it writes, and what it refuses."""

import json
import random
import subprocess
import sys
from dataclasses import replace

import anndata
import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

import tahoe_distill
from tahoe_distill import embed
from tahoe_distill.cells import open_cells
from tahoe_distill.embedding import calibration, confidence
from tahoe_distill.evaluation.baselines import PENALTIES
from tahoe_distill.fitting import labelled
from tahoe_distill.fitting import refine as refining
from tahoe_distill.fitting.cells import count_cells, split
from tahoe_distill.fitting.closed_form import ridge_vectors
from tahoe_distill.fitting.fit import fit_student
from tahoe_distill.fitting.folder import write_fitted
from tahoe_distill.fitting.labelled import FitSettings
from tahoe_distill.fitting.targets import Given
from tahoe_distill.hub.card import card_of_folder
from tahoe_distill.hub.export import verify_model_folder
from tahoe_distill.metrics.embeddings import knn_overlap
from tests.fitting.conftest import QUICK, STUDENT


@pytest.fixture
def given(fit_cells):
    with open_cells(fit_cells) as cells:
        return count_cells(cells, None), Given.from_obsm(cells, "X_kind")


def test_ridge_is_that_of_log_counts(counted):
    vectors = np.random.default_rng(0).normal(size=(len(counted), 3)).astype(np.float32)
    train, judged = counted.take(np.arange(100)), counted.take(np.arange(100, 140))
    x = counted.counts.toarray()
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)
    expected = RidgeCV(alphas=PENALTIES).fit(x[:100], vectors[:100]).predict(x[100:])
    np.testing.assert_allclose(ridge_vectors(train, vectors[:100], judged, seed=0), expected, rtol=1e-3, atol=1e-4)


def test_the_closed_form_alone_says_more_than_chance(given):
    fitted = fit_student(*given, STUDENT, settings=replace(QUICK, steps=0))
    assert fitted.metrics["eval/centered_cosine"] == fitted.metrics["closed_form/centered_cosine"] > 0.8
    assert fitted.metrics["ridge/centered_cosine"] > 0.8
    # Nothing but the linear map contributes yet.
    assert not fitted.model.gene_set_encoder.head.out_proj.weight.any()


def test_refining_lowers_the_loss_and_leaves_random_numbers_alone(counted, teacher):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    fitted = fit_student(counted, teacher, STUDENT, settings=replace(QUICK, steps=150))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert fitted.metrics["eval/centered_cosine"] > fitted.metrics["closed_form/centered_cosine"]
    assert not fitted.model.training


def test_a_student_of_two_dimensions_learns_through_a_map(given):
    student = {**STUDENT, "projection_dim": 2}
    fitted = fit_student(*given, student, settings=replace(QUICK, steps=60))
    assert fitted.model.config.embedding_size == 2
    # Two principal components of six coordinates tell the kinds before any training.
    assert 0.7 < fitted.metrics["closed_form/knn_overlap"] <= fitted.metrics["eval/knn_overlap"]
    assert "eval/centered_cosine" not in fitted.metrics


def test_the_same_seed_gives_the_same_student(counted, teacher):
    first, second = (fit_student(counted, teacher, STUDENT, settings=QUICK) for _ in range(2))
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name
    assert first.metrics == second.metrics


def test_the_numbers_are_those_of_embed_on_the_held_out_cells(fit_cells, counted, teacher):
    fitted = fit_student(counted, teacher, STUDENT, settings=QUICK)
    tahoe_distill.embed(fit_cells, fitted, key_added="mine", normalize=False)
    tahoe_distill.embed(fit_cells, teacher, key_added="theirs", normalize=False)
    _, judged = split(len(counted), QUICK.held_out, QUICK.seed)
    rows = counted.rows[judged]
    pair = (torch.from_numpy(fit_cells.obsm[key][rows]) for key in ("mine", "theirs"))
    assert fitted.metrics["eval/knn_overlap"] == pytest.approx(float(knn_overlap(*pair)), abs=1e-3)


def test_the_vocabulary_is_that_of_the_genes_seen(fit_cells, small_vocab, teacher):
    silent = fit_cells.copy()
    silent.X = silent.X.multiply(np.arange(40) < 30).tocsr()
    with open_cells(silent) as cells:
        fitted = fit_student(count_cells(cells, small_vocab), teacher, STUDENT, settings=QUICK)
    assert [token for token in fitted.processor.vocab.tokens if token[0] != "<"] == list(silent.var_names[:30])
    assert fitted.model.config.context_length == len(fitted.processor.vocab)


def test_a_written_student_loads_alone_and_its_card_says_what_it_is(given, fit_cells, tmp_path):
    np.save(tmp_path / "mine.npy", given[1].vectors)
    fitted = tahoe_distill.distill(
        fit_cells, student=STUDENT, vectors=tmp_path / "mine.npy", out=tmp_path / "hf", settings=QUICK, progress=False
    )
    assert fitted.folder == tmp_path / "hf" and verify_model_folder(fitted.folder) < 1e-5
    card = (fitted.folder / "README.md").read_text()
    assert "distilled from given vectors (`mine.npy`, 6 coordinates)" in card
    assert "Tahoe-x1" not in card
    assert "evaluation: 20 cells" in card and "`ridge/knn_overlap`" in card
    assert card == card_of_folder(fitted.folder)
    assert set(json.loads((fitted.folder / "metrics.json").read_text())) == {"eval/knn_overlap", "eval/centered_cosine"}
    with pytest.raises(FileExistsError, match="exists already"):
        tahoe_distill.distill(fit_cells, student=STUDENT, teacher_key="X_kind", out=tmp_path / "hf")


def test_it_needs_nothing_of_the_training_stack(fit_cells, tmp_path):
    fit_cells.write_h5ad(tmp_path / "cells.h5ad")
    cells, out = str(tmp_path / "cells.h5ad"), str(tmp_path / "hf")
    code = (
        "import sys\nfor name in ('composer', 'llmfoundry', 'streaming'): sys.modules[name] = None\n"
        "from tahoe_distill.cli.main import main\n"
        f"sys.exit(main(['fit', {cells!r}, '--teacher-key', 'X_kind', '--student', 'static-tiny', '--out', {out!r},"
        " '--views', '2', '--steps', '3', '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 held-out cells" in done.stdout and "ridge from log-counts" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": "tiny"}, "students without attention .static-tiny"),
        ({"student": {**STUDENT, "genes": "genes.txt"}}, "genes, init_cells and drug_token are for a run"),
        ({"student": {**STUDENT, "projection_dim": 7}}, "projection_dim is 7, .* have 6 coordinates"),
        ({"objectives": {"gene": 1.0}}, "'gene'|gene "),
        ({"objectives": {"hidden": 1.0}}, "hidden"),
        ({"objectives": {"cosin": 1.0}}, "did you mean 'cosine'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        fit_student(*given, **{"student": STUDENT, "settings": QUICK, **options})


def test_a_source_of_vectors_is_needed_and_no_two(fit_cells):
    with pytest.raises(ValueError, match="expected a teacher, its vectors .* found none"):
        tahoe_distill.distill(fit_cells)
    with pytest.raises(ValueError, match="expected one source of vectors, found .*--teacher-key X_kind"):
        tahoe_distill.distill(fit_cells, vectors=np.zeros((140, 6)), teacher_key="X_kind")


def test_a_teacher_beside_its_vectors_labels_no_more_than_the_views(fit_cells, teacher, monkeypatch):
    adata = fit_cells.copy()
    tahoe_distill.embed(adata, (teacher.model, teacher.processor), key_added="X_own", normalize=False)
    settings = replace(QUICK, steps=0, views=3)
    expected = tahoe_distill.distill(adata, teacher, STUDENT, settings=settings, progress=False)
    counts = []
    original = labelled.label
    monkeypatch.setattr(
        labelled,
        "label",
        lambda teacher, cells, count, *, bar: counts.append(count) or original(teacher, cells, count, bar=bar),
    )
    found = tahoe_distill.distill(adata, teacher, STUDENT, teacher_key="X_own", settings=settings, progress=False)
    # 126 cells are learned from and 14, or 20 at least, held out: 32 to compare, and two made-up views of 120.
    assert counts == [32, 240]
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-3)
    assert found.record["fit"]["known"] == "obsm['X_own']"


def test_vectors_of_another_model_are_refused_beside_a_teacher(fit_cells, teacher):
    other = np.random.default_rng(0).normal(size=(140, 16))
    with pytest.raises(ValueError, match="not what this teacher gives to the same cells .mean cosine"):
        tahoe_distill.distill(fit_cells, teacher, STUDENT, vectors=other, settings=QUICK, progress=False)
    adata = tahoe_distill.embed(fit_cells, (teacher.model, teacher.processor), copy=True)
    with pytest.raises(ValueError, match="have a mean length of 1, .*embed with normalize=False"):
        tahoe_distill.distill(adata, teacher, STUDENT, teacher_key="X_tx1", settings=QUICK, progress=False)
    with pytest.raises(ValueError, match="have 5 coordinates, the teacher's 16"):
        tahoe_distill.distill(fit_cells, teacher, STUDENT, vectors=other[:, :5], settings=QUICK, progress=False)
    with pytest.raises(ValueError, match="prepare shards with them"):
        tahoe_distill.distill(fit_cells, teacher, "tiny", vectors=other, out="student", settings=QUICK)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0.0}, {"batch_size": 1}, {"device": "tpu"}, {"context": 0}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FitSettings(**wrong)


def test_without_accelerate_the_extra_is_named(given, monkeypatch):
    monkeypatch.setattr(refining.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"\.\[fit\]"):
        fit_student(*given, STUDENT, settings=QUICK)
    assert fit_student(*given, STUDENT, settings=replace(QUICK, steps=0)).metrics


def test_logarithms_are_fitted_without_views(fit_cells):
    logged = anndata.AnnData(fit_cells.X.log1p(), var=fit_cells.var, obsm=dict(fit_cells.obsm))
    settings = replace(QUICK, views=None)
    fitted = tahoe_distill.distill(logged, student=STUDENT, teacher_key="X_kind", settings=settings, progress=False)
    assert fitted.record["fit"]["views"] == 1


def test_a_fit_tells_how_far_to_trust_its_vectors(fit_cells, given, tmp_path, monkeypatch):
    few = fit_student(*given, STUDENT, settings=replace(QUICK, steps=0))
    assert few.confidence is None
    monkeypatch.setattr(calibration, "MIN_CELLS", 10)
    monkeypatch.setattr(confidence, "MIN_CELLS", 10)
    fitted = fit_student(*given, STUDENT, settings=replace(QUICK, steps=0, held_out=0.3))
    found = fitted.confidence
    assert found.cells == 42 and found.hidden == calibration.HIDDEN
    # Of the whole cells it is what the fit itself has measured, around their own mean.
    held_out = split(140, 0.3, QUICK.seed)[1]
    teacher = given[1].vectors[held_out]
    mine = embed(fit_cells[held_out], fitted, copy=True, normalize=False).obsm["X_tx1"]
    a, b = (x - teacher.mean(axis=0) for x in (mine, teacher))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.closeness[0] == pytest.approx(cosines.mean(), abs=1e-4)
    assert found.closeness[-1] < found.closeness[0]
    written = write_fitted(fitted, tmp_path / "student").folder
    assert {"tx1_fidelity", "tx1_fidelity_low"} <= set(embed(fit_cells, written, copy=True, confidence=True).obs)
