"""Many files in, one store out: what is in it, and that nothing is lost, done twice or taken for something else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from tahoe_distill.atlas import embed_atlas, run
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.cli.main import main
from tahoe_distill.embedding import embed
from tahoe_distill.embedding.partial import STATE, folder_of
from tahoe_distill.locks import FolderInUseError
from tests.helpers import REPOSITORY
from tests.helpers.tiny_student import save_pair, tiny_pair


def files(sources):
    return sorted(sources.iterdir())


def expected(sources, student):
    """Vectors of each file embedded alone, in memory."""
    read = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}
    alone = [embed(read[path.suffix](path), student, copy=True, window=8) for path in files(sources)]
    return np.concatenate([cells.obsm["X_tx1"] for cells in alone])


def test_zarr_has_the_vectors_and_tables_of_all_files(plain, sources, student):
    found = anndata.read_zarr(plain)
    np.testing.assert_array_equal(found.obsm["X_tx1"], expected(sources, student))
    assert found.shape == (86, 0) and found.X is None
    assert found.obs["tx1_source"].value_counts().to_dict() == dict(zip(map(str, files(sources)), [40, 26, 20]))
    assert found.obs["tx1_row"].tolist() == [*range(40), *range(26), *range(20)]
    assert found.obs["tissue"].isna().tolist() == [False] * 40 + [True] * 46
    np.testing.assert_array_equal(found.obs["score"][:40], np.arange(40.0))
    assert found.obs["score"].isna().sum() == 20
    assert found.obs["name of its own"].tolist() == [""] * 66 + [f"cell {number}" for number in range(20)]
    assert found.obs_names[0] == "cell0" and found.obs["drug"].iloc[0] == "aspirin"
    assert found.uns["X_tx1"]["cells"].tolist() == [40, 26, 20]


def test_vectors_lie_in_shards(plain):
    zarr = pytest.importorskip("zarr", minversion="3")
    array = zarr.open_group(plain, mode="r")["obsm/X_tx1"]
    assert array.shards == (32768, 32) and array.chunks == (4096, 32)


def test_parquet_has_what_zarr_has(plain, sources, student, tmp_path):
    pytest.importorskip("pyarrow")
    embed_atlas(files(sources), student, tmp_path / "atlas.parquet", window=8)
    table, stored = pd.read_parquet(tmp_path / "atlas.parquet"), anndata.read_zarr(plain)
    np.testing.assert_array_equal(np.stack(table["X_tx1"]), stored.obsm["X_tx1"])
    assert table["cell"].tolist() == list(stored.obs_names)
    assert table["tissue"].astype(object).equals(stored.obs["tissue"].astype(object).reset_index(drop=True))


def stop_after(monkeypatch, count):
    """End a run, as by Ctrl-C, after some windows; return the list of those that were kept."""
    keep, kept = Ledger.keep, []

    def dying(self, window, *arrays):
        if len(kept) == count:
            raise KeyboardInterrupt
        kept.append(window)
        keep(self, window, *arrays)

    monkeypatch.setattr(Ledger, "keep", dying)
    return kept


def test_an_interrupted_run_carries_on_and_writes_the_same_bytes(
    plain, sources, student, tmp_path, monkeypatch, bytes_of
):
    out = tmp_path / "atlas.zarr"
    with monkeypatch.context() as patch:
        kept = stop_after(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            embed_atlas(files(sources), student, out, window=8)
    assert not out.exists() and len(Ledger(folder_of(out)).done()) == 6
    more = stop_after(monkeypatch, 100)
    embed_atlas(files(sources), student, out, window=8)
    assert len(kept) + len(more) == len(set(kept + more)) == 12
    assert bytes_of(out) == bytes_of(plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atlas.zarr"]


def test_jobs_of_an_array_do_all_and_the_last_one_merges(plain, sources, student, tmp_path, bytes_of):
    out = tmp_path / "atlas.zarr"
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7",
        "SLURM_ARRAY_TASK_MIN": "6", "SLURM_ARRAY_TASK_COUNT": "2",
    }  # fmt: skip
    script = [
        "bash",
        REPOSITORY / "configs/slurm/embed_array.sbatch",
        "--model",
        student,
        "--adata",
        f"{sources}/*",
        "--out",
        out,
    ]
    job = subprocess.Popen([*script, "--window", "8"], env=environment, stderr=subprocess.PIPE, text=True)
    found = embed_atlas(files(sources), student, out, window=8, shard=(1, 2))
    told = job.communicate(timeout=120)[1]
    assert job.returncode == 0, told
    assert found.out is None or found.computed == 46
    assert bytes_of(out) == bytes_of(plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atlas.zarr"]


def test_merge_waits_for_all_shards(sources, student, tmp_path):
    out = tmp_path / "atlas.zarr"
    found = embed_atlas(files(sources), student, out, window=8, shard=(1, 2))
    assert found.out is None and found.windows_left == 6
    with pytest.raises(ValueError, match="6 windows are not done yet, .* of .*b.zarr; run the shards"):
        embed_atlas(files(sources), student, out, window=8, shard="merge")
    # Another number of shards is no other run.
    assert embed_atlas(files(sources), student, out, window=8, shard=(3, 3)).windows_left == 2
    assert embed_atlas(files(sources), student, out, window=8).computed == 16
    assert embed_atlas(files(sources), student, out, window=8, shard=(1, 2)).out == out


@pytest.fixture
def broken(sources, tmp_path):
    """The files, and two that cannot be read: one no h5ad, the other with a value that no cell can have."""
    folder = tmp_path / "broken"
    shutil.copytree(sources, folder)
    (folder / "a0.h5ad").write_bytes(b"no h5ad")
    cells = anndata.read_h5ad(folder / "a.h5ad")
    cells.X.data[-1] = -1
    cells.write_h5ad(folder / "bad values.h5ad")
    return folder


def test_an_unreadable_file_stops_before_the_end(broken, student, tmp_path):
    out = tmp_path / "atlas.zarr"
    with pytest.raises(ValueError, match=r"1 of 5 inputs cannot be embedded: .*a0.h5ad.*--on-error skip"):
        embed_atlas(files(broken), student, out, window=8)
    assert not list(tmp_path.glob(".*"))
    (broken / "a0.h5ad").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 inputs cannot be embedded: .*bad values.h5ad: found negative values"):
        embed_atlas(files(broken), student, out, window=8)
    # What comes before it is kept; it is repaired, and the same command carries on.
    assert not out.exists() and len(Ledger(folder_of(out)).done()) == 9


def test_unreadable_files_are_left_out_and_listed(broken, plain, student, tmp_path, capsys):
    out = tmp_path / "atlas.zarr"
    arguments = ["embed", "--model", str(student), "--adata", f"{broken}/*", "--out", str(out), "--window", "8"]
    assert main([*arguments, "--on-error", "skip"]) == 0
    told = capsys.readouterr()
    assert "a0.h5ad" in told.err and "bad values.h5ad" in told.err and "86 cells" in told.out
    found = anndata.read_zarr(out)
    np.testing.assert_array_equal(found.obsm["X_tx1"], anndata.read_zarr(plain).obsm["X_tx1"])
    assert [path.rpartition("/")[2] for path in found.uns["X_tx1"]["skipped"]] == ["a0.h5ad", "bad values.h5ad"]


def test_two_runs_on_one_output(sources, student, tmp_path, monkeypatch):
    out = tmp_path / "atlas.zarr"
    work, met = run._work, []

    def meanwhile(*arguments, **keywords):
        for shard in (None, (1, 2)):
            with pytest.raises(FolderInUseError, match="held by embed"):
                embed_atlas(files(sources), student, out, window=8, shard=shard)
            met.append(shard)
        work(*arguments, **keywords)

    monkeypatch.setattr(run, "_work", meanwhile)
    embed_atlas(files(sources), student, out, window=8)
    assert met == [None, (1, 2)]


def test_an_output_or_a_half_of_another_model(plain, sources, student, tmp_path, monkeypatch):
    other = save_pair(tiny_pair(encoder="set", set_pools=["mean"], seed=5), tmp_path / "other")
    with pytest.raises(ValueError, match="holds vectors of another model .*weights"):
        embed_atlas(files(sources), other, plain, window=8)
    out = tmp_path / "atlas.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            embed_atlas(files(sources), student, out, window=8)
    with pytest.raises(ValueError, match=r"another run \(different: weights\)"):
        embed_atlas(files(sources), other, out, window=8)
    # The very same command on its own output has nothing to do.
    assert embed_atlas(files(sources), student, plain, window=8).computed == 0


def test_a_source_that_changed_does_not_carry_on(sources, student, tmp_path, monkeypatch):
    shutil.copytree(sources, tmp_path / "mine")
    out = tmp_path / "atlas.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            embed_atlas(files(tmp_path / "mine"), student, out, window=8)
    (tmp_path / "mine/a.h5ad").touch()
    with pytest.raises(ValueError, match=r"a.h5ad changed after windows of it were done"):
        embed_atlas(files(tmp_path / "mine"), student, out, window=8)
    embed_atlas(files(tmp_path / "mine"), student, out, window=8, overwrite=True)


def test_bad_arguments(sources, student, tmp_path):
    out = tmp_path / "atlas.zarr"
    for error, options in {
        "expected i/n": {"shard": (3, 2)},
        "for the genes of one file": {"genes": True},
        "expected stop or skip": {"on_error": "ignore"},
        "one process without --store": {"store": tmp_path / "store", "devices": 2},
    }.items():
        with pytest.raises(ValueError, match=error):
            embed_atlas(files(sources), student, out, **options)
    with pytest.raises(ValueError, match="unknown output '.csv'.* Known: .parquet, .soma, .zarr"):
        embed_atlas(files(sources), student, tmp_path / "atlas.csv")
    assert not list(tmp_path.iterdir())


def test_a_damaged_window_or_plan_is_named(sources, student, tmp_path, monkeypatch):
    out = tmp_path / "atlas.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            embed_atlas(files(sources), student, out, window=8)
    ledger = Ledger(folder_of(out))
    path = ledger.path(sorted(ledger.done())[0])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{path.name} cannot be read .*remove it"):
        embed_atlas(files(sources), student, out, window=8)
    state = folder_of(out) / STATE
    state.write_text(json.dumps({"run": json.loads(state.read_text())["run"]}))
    with pytest.raises(ValueError, match="state.json is damaged"):
        embed_atlas(files(sources), student, out, window=8)
