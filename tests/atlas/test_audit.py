"""An audit finds what was forged as often as it says, and speaks of the rest with the confidence that follows."""

import shutil
from math import comb

import numpy as np
import pytest

from tahoe_distill.atlas import audit, embed_atlas
from tahoe_distill.atlas.auditing import Audit, chance_to_find, drawn
from tahoe_distill.cli.main import main
from tests.helpers.tiny_student import save_pair, tiny_pair


@pytest.fixture
def forged(plain, tmp_path):
    """The atlas with the vectors of its third window, cells 16 to 23, taken from other cells."""
    zarr = pytest.importorskip("zarr")
    out = tmp_path / "forged.zarr"
    shutil.copytree(plain, out)
    vectors = zarr.open_group(out, mode="r+")["obsm/X_tx1"]
    vectors[16:24] = vectors[24:32]
    return out


def test_all_cells_of_an_atlas_agree_with_their_sources(plain):
    found = audit(plain, sample=1.0)
    assert found.looked_at == found.cells == 86 and not found.wrong and found.bound == 0 and found.chance == 1


def test_all_forged_cells_are_found_and_placed(forged, sources, capsys):
    assert audit(forged, sample=1.0).wrong == tuple(range(16, 24))
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(forged), "--sample", "1"])
    told = capsys.readouterr().out
    assert stopped.value.code == 1 and "78 of 86 cells agree" in told and f"cell 16 of {sources / 'a.h5ad'}" in told


def test_a_forged_window_is_found_as_often_as_is_said(forged):
    draws = [drawn(86, 0.1, seed) for seed in range(400)]
    hits = [bool(np.isin(numbers, range(16, 24)).any()) for numbers in draws]
    chance = 1 - comb(78, 9) / comb(86, 9)
    assert abs(np.mean(hits) - chance) < 4 * np.sqrt(chance * (1 - chance) / 400)
    for seed in (hits.index(True), hits.index(False)):
        found = audit(forged, sample=0.1, seed=seed)
        assert found.chance == pytest.approx(chance)
        assert found.wrong == tuple(sorted(set(draws[seed].tolist()) & set(range(16, 24))))


def test_the_chance_is_the_hypergeometric_one():
    for wrong, looked_at, cells in [(1, 1, 10), (3, 4, 20), (8, 9, 86), (5, 20, 20), (3, 18, 20)]:
        missed = comb(cells - wrong, looked_at) / comb(cells, looked_at)
        assert chance_to_find(wrong, looked_at, cells) == pytest.approx(1 - missed)
    assert chance_to_find(1024, 300_000, 300_000_000) == pytest.approx(0.641, abs=1e-3)


def test_the_bound_covers_the_truth():
    """Of many atlases in which one cell in twenty is wrong, the bound is too low for no more than one in twenty."""
    wrong = np.random.default_rng(0).binomial(200, 0.05, 400)
    bounds = [Audit(10**6, 200, tuple(range(count)), (), 0.0, 1e-5, 1024, 0).bound for count in wrong]
    assert 0.93 < np.mean(np.array(bounds) >= 0.05) <= 1.0
    # The rule of three.
    assert Audit(10**6, 1000, (), (), 0.0, 1e-5, 1024, 0).bound == pytest.approx(3 / 1000, rel=0.01)


def test_what_cannot_be_audited(plain, sources, student, tmp_path):
    other = save_pair(tiny_pair(encoder="set", set_pools=["mean"], seed=5), tmp_path / "other")
    with pytest.raises(ValueError, match="other has weights .*, but .* was made with"):
        audit(plain, model=other)
    with pytest.raises(ValueError, match="expected a share of the cells between 0 and 1"):
        audit(plain, sample=0)
    with pytest.raises(ValueError, match="no such output"):
        audit(tmp_path / "none.zarr")
    with pytest.raises(ValueError, match="has no vectors 'other'"):
        audit(plain, key_added="other")


def test_parquet_is_audited_too(sources, student, tmp_path):
    pytest.importorskip("pyarrow")
    embed_atlas([sources / "a.h5ad", sources / "c.h5ad"], student, tmp_path / "atlas.parquet", window=8)
    assert not audit(tmp_path / "atlas.parquet", sample=0.5, seed=1).wrong
