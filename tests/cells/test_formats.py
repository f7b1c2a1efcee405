"""Every kind of source gives the same cells, a window at a time; what is damaged is refused by name."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.cells import expand_inputs, formats, open_cells, register_format, turning
from tahoe_distill.cells.formats import Format
from tahoe_distill.cells.memory import MemoryCells
from tests.helpers.cell_files import KINDS, write_cells, write_tenx


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind(adata, tmp_path, kind, monkeypatch):
    # Several spans and blocks, so that a row's values come from more than one of them.
    monkeypatch.setattr(turning, "_SPAN", 100)
    expected = adata.X.toarray()
    with open_cells(write_cells(adata, tmp_path, kind)) as cells:
        assert (cells.n_obs, cells.n_vars, len(cells)) == (96, 60, 96) and cells.width() > 0
        found = np.vstack([cells.rows(start, min(start + 37, 96)).toarray() for start in range(0, 96, 37)])
        assert np.array_equal(found, expected)
        assert cells.rows(5, 9).has_canonical_format
        values = np.concatenate(list(cells.values()))
        assert np.array_equal(np.sort(values[values != 0]), np.sort(adata.X.data))
        assert set(cells.sample()) == set(adata.X.data)
        names = cells.var["gene_ids"] if kind.startswith("10x") else cells.var.index
        assert list(names) == list(adata.var_names) and list(cells.obs.index) == list(adata.obs_names)
        assert np.array_equal(cells.to_anndata().X.toarray(), expected)
        assert cells.to_anndata(np.array([3, 90])).obs_names.tolist() == ["cell3", "cell90"]


@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "view", "array", "backed", "backed csc"])
def test_rows_of_an_anndata(adata, tmp_path, kind):
    expected = adata.X.toarray()
    adata.X = {"csc": adata.X.tocsc, "backed csc": adata.X.tocsc, "dense": adata.X.toarray}.get(kind, adata.X.tocsr)()
    if kind == "array":
        adata.X = sparse.csr_array(adata.X)
    elif kind == "view":
        adata, expected = adata[10:60, ::-1], expected[10:60, ::-1]
    elif kind.startswith("backed"):
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with open_cells(adata) as cells:
        assert cells.path is None and cells.n_obs == len(expected)
        for start, stop in ((0, 20), (0, len(expected)), (13, 14)):
            rows = cells.rows(start, stop)
            assert isinstance(rows, sparse.csr_matrix) and np.array_equal(rows.toarray(), expected[start:stop])
        assert np.concatenate(list(cells.values())).sum() == expected.sum()


def test_repeated_entries_are_summed_and_the_users_matrix_is_left_alone(adata, tmp_path):
    expected = adata.X.toarray()
    twice = sparse.csr_matrix((adata.shape[0], adata.shape[1]), dtype=np.float32)
    twice.indptr = adata.X.indptr * 2
    twice.indices, twice.data = np.repeat(adata.X.indices, 2), np.repeat(adata.X.data / 2, 2)
    adata.X = twice
    with open_cells(adata) as cells:
        assert np.array_equal(cells.rows(0, 96).toarray(), expected)
    assert adata.X.nnz == twice.nnz == 2 * np.count_nonzero(expected)
    adata.X = twice.T.tocsr().T
    adata.write_h5ad(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as cells:
        assert cells.storage == "csc" and np.array_equal(cells.rows(0, 96).toarray(), expected)


@pytest.mark.parametrize("kind", ["csr", "zarr", "memory"])
def test_columns_and_embeddings(adata, tmp_path, kind):
    source = adata if kind == "memory" else write_cells(adata, tmp_path, kind)
    with open_cells(source) as cells:
        assert cells.obs_column("kind").tolist() == adata.obs["kind"].tolist()
        assert np.array_equal(cells.embedding("teacher")[3:5], adata.obsm["teacher"][3:5])
        with pytest.raises(ValueError, match="obs has no column 'batch'; found kind"):
            cells.obs_column("batch")
        with pytest.raises(ValueError, match="obsm has no array 'X_pca'; found teacher"):
            cells.embedding("X_pca")


@pytest.mark.parametrize("kind", ["csr", "zarr", "memory"])
def test_layers_and_raw(adata, tmp_path, kind):
    adata.raw = adata[:, :50]
    adata.layers["twice"] = adata.X * 2
    total, kept = adata.X.sum(), adata.X[:, :50].sum()
    source = adata if kind == "memory" else write_cells(adata, tmp_path, kind)
    for layer, genes, expected in ((None, 60, total), ("twice", 60, 2 * total), ("raw", 50, kept)):
        with open_cells(source, layer=layer) as cells:
            assert cells.n_vars == len(cells.var) == genes and cells.rows(0, 96).sum() == expected
            assert cells.is_raw == (layer == "raw")
    with pytest.raises(ValueError, match="counts.*found .*raw.*twice|counts.*found twice, raw"):
        open_cells(source, layer="counts")
    adata.layers["raw"] = adata.X * 3
    with open_cells(adata if kind == "memory" else write_cells(adata, tmp_path / "..", kind), layer="raw") as cells:
        assert cells.rows(0, 96).sum() == 3 * total and not cells.is_raw


@pytest.mark.filterwarnings("ignore:.*very old version of AnnData")
def test_files_of_anndata_before_0_7(adata, tmp_path):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": adata.shape})
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(adata.X, name)
        file["obs"] = np.rec.fromarrays(
            [adata.obs_names.to_numpy("S"), np.arange(96)], dtype=[("index", "S10"), ("age", int)]
        )
        file["var"] = np.rec.fromarrays([adata.var_names.to_numpy("S")], dtype=[("index", "S20")])
    with open_cells(path) as cells:
        assert list(cells.var.index) == list(adata.var_names) and cells.obs_column("age").tolist() == list(range(96))
        assert np.array_equal(cells.rows(3, 9).toarray(), adata.X[3:9].toarray())
        cells.copy_to(tmp_path / "new.h5ad")
    assert np.array_equal(anndata.read_h5ad(tmp_path / "new.h5ad").X.toarray(), adata.X.toarray())


def test_a_10x_file_of_several_genomes_or_with_a_layer(adata, tmp_path):
    write_tenx(tmp_path / "a.h5", adata, old=True, genome="GRCh38")
    write_tenx(tmp_path / "a.h5", adata, old=True, genome="mm10")
    with pytest.raises(ValueError, match="a matrix for each of 2 genomes .GRCh38, mm10.; expected one"):
        open_cells(tmp_path / "a.h5")
    write_tenx(tmp_path / "b.h5", adata)
    with pytest.raises(ValueError, match="a 10x file has one matrix; leave layer"):
        open_cells(tmp_path / "b.h5", layer="raw")


def test_other_features_of_a_10x_file_are_named_as_such(adata, tmp_path):
    write_tenx(tmp_path / "a.h5", adata)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["matrix/features/feature_type"][-1] = b"Antibody Capture"
    with open_cells(tmp_path / "a.h5") as cells:
        assert cells.var["gene_ids"].iloc[-1] == f"Antibody Capture:{adata.var_names[-1]}"


@pytest.mark.parametrize("kind", ["10x 2", "10x 3"])
def test_a_10x_file_is_copied_as_h5ad(adata, tmp_path, kind, monkeypatch):
    from tahoe_distill.cells import base

    monkeypatch.setattr(base, "_STEP", 40)
    with open_cells(write_cells(adata, tmp_path, kind)) as cells:
        cells.copy_to(tmp_path / "copy.h5ad")
    found = anndata.read_h5ad(tmp_path / "copy.h5ad")
    assert np.array_equal(found.X.toarray(), adata.X.toarray()) and list(found.obs_names) == list(adata.obs_names)
    assert list(found.var["gene_ids"]) == list(adata.var_names)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_unreadable_files(adata, tmp_path, damage):
    whole = write_cells(adata, tmp_path, "csr").read_bytes()
    path = tmp_path / "bad.h5ad"
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"not a file of cells", "empty": b""}[damage])
    with pytest.raises(ValueError, match="bad.h5ad: cannot be read as h5ad, zarr or 10x h5"):
        open_cells(path)


DAMAGES = {
    "X/indptr": (5, 10**6, "cells 0 to 96 begin and end nowhere"),
    "X/indptr back": (5, 0, "cells 0 to 96 begin and end nowhere"),
    "X/indices": (7, 60, "cells 0 to 96 name gene 60 of 60"),
    "X/indices negative": (7, -3, "cells 0 to 96 name gene -3 of 60"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_rows(adata, tmp_path, case):
    path = write_cells(adata, tmp_path, "csr")
    place, value, message = DAMAGES[case]
    with h5py.File(path, "r+") as file:
        file[case.split()[0]][place] = value
    with open_cells(path) as cells, pytest.raises(ValueError, match=f"cells.h5ad: {message}"):
        cells.rows(0, 96)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("indptr", 5, 10**6, "indptr does not run from 0 to the"),
        ("indptr", 5, 0, "indptr does not run from 0 to the"),
        ("indices", 7, 96, "found cell number 96 in a matrix of 96 cells"),
        ("indices", 7, -1, "found cell number -1 in a matrix of 96 cells"),
    ],
)
def test_damaged_columns(adata, tmp_path, name, place, value, message):
    path = write_cells(adata, tmp_path, "csc")
    with h5py.File(path, "r+") as file:
        file[f"X/{name}"][place] = value
    with open_cells(path) as cells, pytest.raises(ValueError, match=f"cells.h5ad: {message}"):
        cells.rows(0, 10)


def test_parts_that_do_not_fit_together(adata, tmp_path):
    path = write_cells(adata, tmp_path, "csr")
    with h5py.File(path, "r+") as file:
        names = file["obs/_index"][:90]
        del file["obs/_index"]
        file["obs/_index"] = names
    with pytest.raises(ValueError, match="X has 96 rows, but obs has 90 cells"):
        open_cells(path)
    anndata.AnnData(obs=adata.obs, var=adata.var).write_h5ad(path)
    with pytest.raises(ValueError, match="has no X; found no matrix at all"):
        open_cells(path)


def test_sources_of_no_format(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["something"] = [1]
    with pytest.raises(ValueError, match="is of no known format .* found something"):
        open_cells(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="none.h5ad: no such file"):
        open_cells(tmp_path / "none.h5ad")
    with pytest.raises(ValueError, match="expected an AnnData or the path of a file of cells, found a list"):
        open_cells([1])


def test_a_format_of_ones_own(adata, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "FORMATS", dict(formats.FORMATS))
    np.savez(tmp_path / "cells.npz", counts=adata.X.toarray())

    def read(source, layer, turned):
        return MemoryCells(anndata.AnnData(np.load(source)["counts"]), layer)

    register_format(Format("npz", lambda source: str(source).endswith(".npz"), read))
    with open_cells(tmp_path / "cells.npz") as cells:
        assert np.array_equal(cells.rows(0, 96).toarray(), adata.X.toarray())
    with pytest.raises(ValueError, match="'npz' is registered already"):
        register_format(Format("npz", bool, read))


def test_expand_inputs(tmp_path):
    for name in ("b.h5ad", "a.h5ad"):
        (tmp_path / name).touch()
    found = expand_inputs([tmp_path / "*.h5ad", tmp_path / "b.h5ad"])
    assert found == [str(tmp_path / "a.h5ad"), str(tmp_path / "b.h5ad")]
    with pytest.raises(FileNotFoundError, match="nothing.h5ad: found no such file"):
        expand_inputs(tmp_path / "nothing.h5ad")
    with pytest.raises(ValueError, match="no input"):
        expand_inputs([])
