"""Expected closeness to the teacher: its coverage on other cells, its file, and what does not fit."""

import json

import anndata
import numpy as np
import pytest

from tahoe_distill.embedding import embed, embed_file, examine
from tahoe_distill.embedding.confidence import COLUMNS, Confidence, fit_confidence
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


def make_views(count, seed, width=6):
    """A student that is further from its teacher in one direction of space, and the more the fewer genes it sees."""
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(count, width))
    noise = rng.normal(size=(count, width))
    views, genes = [], []
    for share in (0.0, 0.5):
        spread = (0.2 + 0.6 * (teacher[:, :1] > 0)) * (1 + share)
        views.append(teacher + spread * noise)
        genes.append(np.full(count, 1000 * (1 - share)))
    return views, genes, teacher


def closeness(a, b):
    a, b = a - b.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def fitted():
    views, genes, teacher = make_views(400, seed=0)
    return fit_confidence(views, genes, teacher, hidden=(0.0, 0.5))


def test_nine_of_ten_other_cells_lie_above_their_bound(fitted):
    views, genes, teacher = make_views(4000, seed=1)
    expected, low = fitted.predict(views[0], genes[0])
    true = closeness(views[0], teacher)
    assert np.mean(true >= low) == pytest.approx(0.9, abs=0.03)
    assert expected.mean() == pytest.approx(true.mean(), abs=0.05)
    bad = teacher[:, 0] > 0
    assert expected[~bad].mean() - expected[bad].mean() > 0.05
    assert fitted.predict(views[1], genes[1])[0].mean() < expected.mean() - 0.02


def test_the_curve_is_what_hiding_costs(fitted):
    assert fitted.closeness[0] > fitted.closeness[1]
    assert fitted.cost_of_hiding(0.0) == 0
    assert fitted.cost_of_hiding(0.25) == pytest.approx((fitted.closeness[0] - fitted.closeness[1]) / 2)


def test_the_length_of_a_vector_does_not_count_and_the_file_keeps_all(fitted, tmp_path):
    (tmp_path / "confidence.json").write_text(fitted.to_text())
    again = Confidence.from_file(tmp_path / "confidence.json")
    views, genes, _ = make_views(20, seed=2)
    expected = fitted.predict(views[0], genes[0])
    np.testing.assert_array_equal(again.predict(views[0], genes[0]), expected)
    np.testing.assert_allclose(again.predict(3 * views[0], genes[0]), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="fitted on vectors of 6 values, found 5"):
        again.predict(views[0][:, :5], genes[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(version=2),
        lambda content: content.update(weights=[1.0]),
        lambda content: content.pop("margin"),
        lambda content: content.update(closeness=["high", "low"]),
        lambda content: content.update(more=1),
    ],
)
def test_a_damaged_file_is_named(fitted, tmp_path, change):
    content = json.loads(fitted.to_text())
    change(content)
    (tmp_path / "confidence.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="confidence.json is damaged"):
        Confidence.from_file(tmp_path / "confidence.json")


def test_too_few_cells_and_other_spaces_are_refused():
    views, genes, teacher = make_views(20, seed=0)
    with pytest.raises(ValueError, match="at least 50 held-out cells, found 20"):
        fit_confidence(views, genes, teacher, hidden=(0.0, 0.5))
    views, genes, teacher = make_views(80, seed=0)
    with pytest.raises(ValueError, match="embed into 6 and 4 values"):
        fit_confidence(views, genes, teacher[:, :4], hidden=(0.0, 0.5))


@pytest.fixture
def folder(tmp_path):
    """A tiny student with a confidence of its own."""
    pair = tiny_pair()
    save_pair(pair, tmp_path / "student")
    width = pair[0].config.embedding_size
    views, genes, teacher = make_views(100, seed=0, width=width)
    found = fit_confidence(views, genes, teacher, hidden=(0.0, 0.5))
    (tmp_path / "student" / "confidence.json").write_text(found.to_text())
    return tmp_path / "student"


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_file_and_memory_write_the_same_columns(folder, tmp_path, suffix):
    cells = tiny_cells()
    cells.obs["kind"] = "a"
    path, out = tmp_path / f"cells{suffix}", tmp_path / f"out{suffix}"
    (cells.write_h5ad if suffix == ".h5ad" else cells.write_zarr)(path)
    embed_file(path, folder, out, confidence=True)
    written = (anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr)(out)
    inside = embed(cells, folder, confidence=True, copy=True)
    assert list(written.obs.columns) == [*cells.obs.columns, "tx1_fidelity", "tx1_fidelity_low"]
    for name in COLUMNS:
        np.testing.assert_allclose(written.obs[name], inside.obs[name], atol=1e-6)
    assert (inside.obs["tx1_fidelity_low"] <= inside.obs["tx1_fidelity"]).all()
    with pytest.raises(ValueError, match="already has obs/tx1_fidelity, obs/tx1_fidelity_low"):
        embed(inside, folder, confidence=True, key_added="X_other")


def test_a_model_without_one_says_what_to_do(folder):
    (folder / "confidence.json").unlink()
    with pytest.raises(ValueError, match="has no confidence.json, which an export writes"):
        embed(tiny_cells(), folder, confidence=True)
    with pytest.raises(ValueError, match="give the model's folder or hub id"):
        embed(tiny_cells(), tiny_pair(), confidence=True)


def test_doctor_says_what_unknown_genes_cost(folder):
    cells = tiny_cells()
    findings = {finding.topic: finding for finding in examine(cells, folder, estimate=False)}
    assert "of the expressed genes are not in the vocabulary" in findings["fidelity"].text
