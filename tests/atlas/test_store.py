"""Cells that were embedded before: found by their content, with the bits they had, whatever their company."""

import anndata
import numpy as np
import pytest

from tahoe_distill.atlas import embed_atlas
from tahoe_distill.atlas.store import CellStore, keys_of
from tahoe_distill.embedding.engine import Engine
from tahoe_distill.embedding.options import Options
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture
def computed(monkeypatch):
    """Numbers of cells of each window that the model computed."""
    window, counts = Engine.window, []

    def counting(self, cells, *arguments, **keywords):
        counts.append(len(cells))
        return window(self, cells, *arguments, **keywords)

    monkeypatch.setattr(Engine, "window", counting)
    return counts


def vectors(path):
    return anndata.read_zarr(path).obsm["X_tx1"]


@pytest.mark.parametrize(
    "settings", [{"encoder": "set", "set_pools": ["mean", "attention"]}, {}, {"pooling": "avg-pool"}]
)
def test_a_cell_has_the_same_bits_in_whatever_company(settings):
    model, processor = tiny_pair(**settings)
    engine = Engine(model, processor, Options(fixed_shapes=True), device=model.device)
    adata = tiny_cells(100)
    cells = processor.encode_rows(adata.X, processor.match(adata))
    together = engine.window(cells).vectors
    order = np.random.default_rng(0).permutation(len(cells))
    np.testing.assert_array_equal(engine.window([cells[number] for number in order]).vectors, together[order])
    np.testing.assert_array_equal(engine.window(cells[7:8]).vectors, together[7:8])
    plain = Engine(model, processor, Options(), device=model.device).window(cells).vectors
    np.testing.assert_allclose(together, plain, atol=1e-6)


def test_the_next_release_computes_what_is_new(student, tmp_path, computed):
    first, new = tiny_cells(40), tiny_cells(10, seed=3)
    first.write_h5ad(tmp_path / "first.h5ad")
    # Other order, other genes beside those that the model knows, other company.
    second = anndata.concat([new, first[::-1][:, ::-1]])
    second.write_h5ad(tmp_path / "second.h5ad")
    embed_atlas(tmp_path / "first.h5ad", student, tmp_path / "1.zarr", window=8, store=tmp_path / "cells")
    assert sum(computed) == 40
    computed.clear()
    embed_atlas(tmp_path / "second.h5ad", student, tmp_path / "2.zarr", window=8, store=tmp_path / "cells")
    assert sum(computed) == 10
    np.testing.assert_array_equal(vectors(tmp_path / "2.zarr")[10:], vectors(tmp_path / "1.zarr")[::-1])
    embed_atlas(tmp_path / "second.h5ad", student, tmp_path / "3.zarr", window=50, store=tmp_path / "others")
    np.testing.assert_array_equal(vectors(tmp_path / "3.zarr"), vectors(tmp_path / "2.zarr"))


def test_models_are_kept_apart(student, tmp_path, computed):
    tiny_cells(10).write_h5ad(tmp_path / "cells.h5ad")
    other = save_pair(tiny_pair(encoder="set", set_pools=["mean"], seed=5), tmp_path / "other")
    for number, (model, options) in enumerate([(student, {}), (other, {}), (student, {"dim": 8}), (student, {})]):
        embed_atlas(tmp_path / "cells.h5ad", model, tmp_path / f"{number}.zarr", store=tmp_path / "cells", **options)
    assert computed == [10, 10, 10]
    with pytest.raises(ValueError, match="computes a cell by its company"):
        embed_atlas(tmp_path / "cells.h5ad", student, tmp_path / "5.zarr", store=tmp_path / "cells", backend="int8")


@pytest.fixture
def store(tmp_path, student):
    return CellStore(tmp_path / "cells", tiny_pair()[0], Options())


def test_many_small_segments_become_one(store):
    rng = np.random.default_rng(0)
    keys, rows = rng.integers(0, 1 << 63, (100, 2), dtype=np.uint64), rng.normal(size=(100, 32)).astype(np.float32)
    # Half a key in common is not the same cell.
    keys[1::2, 0] = keys[::2, 0]
    for start in range(0, 100, 5):
        store.add(keys[start : start + 7], rows[start : start + 7])
    store.tidy()
    assert len(list(store.folder.glob("*.cells"))) == 1
    known, found = store.find(np.concatenate([keys, keys[:, ::-1]]))
    assert known.tolist() == [True] * 100 + [False] * 100
    np.testing.assert_array_equal(found[:100], rows)


def test_a_cut_segment_is_named(store):
    cell = (np.array([1, 5]), np.array([0.0, 3.0]))
    store.add(keys_of([cell]), np.ones((1, 32)))
    path = next(store.folder.glob("*.cells"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=f"{path.name} is damaged: .* remove it"):
        store.find(keys_of([cell]))


def test_keys_tell_tokens_values_and_drugs_apart():
    cells = [([1, 5], [0, 3]), ([1, 6], [0, 3]), ([1, 5], [0, 4]), ([1, 5], [0, 3])]
    keys = keys_of([(np.array(tokens), np.array(values, dtype=np.float32)) for tokens, values in cells], [1, 1, 1, 2])
    assert len(np.unique(keys, axis=0)) == 4
