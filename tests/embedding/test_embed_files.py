"""Files in, files out: formats, resumption after a kill, refusals that leave nothing behind."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import anndata
import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.embedding import embed, embed_file
from tahoe_distill.embedding import files as files_module
from tahoe_distill.embedding.partial import folder_of
from tests.helpers.tiny_student import tiny_pair


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def cells_file(adata, tmp_path):
    adata.layers["counts"] = adata.X
    adata.uns["note"] = "kept"
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.mark.parametrize("kind", ["h5ad", "zarr", "csc", "dense", "layer"])
def test_file_gets_the_vectors_of_the_function(kind, adata, pair, reference, cells_file, tmp_path):
    suffix = "zarr" if kind == "zarr" else "h5ad"
    source, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    adata.X = {"csc": sparse.csc_matrix, "dense": lambda x: x.toarray()}.get(kind, lambda x: x)(adata.X)
    adata.write_zarr(source) if kind == "zarr" else adata.write_h5ad(source)
    assert embed_file(source, pair, out, layer="counts" if kind == "layer" else None, window=7, genes=True) == out
    found = anndata.read_zarr(out) if kind == "zarr" else anndata.read_h5ad(out)
    np.testing.assert_allclose(found.obsm["X_tx1"], reference, atol=1e-6)
    expected = embed(adata, pair, genes=True, copy=True)
    np.testing.assert_allclose(found.varm["X_tx1"], expected.varm["X_tx1"], atol=1e-6)
    assert found.uns["note"] == "kept" and found.uns["X_tx1"]["weights"] == expected.uns["X_tx1"]["weights"]
    assert found.obs_names.equals(adata.obs_names)
    assert not folder_of(out).exists() and not list(tmp_path.glob(".*.writing"))


@pytest.mark.parametrize("genes", [False, True])
def test_interrupted_run_carries_on_and_gives_the_same_file(genes, pair, cells_file, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole.h5ad", tmp_path / "broken.h5ad"
    embed_file(cells_file, pair, whole, window=6, genes=genes)
    commit, done = files_module.PartialResult.commit, []

    def dying(self, *arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        commit(self, *arguments)
        done.append(1)

    monkeypatch.setattr(files_module.PartialResult, "commit", dying)
    with pytest.raises(KeyboardInterrupt):
        embed_file(cells_file, pair, broken, window=6, genes=genes)
    assert not broken.exists()
    computed = []

    def counting(self, *arguments):
        computed.append(1)
        commit(self, *arguments)

    monkeypatch.setattr(files_module.PartialResult, "commit", counting)
    embed_file(cells_file, pair, broken, window=6, genes=genes)
    assert len(computed) == 7 - 3
    assert digest(broken) == digest(whole)


SLOW = """
import sys, time
from tahoe_distill.embedding import embed_file, partial
commit = partial.PartialResult.commit
def slowly(self, *arguments):
    commit(self, *arguments)
    time.sleep(float(sys.argv[4]))
partial.PartialResult.commit = slowly
embed_file(sys.argv[1], sys.argv[2], sys.argv[3], window=4)
"""


def test_kill_9_and_again_gives_the_same_file(student_dir, cells_file, tmp_path):
    whole, killed = tmp_path / "whole.h5ad", tmp_path / "killed.h5ad"
    embed_file(cells_file, student_dir, whole, window=4)
    process = subprocess.Popen([sys.executable, "-c", SLOW, cells_file, student_dir, killed, "0.5"])
    state = folder_of(killed) / "state.json"
    deadline = time.time() + 60
    while time.time() < deadline and not (state.exists() and json.loads(state.read_text())["windows"] >= 2):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 2 <= json.loads(state.read_text())["windows"] < 10 and not killed.exists()
    embed_file(cells_file, student_dir, killed, window=4)
    assert digest(killed) == digest(whole)


def test_partial_result_of_another_run_is_not_used(pair, cells_file, tmp_path, monkeypatch):
    out = tmp_path / "out.h5ad"
    monkeypatch.setattr(
        files_module, "write_output", lambda *arguments, **keywords: (_ for _ in ()).throw(OSError("disk gone"))
    )
    with pytest.raises(OSError, match="disk gone"):
        embed_file(cells_file, pair, out)
    monkeypatch.undo()
    other = tiny_pair(seed=1)
    with pytest.raises(ValueError, match="another run .different: weights"):
        embed_file(cells_file, other, out)
    embed_file(cells_file, other, out, overwrite=True)
    expected = embed(anndata.read_h5ad(cells_file), other, copy=True).obsm["X_tx1"]
    np.testing.assert_allclose(anndata.read_h5ad(out).obsm["X_tx1"], expected, atol=1e-6)


def test_existing_output_and_key_need_overwrite(pair, cells_file, tmp_path):
    out = tmp_path / "out.h5ad"
    embed_file(cells_file, pair, out)
    first = digest(out)
    with pytest.raises(ValueError, match="exists; pass --overwrite"):
        embed_file(cells_file, pair, out)
    with pytest.raises(ValueError, match="already has obsm/X_tx1"):
        embed_file(out, pair, tmp_path / "again.h5ad")
    assert digest(out) == first
    embed_file(out, tiny_pair(seed=1), out, overwrite=True)
    assert digest(out) != first


def spoiled(name, tmp_path, cells_file):
    adata = anndata.read_h5ad(cells_file)
    if name == "no cells":
        adata = adata[:0].copy()
    elif name == "nan":
        adata.X.data[7] = np.nan
    path = tmp_path / f"{name}.h5ad"
    adata.write_h5ad(path)
    if name == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    return path


BAD_FILES = {"no cells": "expected cells", "nan": "NaN", "truncated": "truncated or damaged"}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_cells_leave_nothing_behind(name, pair, cells_file, tmp_path):
    path = spoiled(name, tmp_path, cells_file)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=BAD_FILES[name]):
        embed_file(path, pair, tmp_path / "out.h5ad")
    assert sorted(tmp_path.iterdir()) == before


def test_bad_places(pair, cells_file, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no such file"):
        embed_file(tmp_path / "none.h5ad", pair, tmp_path / "out.h5ad")
    with pytest.raises(ValueError, match="one format"):
        embed_file(cells_file, pair, tmp_path / "out.zarr")
    with pytest.raises(ValueError, match="no such folder"):
        embed_file(cells_file, pair, tmp_path / "none" / "out.h5ad")
    with pytest.raises(ValueError, match="not written to files"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad", attentions=-1)
    with pytest.raises(ValueError, match="no layers/none"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad", layer="none")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(ValueError, match="GB free"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="cannot be written"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.h5ad"]
