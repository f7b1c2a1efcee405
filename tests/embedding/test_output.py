"""What embedding must not write over, through or into."""

import shutil

import anndata
import h5py
import numpy as np
import pytest

from tahoe_distill.embedding import decode, embed, embed_file
from tahoe_distill.embedding.partial import folder_of, former_of, growing_of


@pytest.fixture
def cells_file(adata, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("key", ["a/b", "", ".", "..", "../uns"])
def test_keys_that_name_no_entry_of_their_own(key, adata, pair, cells_file, tmp_path):
    for call in (
        lambda: embed(adata, pair, key_added=key),
        lambda: decode(adata, pair, key_added=key),
        lambda: embed_file(cells_file, pair, tmp_path / "out.h5ad", key_added=key),
    ):
        with pytest.raises(ValueError, match="expected a name without slashes"):
            call()
    assert not adata.obsm and not adata.layers and names(tmp_path) == ["cells.h5ad"]


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_entries_of_others_in_uns_stay(suffix, adata, pair, tmp_path):
    adata.uns["umap"] = {"params": {"a": 1.0}}
    with pytest.raises(ValueError, match="already has uns/umap, which is no note on embeddings"):
        embed(adata, pair, key_added="umap", overwrite=True)
    assert adata.uns["umap"] == {"params": {"a": 1.0}} and not adata.obsm
    path = tmp_path / f"cells.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    with pytest.raises(ValueError, match="uns/umap, which is no note"):
        embed_file(path, pair, tmp_path / f"out.{suffix}", key_added="umap", overwrite=True)
    out = embed_file(path, pair, tmp_path / f"out.{suffix}")
    embed_file(out, pair, out, overwrite=True)
    found = getattr(anndata, f"read_{suffix}")(out)
    assert found.uns["umap"]["params"]["a"] == 1.0 and "weights" in found.uns["X_tx1"]


def test_keys_of_an_anndata_need_overwrite(adata, pair):
    adata.obsm["X_tx1"] = np.ones((40, 3))
    with pytest.raises(ValueError, match="adata already has obsm/X_tx1; pass --overwrite"):
        embed(adata, pair)
    with pytest.raises(ValueError, match="already has obsm/X_tx1"):
        embed(adata, pair, copy=True)
    assert adata.obsm["X_tx1"].shape == (40, 3)
    embed(adata, pair, overwrite=True)
    embed(adata, pair, overwrite=True)
    assert adata.obsm["X_tx1"].shape == (40, 32)
    decode(adata, pair)
    with pytest.raises(ValueError, match="already has layers/tx1_expression"):
        decode(adata, pair)
    decode(adata, pair, overwrite=True)


def test_a_path_is_no_anndata_and_the_other_way_round(adata, pair, cells_file, tmp_path):
    with pytest.raises(ValueError, match="expected an AnnData, found the path .*embed_file"):
        embed(str(cells_file), pair)
    with pytest.raises(ValueError, match="expected an AnnData, found a list"):
        decode([1], pair)
    with pytest.raises(ValueError, match="path of a file, found a AnnData"):
        embed_file(adata, pair, tmp_path / "out.h5ad")


@pytest.mark.parametrize("group", ["obsm", "uns", "obsm/X_tx1"])
@pytest.mark.parametrize("kind", ["external", "soft", "broken"])
def test_nothing_is_written_through_links(group, kind, pair, cells_file, tmp_path):
    victim = tmp_path / "victim.h5"
    with h5py.File(victim, "w") as file:
        file.create_group("there")
    before = victim.read_bytes()
    with h5py.File(cells_file, "r+") as file:
        if group in file:
            del file[group]
        links = {"external": h5py.ExternalLink(victim, "/there"), "soft": h5py.SoftLink("/layers")}
        file[group] = links.get(kind, h5py.ExternalLink("nowhere.h5", "/x"))
    with pytest.raises(
        ValueError, match=f"{group} is a link to" if kind != "broken" else "is a link to|link that leads nowhere"
    ):
        embed_file(cells_file, pair, tmp_path / "out.h5ad", overwrite=True)
    assert victim.read_bytes() == before and names(tmp_path) == ["cells.h5ad", "victim.h5"]


def test_outputs_that_are_folders_or_no_stores(adata, pair, cells_file, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is a folder; expected the name of a file"):
        embed_file(cells_file, pair, tmp_path / "folder", overwrite=True)
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    adata.write_zarr(tmp_path / "cells.zarr")
    with pytest.raises(ValueError, match="is a folder"):
        embed_file(tmp_path / "cells.zarr", pair, mine, overwrite=True)
    (tmp_path / "file.zarr").touch()
    with pytest.raises(ValueError, match="is a file, while a zarr store is a folder"):
        embed_file(tmp_path / "cells.zarr", pair, tmp_path / "file.zarr", overwrite=True)
    assert names(mine) == ["thesis.txt"] and not [name for name in names(tmp_path) if name.startswith(".")]


def test_what_a_killed_copy_left_is_cleared_before_space_is_counted(pair, cells_file, tmp_path, monkeypatch):
    out = tmp_path / "out.h5ad"
    growing_of(out).write_bytes(bytes(10**6))
    seen = []

    def usage(folder):
        seen.append(growing_of(out).exists())
        return shutil._ntuple_diskusage(10**9, 0, 10**9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    embed_file(cells_file, pair, out)
    assert seen == [False] and names(tmp_path) == ["cells.h5ad", "out.h5ad"]


def test_a_store_that_was_about_to_be_replaced_comes_back(adata, pair, tmp_path):
    """A kill between the two renames leaves the only copy under another name."""
    path = tmp_path / "cells.zarr"
    adata.write_zarr(path)
    path.rename(former_of(path))
    embed_file(path, pair, path, overwrite=True)
    assert "X_tx1" in anndata.read_zarr(path).obsm and names(tmp_path) == ["cells.zarr"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("errno = 28, No space left")])
def test_a_full_disk_during_the_copy_keeps_what_is_done(error, pair, cells_file, tmp_path, monkeypatch):
    from tahoe_distill.embedding import output

    def full(*arguments):
        raise error

    out = tmp_path / "out.h5ad"
    monkeypatch.setattr(output, "_add_to_h5ad", full)
    with pytest.raises(OSError, match=r"is full: 0\.\d+ GB are needed .* are free.*carries on where it was"):
        embed_file(cells_file, pair, out)
    assert not growing_of(out).exists() and folder_of(out).exists()
    monkeypatch.undo()
    embed_file(cells_file, pair, out)
    assert names(tmp_path) == ["cells.h5ad", "out.h5ad"]


def test_the_copy_has_its_space_before_it_is_filled(pair, cells_file, tmp_path, monkeypatch):
    from tahoe_distill.embedding import output

    add, sizes = output._add_to_h5ad, []

    def adding(growing, *arguments):
        sizes.append(growing.stat().st_size)
        add(growing, *arguments)

    monkeypatch.setattr(output, "_add_to_h5ad", adding)
    out = embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert sizes[0] > cells_file.stat().st_size + 40 * 32 * 4
    assert out.stat().st_size < sizes[0] and anndata.read_h5ad(out).obsm["X_tx1"].shape == (40, 32)
