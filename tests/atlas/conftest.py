"""Fixtures of the atlas tests: a tiny static student, and three files of cells with genes and columns of their own."""

import numpy as np
import pytest

from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    return save_pair(tiny_pair(encoder="set", set_pools=["mean"]), tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """h5ad, zarr, h5ad: 40, 26 and 20 cells; the second has its genes in another order, the third lacks some."""
    folder = tmp_path_factory.mktemp("sources")
    first, second, third = tiny_cells(40), tiny_cells(26, seed=1), tiny_cells(20, seed=2)
    second = second[:, np.random.default_rng(0).permutation(second.n_vars)].copy()
    third = third[:, :50].copy()
    first.obs["score"], second.obs["score"] = np.arange(40), np.linspace(0, 1, 26)
    first.obs["tissue"] = ["lung", "blood"] * 20
    third.obs["name of its own"] = [f"cell {number}" for number in range(20)]
    first.write_h5ad(folder / "a.h5ad")
    second.write_zarr(folder / "b.zarr")
    third.write_h5ad(folder / "c.h5ad")
    return folder


@pytest.fixture(scope="session")
def plain(sources, student, tmp_path_factory):
    """The atlas by the plain way."""
    from tahoe_distill.atlas import embed_atlas

    out = tmp_path_factory.mktemp("plain") / "atlas.zarr"
    embed_atlas(sorted(sources.iterdir()), student, out, window=8)
    return out


def content(path):
    """Bytes of every file of a store, by name."""
    return {str(entry.relative_to(path)): entry.read_bytes() for entry in path.rglob("*") if entry.is_file()}


@pytest.fixture
def bytes_of():
    return content
