"""From a SOMA experiment to vectors, and from vectors to an array that can be contributed to CELLxGENE's Census."""

import json
import shutil

import anndata
import numpy as np
import pytest
import torch

from tahoe_distill.atlas import audit, embed_atlas
from tahoe_distill.atlas.soma_output import as_bfloat16
from tahoe_distill.cells import soma_address
from tahoe_distill.cli.main import main
from tahoe_distill.embedding import embed

pa = pytest.importorskip("pyarrow")
tiledbsoma = pytest.importorskip("tiledbsoma")
FILTER = 'tissue == "lung"'


@pytest.fixture(scope="module")
def experiment(sources, tmp_path_factory):
    from tests.helpers.somas import write_soma

    return write_soma(anndata.read_h5ad(sources / "a.h5ad"), tmp_path_factory.mktemp("soma") / "cells")


@pytest.fixture(scope="module")
def expected(sources, student):
    """Vectors of the cells that are meant, of the file that the experiment was made of."""
    cells = anndata.read_h5ad(sources / "a.h5ad")
    return embed(cells[cells.obs["tissue"] == "lung"].copy(), student, copy=True, window=8)


def test_vectors_are_those_of_the_file(experiment, expected, student, tmp_path, capsys):
    out = tmp_path / "lung.zarr"
    chosen = ["--adata", str(experiment), "--obs-filter", FILTER, "--window", "8"]
    assert main(["embed", "--model", str(student), "--out", str(out), *chosen]) == 0, capsys.readouterr().err
    found = anndata.read_zarr(out)
    np.testing.assert_array_equal(found.obsm["X_tx1"], expected.obsm["X_tx1"])
    assert list(found.obs_names) == list(expected.obs_names)
    assert found.obs["soma_joinid"].tolist() == list(range(0, 40, 2))
    assert main(["audit", str(out), "--sample", "1"]) == 0
    assert "20 of 20 cells agree" in capsys.readouterr().out


def test_an_experiment_that_changes_is_seen(sources, student, tmp_path):
    from tests.helpers.somas import write_soma

    few = anndata.read_h5ad(sources / "a.h5ad")[:12].copy()
    uri = write_soma(few, tmp_path / "cells")
    embed_atlas(uri, student, tmp_path / "a.zarr")
    with tiledbsoma.open(uri).ms["RNA"].X["raw"].reopen("w") as array:
        array.metadata["note"] = "changed"
    embed_atlas(uri, student, tmp_path / "b.zarr")
    stamps = [anndata.read_zarr(tmp_path / name).uns["X_tx1"]["identities"][0] for name in ("a.zarr", "b.zarr")]
    assert stamps[0] != stamps[1]


def test_a_copy_of_an_experiment_is_refused(experiment, student, tmp_path, capsys):
    assert main(["embed", "--model", str(student), "--adata", str(experiment), "--out", str(tmp_path / "x.h5ad")]) == 1
    assert "unknown output '.h5ad'" in capsys.readouterr().err
    other = ["--adata", str(tmp_path / "x.h5ad"), "--obs-filter", FILTER, "--out", str(tmp_path / "x.zarr")]
    assert main(["embed", "--model", str(student), *other]) == 1
    assert "are for SOMA experiments" in capsys.readouterr().err


def test_shards_of_an_experiment_are_those_of_the_file(experiment, sources, tmp_path):
    from tahoe_distill.data import prepare_shards
    from tests.helpers.tiny_student import tiny_vocab

    lung = anndata.read_h5ad(sources / "a.h5ad")
    lung = lung[lung.obs["tissue"] == "lung"].copy()
    lung.write_h5ad(tmp_path / "lung.h5ad")
    settings = {"val_fraction": 0, "keep": "tissue", "chunk_cells": 8}
    for name, source in (("file", tmp_path / "lung.h5ad"), ("soma", soma_address(experiment, obs_filter=FILTER))):
        prepare_shards(source, tmp_path / name, tiny_vocab(), **settings)
    shards = [sorted((tmp_path / name / "train").rglob("*.mds")) for name in ("file", "soma")]
    assert [path.read_bytes() for path in shards[0]] == [path.read_bytes() for path in shards[1]] and len(shards[0]) > 1


@pytest.fixture(scope="module")
def contribution(experiment, student, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "lung.soma"
    about = {"title": "Lungs", "contact_name": "A. Nother", "census_version": "2025-11-08"}
    embed_atlas(soma_address(experiment, obs_filter=FILTER), student, out, about=about, window=8)
    return out


def test_a_contribution_has_the_vectors_and_the_schema(contribution, expected):
    with tiledbsoma.open(str(contribution)) as array:
        table = array.read().tables().concat().to_pandas()
        info = json.loads(array.metadata["CxG_embedding_info"])
        assert array.shape == (40, 32) and array.type == "float"
    vectors = table.pivot(index="soma_dim_0", columns="soma_dim_1", values="soma_data")
    assert vectors.index.tolist() == list(range(0, 40, 2))
    rounded = torch.from_numpy(expected.obsm["X_tx1"]).bfloat16().float().numpy()
    np.testing.assert_array_equal(vectors.to_numpy(), rounded)
    assert (vectors.to_numpy().view(np.uint32) & 0xFFFF == 0).all()
    assert info["n_embeddings"] == 20 and info["n_features"] == 32 and info["data_type"] == "obs_embedding"
    assert info["title"] == "Lungs" and info["measurement_name"] == "RNA" and info["id"] == "to be supplied"


def test_rounding_is_that_of_bfloat16():
    values = np.array([0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, -1e-40, 3.4e38, np.inf, np.nan], dtype=np.float32)
    values = np.concatenate([values, np.random.default_rng(0).normal(size=1000).astype(np.float32)])
    np.testing.assert_array_equal(as_bfloat16(values), torch.from_numpy(values).bfloat16().float().numpy())


def test_a_contribution_is_audited_and_a_forgery_found(contribution, tmp_path):
    assert not audit(contribution, sample=1).wrong
    forged = tmp_path / "lung.soma"
    shutil.copytree(contribution, forged)
    with tiledbsoma.open(str(forged), "w") as array:
        cells = {"soma_dim_0": np.full(32, 4), "soma_dim_1": np.arange(32), "soma_data": np.zeros(32, np.float32)}
        array.write(pa.table(cells))
    assert audit(forged, sample=1).wrong == (2,)


def test_what_cannot_be_a_contribution(experiment, contribution, sources, student, tmp_path):
    with pytest.raises(ValueError, match="a column 'soma_joinid' of obs"):
        embed_atlas(sources / "a.h5ad", student, tmp_path / "a.soma")
    with pytest.raises(ValueError, match="soma_joinid must ascend"):
        twice = [soma_address(experiment, obs_filter=condition) for condition in (FILTER, 'drug == "aspirin"')]
        embed_atlas(twice, student, tmp_path / "a.soma")
    with pytest.raises(ValueError, match="no option 'titel': did you mean 'title'"):
        embed_atlas(experiment, student, tmp_path / "a.soma", about={"titel": "Lungs"})
    with pytest.raises(ValueError, match="about .* is for outputs that have room for it"):
        embed_atlas(experiment, student, tmp_path / "a.zarr", about={"title": "Lungs"})
    with pytest.raises(ValueError, match="exists; pass --overwrite"):
        embed_atlas(experiment, student, contribution)
    assert not list(tmp_path.iterdir())
