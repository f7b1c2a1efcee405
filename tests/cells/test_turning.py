"""Matrices stored by columns: turned around once a run, through files, into exactly the rows of the matrix."""

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse

from tahoe_distill.cells import matrix, open_cells, turning
from tahoe_distill.data.preparing import prepare
from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.embedding import embed, embed_file
from tahoe_distill.embedding import files as files_module
from tahoe_distill.models import Tx1Config, Tx1Processor
from tests.helpers.cell_files import write_cells
from tests.helpers.tiny_student import randomised


@pytest.fixture
def turns(monkeypatch):
    """Folders that rows were written to, one entry a time."""
    folders, turn = [], turning._turn

    def counted(node, shape, folder, where):
        folders.append(folder)
        turn(node, shape, folder, where)

    monkeypatch.setattr(turning, "_turn", counted)
    return folders


@pytest.fixture
def pair(vocab):
    torch.manual_seed(0)
    config = Tx1Config(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, context_length=64
    )
    return randomised(config, 0.1), Tx1Processor(vocab, max_length=64)


@pytest.mark.parametrize("span", [1, 7, 1000, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
def test_the_rows_of_scipy(tmp_path, monkeypatch, span, dtype):
    monkeypatch.setattr(turning, "_SPAN", span)
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.3, (23, 17)) * (rng.random((23, 1)) < 0.8)
    columns = sparse.csc_matrix(counts.astype(dtype))
    node = {name: getattr(columns, name) for name in ("data", "indices", "indptr")}
    found = turning.turned_rows(node, columns.shape, tmp_path / "rows", where="f")
    expected = columns.tocsr()
    for name in ("data", "indices"):
        assert found[name].shape == (columns.nnz,)
        np.testing.assert_array_equal(found[name][0 : columns.nnz], getattr(expected, name))
    np.testing.assert_array_equal(found["indptr"], expected.indptr)
    assert found["data"].dtype == dtype
    assert {path.name for path in (tmp_path / "rows").iterdir()} == {"data", "indices", "indptr.npy"}


def test_no_values_at_all(tmp_path):
    columns = sparse.csc_matrix((5, 3), dtype=np.float32)
    node = {name: getattr(columns, name) for name in ("data", "indices", "indptr")}
    found = turning.turned_rows(node, (5, 3), tmp_path / "rows", where="f")
    assert found["data"][0:0].size == 0 and found["indptr"].tolist() == [0] * 6


@pytest.mark.parametrize("workers", [1, 2])
def test_once_a_preparation(adata, vocab, tmp_path, turns, workers):
    options = {"val_fraction": 0.25, "chunk_cells": 10, "workers": workers}
    prepare_shards(write_cells(adata, tmp_path, "csr"), tmp_path / "rows", vocab, **options)
    assert not turns
    prepare_shards(write_cells(adata, tmp_path, "csc"), tmp_path / "columns", vocab, **options)
    assert len(turns) == 1
    for name in ("train/index.json", "val/index.json"):
        assert (tmp_path / "rows" / name).read_bytes() == (tmp_path / "columns" / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_preparation_finds_its_rows_again(adata, vocab, tmp_path, turns, monkeypatch):
    path, written = write_cells(adata, tmp_path, "csc"), []

    def dying(chunk, progress=None):
        if len(written) == 3:
            raise OSError("disk gone")
        written.append(chunk)
        return write(chunk, progress)

    write = prepare.write_chunk
    monkeypatch.setattr(prepare, "write_chunk", dying)
    with pytest.raises(OSError, match="disk gone"):
        prepare_shards(path, tmp_path / "out", vocab, chunk_cells=10)
    monkeypatch.setattr(prepare, "write_chunk", write)
    prepare_shards(path, tmp_path / "out", vocab, chunk_cells=10)
    assert len(turns) == 1 and not list(tmp_path.glob(".*"))


def test_once_an_embedding_and_not_of_another_input(adata, pair, tmp_path, turns, monkeypatch):
    path, out = write_cells(adata, tmp_path, "csc"), tmp_path / "out.h5ad"
    expected = embed(adata, pair, copy=True).obsm["X_tx1"]
    with monkeypatch.context() as patch:
        patch.setattr(files_module.PartialResult, "commit", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            embed_file(path, pair, out, window=10)
    assert len(turns) == 1
    embed_file(path, pair, out, window=10)
    assert len(turns) == 1 and not list(tmp_path.glob(".*"))
    np.testing.assert_array_equal(
        anndata.read_h5ad(out).obsm["X_tx1"], embed(adata, pair, window=10, copy=True).obsm["X_tx1"]
    )
    np.testing.assert_allclose(anndata.read_h5ad(out).obsm["X_tx1"], expected, atol=1e-6)


def test_a_backed_matrix_goes_through_temporary_files(adata, pair, tmp_path, turns, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(matrix.tempfile, "tempdir", None)
    (tmp_path / "scratch").mkdir()
    backed = anndata.read_h5ad(write_cells(adata, tmp_path, "csc"), backed="r")
    embed(backed, pair)
    np.testing.assert_array_equal(backed.obsm["X_tx1"], embed(adata, pair, copy=True).obsm["X_tx1"])
    assert len(turns) == 1 and turns[0].is_relative_to(tmp_path / "scratch")
    assert not list((tmp_path / "scratch").iterdir())


def test_rows_that_are_there_are_taken(adata, tmp_path, turns):
    path = write_cells(adata, tmp_path, "csc")
    for _ in range(2):
        with open_cells(path, turned=tmp_path / "rows") as cells:
            assert np.array_equal(cells.rows(4, 9).toarray(), adata.X[4:9].toarray())
    assert len(turns) == 1 and (tmp_path / "rows").is_dir()
