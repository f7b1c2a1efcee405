"""An indexed atlas is searched, exactly or nearly so; what does not belong together is refused."""

import csv
import json
import shutil

import anndata
import numpy as np
import pytest

from tahoe_distill.atlas import build_index, embed_atlas, index, search
from tahoe_distill.atlas.index import Index
from tahoe_distill.cli.main import main
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture(scope="module")
def atlas(plain, tmp_path_factory):
    """A copy of the atlas that tests may break, with its index."""
    out = tmp_path_factory.mktemp("atlas") / "atlas.zarr"
    shutil.copytree(plain, out)
    build_index(out)
    return out


@pytest.fixture
def indexed(atlas):
    return atlas.with_name("atlas.zarr.index")


@pytest.fixture
def query(tmp_path):
    cells = tiny_cells(20, seed=1)
    cells.write_h5ad(tmp_path / "query.h5ad")
    return tmp_path / "query.h5ad"


def by_hand(vectors, queries, k):
    """Numbers and cosines of the nearest, one query at a time."""
    cosines = queries @ vectors.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def test_cells_of_the_atlas_find_themselves(atlas, indexed, sources, student):
    stored = anndata.read_zarr(atlas)
    found = search(indexed, sources / "a.h5ad", student, k=5)
    expected = by_hand(stored.obsm["X_tx1"], stored.obsm["X_tx1"][:40], 5)
    np.testing.assert_allclose(1 - found.distances, expected[1], atol=1e-5)
    assert (found.rows[:, 0] == np.arange(40)).all() and list(found.cells) == list(stored.obs_names[:40])
    labels = stored.obs["drug"].astype(object).to_numpy()
    assert (found.labels["drug"] == labels[found.rows]).all()
    assert found.labels["tissue"][found.rows >= 40].tolist() == [None] * int((found.rows >= 40).sum())


def test_the_majority_is_of_the_nearest():
    from tahoe_distill.atlas.searching import SearchResult

    kinds = np.array([["B", "T", "T"], ["B", "T", None], [None, None, None]], dtype=object)
    found = SearchResult(np.array(["a", "b", "c"]), np.zeros((3, 3), int), np.zeros((3, 3)), {"kind": kinds})
    assert found.majority()["kind"].tolist() == ["T", "B", None]
    np.testing.assert_allclose(found.majority()["kind_share"], [2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_faiss_finds_what_an_exact_search_does(atlas, kind, tmp_path):
    pytest.importorskip("faiss")
    vectors = anndata.read_zarr(atlas).obsm["X_tx1"]
    folder = build_index(atlas, tmp_path / "index", kind=kind)
    expected, cosines = by_hand(vectors, vectors, 3)
    rows, found = Index(folder).nearest(vectors, 3)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(rows, expected)]) > 2.9
    np.testing.assert_allclose(found[:, 0], cosines[:, 0], atol=2e-3)
    np.testing.assert_allclose(Index(folder, exact=True).nearest(vectors, 3)[1], cosines, atol=1e-5)
    (folder / index.FAISS).write_bytes((folder / index.FAISS).read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="vectors.faiss is damaged"):
        Index(folder)
    Index(folder, exact=True)


def test_without_faiss_an_index_is_exact(atlas, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    monkeypatch.setattr(index, "_GRAPH", 10)
    assert Index(build_index(atlas, tmp_path / "index")).notes["kind"] == "flat"
    assert "faiss is not installed: pip install '.[search]'" in caplog.text
    with pytest.raises(ImportError, match="kind hnsw was asked for"):
        build_index(atlas, tmp_path / "other", kind="hnsw")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_pieces_of_the_atlas_add_up(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, queries = (index.unit(rng.normal(size=(n, 8)), "x") for n in (50, 9))
    monkeypatch.setattr(index, "_STEP", 7)
    expected = by_hand(vectors, queries, 6)
    for found, wanted in zip(index._exact(vectors, queries, 6), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_command_line(atlas, query, student, tmp_path, capsys):
    assert main(["index", str(atlas), "--labels", "drug", "--out", str(tmp_path / "index")]) == 0
    assert "86 vectors of 32 values, flat; labels: drug" in capsys.readouterr().out
    command = ["search", "--index", str(tmp_path / "index"), "--adata", str(query), "--model", str(student)]
    assert main([*command, "-k", "3", "--out", str(tmp_path / "nearest.csv")]) == 0
    assert "20 cells, 3 nearest each" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "nearest.csv").open()))
    assert len(rows) == 60 and [row["rank"] for row in rows[:3]] == ["1", "2", "3"]
    assert {"cell", "atlas_row", "distance", "drug", "drug_majority", "drug_share"} == set(rows[0]) - {"rank"}
    assert main([*command, "--out", str(tmp_path / "nearest.csv")]) == 1
    assert "exists; pass --overwrite" in capsys.readouterr().err


def test_what_does_not_belong_together(indexed, query, student, sources, tmp_path, caplog):
    wide = save_pair(tiny_pair(encoder="set", set_pools=["mean"], projection_dim=16), tmp_path / "wide")
    with pytest.raises(ValueError, match="vectors of 16 values, but .* has 32"):
        search(indexed, query, wide)
    other = save_pair(tiny_pair(encoder="set", set_pools=["mean"], seed=5), tmp_path / "other")
    with pytest.raises(ValueError, match="is no student of"):
        search(indexed, query, other)
    (other / "training_hyperparameters.json").write_text(json.dumps({"model": {"teacher": "elsewhere"}}))
    assert search(indexed, query, other, force=True).rows.shape == (20, 10)
    assert "does not say who its teacher is" in caplog.text and "is a student of elsewhere" in caplog.text
    with pytest.raises(ValueError, match="k is 87; expected 1 to 86"):
        search(indexed, query, student, k=87, force=True)


def test_what_is_no_index_or_a_broken_one(atlas, indexed, sources, student, tmp_path):
    with pytest.raises(ValueError, match="is no index"):
        Index(atlas)
    with pytest.raises(FileExistsError):
        build_index(atlas)
    with pytest.raises(ValueError, match="unknown column of obs 'tisue'; did you mean 'tissue'"):
        build_index(atlas, tmp_path / "x", labels=["tisue"])
    shutil.copytree(indexed, tmp_path / "atlas.zarr.index")
    with open(tmp_path / "atlas.zarr.index" / index.VECTORS, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match="vectors.npy is damaged: 1000 bytes"):
        Index(tmp_path / "atlas.zarr.index")
    shutil.rmtree(tmp_path / "atlas.zarr.index")
    shutil.copytree(indexed, tmp_path / "atlas.zarr.index")
    Index(tmp_path / "atlas.zarr.index")
    embed_atlas(sources / "a.h5ad", student, tmp_path / "atlas.zarr")
    with pytest.raises(ValueError, match="of other vectors than .* has now"):
        Index(tmp_path / "atlas.zarr.index")
