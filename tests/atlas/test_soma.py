"""From a SOMA experiment to vectors, and from vectors to an array that can be contributed to CELLxGENE's Census."""

import anndata
import numpy as np
import pytest

from tahoe_distill.atlas import embed_atlas
from tahoe_distill.cells import soma_address
from tahoe_distill.cli.main import main
from tahoe_distill.embedding import embed

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
