"""Every kind of file gives the same cells, a slice at a time."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.data import csc
from tahoe_distill.data.sources import expand_inputs, open_cells


def write_tenx(path, adata):
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        matrix = sparse.csr_matrix(adata.X)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(adata.shape[::-1])
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        features = group.create_group("features")
        features["id"] = np.array(adata.var_names, dtype="S")
        features["name"] = np.array(adata.var["gene_name"], dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * (adata.n_vars - 1) + ["Antibody Capture"], dtype="S")


def write(adata, folder, kind):
    adata = adata.copy()
    path = folder / f"cells.{'zarr' if kind == 'zarr' else 'h5' if kind == '10x' else 'h5ad'}"
    if kind == "10x":
        write_tenx(path, adata)
        return path
    if kind == "dense":
        adata.X = adata.X.toarray()
    elif kind == "csc":
        adata.X = adata.X.tocsc()
    (adata.write_zarr if kind == "zarr" else adata.write_h5ad)(path)
    return path


@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "zarr", "10x"])
def test_rows_of_every_kind(adata, tmp_path, kind, monkeypatch):
    # Several spans, so that a row's values come from more than one of them.
    monkeypatch.setattr(csc, "_SPAN", 100)
    expected = adata.X.toarray()
    with open_cells(write(adata, tmp_path, kind)) as source:
        assert len(source) == adata.n_obs and source.width() > 0
        found = np.vstack([source.rows(start, min(start + 37, 96)).toarray() for start in range(0, 96, 37)])
        assert np.array_equal(found, expected)
        names = source.var["gene_ids"] if kind == "10x" else source.var.index
        assert list(names)[:-1] == list(adata.var_names)[:-1]
        if kind == "10x":
            assert names.iloc[-1].startswith("Antibody Capture:")


@pytest.mark.parametrize("kind", ["csr", "zarr"])
def test_columns_and_embeddings(adata, tmp_path, kind):
    with open_cells(write(adata, tmp_path, kind)) as source:
        assert source.obs_column("cell_type").tolist() == adata.obs["cell_type"].tolist()
        assert np.array_equal(source.embedding("teacher")[3:5], adata.obsm["teacher"][3:5])
        with pytest.raises(ValueError, match="obs has no column 'batch'; found cell_type, donor, age, score"):
            source.obs_column("batch")
        with pytest.raises(ValueError, match="obsm has no array 'X_pca'; found teacher"):
            source.embedding("X_pca")


def test_layers_and_raw(adata, tmp_path):
    adata = adata.copy()
    adata.raw = adata[:, :50]
    adata.layers["twice"] = adata.X * 2
    adata.write_h5ad(tmp_path / "a.h5ad")
    for layer, shape, total in ((None, (96, 60), 1), ("twice", (96, 60), 2), ("raw", (96, 50), None)):
        with open_cells(tmp_path / "a.h5ad", layer) as source:
            assert source.matrix.shape == shape and len(source.var) == shape[1]
            if total:
                assert source.rows(0, 96).sum() == total * adata.X.sum()
    with (
        pytest.raises(ValueError, match="has no layers/counts; found X, raw/X, layers/twice"),
        open_cells(tmp_path / "a.h5ad", "counts"),
    ):
        pass


def test_a_file_without_x(tmp_path, adata):
    anndata.AnnData(obs=adata.obs, var=adata.var).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ValueError, match="has no X; found no matrix at all"), open_cells(tmp_path / "a.h5ad"):
        pass


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_files(h5ad, tmp_path, damage):
    whole = h5ad.read_bytes()
    path = tmp_path / "bad.h5ad"
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not a file of cells", "empty": b""}[damage])
    with pytest.raises(ValueError, match="bad.h5ad: cannot be read as h5ad, zarr or 10x h5"), open_cells(path):
        pass


def test_expand_inputs(tmp_path):
    for name in ("b.h5ad", "a.h5ad"):
        (tmp_path / name).touch()
    found = expand_inputs([tmp_path / "*.h5ad", tmp_path / "b.h5ad"])
    assert found == [str(tmp_path / "a.h5ad"), str(tmp_path / "b.h5ad")]
    with pytest.raises(FileNotFoundError, match="nothing.h5ad: found no such file"):
        expand_inputs(tmp_path / "nothing.h5ad")
    with pytest.raises(ValueError, match="no input"):
        expand_inputs([])
