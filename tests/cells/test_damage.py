"""Files whose parts do not fit together, or are something else, are refused by name before anything is done."""

import anndata
import h5py
import numpy as np
import pytest

from tahoe_distill.cells import open_cells
from tests.helpers.cell_files import write_cells, write_tenx


def replaced(file, name, value, **attributes):
    """Put another data set in the place of a part, with the attributes that it had."""
    attributes = {**dict(file[name].attrs), **attributes}
    del file[name]
    file[name] = value
    file[name].attrs.update(attributes)


def array(file, value):
    """Make ``X`` a dense array of its own."""
    replaced(file, "X", value, **{"encoding-type": "array", "encoding-version": "0.2.0"})


def linked(link):
    def damage(file):
        del file["X"]
        file["X"] = link

    return damage


OPENING = {
    "one dimension": (
        lambda file: array(file, np.ones(96)),
        r"the matrix has the shape \(96,\); expected \(cel",
    ),
    "three dimensions": (lambda file: array(file, np.ones((96, 60, 2))), r"has the shape \(96, 60, 2\)"),
    "texts": (lambda file: array(file, np.full((96, 60), b"x")), r"holds values of type \|S1; expected counts"),
    "negative shape": (lambda file: file["X"].attrs.__setitem__("shape", np.array([-3, 60])), r"the shape \(-3, 60\)"),
    "10^12 cells": (lambda file: file["X"].attrs.__setitem__("shape", np.array([10**12, 60])), "needs 1000000000001 "),
    "bounds missing": (lambda file: replaced(file, "X/indptr", file["X/indptr"][:50]), "needs 97 bounds"),
    "values missing": (
        lambda file: replaced(file, "X/data", file["X/data"][:50]),
        r"found \(97,\), \(\d+,\) and \(50",
    ),
    "indices that are not whole": (
        lambda file: replaced(file, "X/indices", file["X/indices"][:] / 2),
        "whole numbers",
    ),
    "no indices": (lambda file: file.__delitem__("X/indices"), "a part of it is missing, or a link that leads nowhere"),
    "broken link": (linked(h5py.ExternalLink("/nowhere.h5", "/X")), "a link that leads nowhere"),
    "broken soft link": (linked(h5py.SoftLink("/nowhere")), "a link that leads nowhere"),
    "obs column": (
        lambda file: replaced(file, "obs/kind/codes", file["obs/kind/codes"][:50]),
        "X has 96 rows, but obs column 'kind' has 50 cells",
    ),
    "embedding": (lambda file: replaced(file, "obsm/teacher", np.ones((50, 4))), "but obsm/teacher has 50 cells"),
}


@pytest.mark.parametrize("case", OPENING)
def test_damage_that_shows_when_a_file_is_opened(case, adata, tmp_path):
    adata.obs["kind"] = adata.obs["kind"].astype("category")
    path = write_cells(adata, tmp_path, "csr")
    damage, message = OPENING[case]
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=f"cells.h5ad: .*{message}"):
        open_cells(path)


@pytest.mark.parametrize(("place", "value"), [(0, 3), (-1, 5)])
def test_values_that_belong_to_no_cell(place, value, adata, tmp_path):
    path = write_cells(adata, tmp_path, "csr")
    with h5py.File(path, "r+") as file:
        bounds = file["X/indptr"][:]
        bounds[place] = value if place == 0 else bounds[-1] - 1
        file["X/indptr"][:] = bounds
    with open_cells(path) as cells:
        cells.rows(20, 40)
        start, stop = (0, 20) if place == 0 else (80, 96)
        with pytest.raises(ValueError, match=f"cells {start} to {stop} begin and end nowhere"):
            cells.rows(start, stop)


def test_every_kind_of_column_has_a_length(adata, tmp_path):
    adata.obs["kind"] = adata.obs["kind"].astype("category")
    adata.obs["age"] = np.arange(96)
    adata.obs["seen"] = anndata.AnnData(obs=adata.obs).obs["age"].astype("Int64")
    adata.obsm["table"] = adata.obs[["age"]].copy()
    adata.obsm["sparse"] = adata.X
    for kind in ("csr", "zarr"):
        with open_cells(write_cells(adata, tmp_path, kind)) as cells:
            assert cells.n_obs == 96


def test_a_10x_file_without_one_of_its_parts(adata, tmp_path):
    write_tenx(tmp_path / "cells.h5", adata)
    with h5py.File(tmp_path / "cells.h5", "r+") as file:
        del file["matrix/indptr"]
    with pytest.raises(ValueError, match="cells.h5: a part of it is missing"):
        open_cells(tmp_path / "cells.h5")


@pytest.mark.parametrize("dtype", [object, "U3", complex])
def test_an_anndata_of_something_else_than_counts(dtype):
    with pytest.raises(ValueError, match="adata: the matrix holds values of type"):
        open_cells(anndata.AnnData(np.ones((3, 2)).astype(dtype)))
