"""Damaged shards: every case ends with an error that names the shard, never with a short epoch or a hang."""

import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest
from streaming import MDSWriter

from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.data.schema import EPOCH, SAMPLE
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.data.shards.reader import ShardError
from tests.helpers.loaders import SECONDS, cells_read
from tests.helpers.pickles import RunsCode


@pytest.fixture(scope="module")
def zipped(h5ad, vocab, tmp_path_factory):
    out = tmp_path_factory.mktemp("zipped") / "set"
    prepare_shards(h5ad, out, vocab, val_fraction=0, chunk_cells=24, compression="zstd:1")
    return out


def flip(path, at=-40):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


DAMAGE = {"flipped": flip, "cut": cut, "missing": lambda path: path.unlink()}


def third_shard(folder):
    return sorted(folder.rglob("*.mds*"))[2]


def options(folder, remote, local):
    return {"remote": str(folder), "local": str(local)} if remote else {"local": str(folder)}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["raw", "zstd"])
@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_whole_sets_are_read_whole(shards, zipped, vocab, tmp_path, remote, kind, workers):
    source = shards if kind == "raw" else zipped
    folder = tmp_path / "copy"
    shutil.copytree(source / "train", folder)
    assert cells_read(options(folder, remote, tmp_path / "cache"), vocab, workers) == (72 if kind == "raw" else 96)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["raw", "zstd"])
@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_damage_ends_with_the_shards_name(shards, zipped, vocab, tmp_path, remote, kind, damage, workers):
    folder = tmp_path / "copy"
    shutil.copytree((shards if kind == "raw" else zipped) / "train", folder)
    DAMAGE[damage](third_shard(folder))
    with pytest.raises(ShardError, match="chunk-000002/shard.00000"):
        cells_read(options(folder, remote, tmp_path / "cache"), vocab, workers)


def test_a_damaged_cache_is_removed_and_fetched_again(shards, vocab, tmp_path):
    source = {"remote": str(shards / "train"), "local": str(tmp_path / "cache")}
    assert cells_read(source, vocab, 0) == 72
    flip(third_shard(tmp_path / "cache"))
    with pytest.raises(ShardError, match="damaged: xxh64 .*was removed, so the next run fetches it anew"):
        cells_read(source, vocab, 0)
    assert cells_read(source, vocab, 0) == 72


def test_without_hashes_structure_is_checked(adata, vocab, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    prepare_shards(tmp_path / "a.h5ad", tmp_path / "set", vocab, val_fraction=0, hashes=())
    shard = next((tmp_path / "set").rglob("*.mds"))
    flip(shard, at=9)
    with pytest.raises(ShardError, match="table of samples does not fit"):
        CellDataset.from_options({"local": str(tmp_path / "set" / "train"), "batch_size": 1})[0]


def edit_index(folder, change):
    path = folder / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "index of the shards cannot be used"),
        (lambda folder: (folder / "index.json").write_text('{"shards": ['), "index.json: the index .* cannot be used"),
        (lambda folder: edit_index(folder, lambda i: i.pop("version")), "cannot be used .*version"),
        (lambda folder: edit_index(folder, lambda i: i["shards"][0].pop("samples")), "cannot be used .*samples"),
        (lambda folder: edit_index(folder, lambda i: i["shards"].clear()), "contains no samples"),
        (
            lambda folder: edit_index(folder, lambda i: i["shards"][0]["raw_data"].update(basename="../x.mds")),
            "names '../x.mds', a file outside its folder",
        ),
    ],
    ids=["missing", "cut", "no version", "no samples", "no shards", "outside"],
)
def test_bad_index(shards, tmp_path, change, message):
    folder = tmp_path / "copy"
    shutil.copytree(shards / "train", folder)
    change(folder)
    with pytest.raises(RuntimeError, match=message):
        CellDataset.from_options({"local": str(folder), "batch_size": 1})


def test_samples_know_their_number_and_epoch(shards):
    dataset = CellDataset.from_options({"local": str(shards / "train"), "batch_size": 4, "shuffle": True})
    for epoch in range(2):
        seen = [(sample[SAMPLE], sample[EPOCH]) for sample in dataset]
        assert sorted(seen) == [(number, epoch) for number in range(72)]


def open_at_once(folder, temporary, together):
    tempfile.tempdir = str(temporary)
    together.wait(SECONDS)
    dataset = CellDataset.from_options({"local": str(folder), "batch_size": 4})
    # Alive until all have theirs.
    together.wait(SECONDS)
    return dataset


def test_runs_that_start_together_each_get_their_shared_memory(shards, tmp_path):
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(8)
    runs = []
    for number in range(8):
        # As in containers, whose temporary folders are their own.
        (tmp_path / str(number)).mkdir()
        runs.append(fork.Process(target=open_at_once, args=(shards / "train", tmp_path / str(number), together)))
        runs[-1].start()
    for run in runs:
        run.join(SECONDS)
    assert [run.exitcode for run in runs] == [0] * 8


def test_a_pickle_in_a_shard_is_refused_and_not_run(tmp_path):
    with MDSWriter(out=str(tmp_path / "set"), columns={"genes": "pkl", "expressions": "pkl"}) as writer:
        writer.write({"genes": np.arange(3), "expressions": np.ones(3, np.float32)})
        writer.write({"genes": RunsCode(str(tmp_path / "ran")), "expressions": np.ones(1, np.float32)})
    dataset = CellDataset.from_options({"local": str(tmp_path / "set"), "batch_size": 1})
    assert dataset[0]["genes"].tolist() == [0, 1, 2]
    with pytest.raises(ShardError, match=r"shard.00000.mds: refused a pickle that asks for .*system"):
        dataset[1]
    with pytest.raises(ShardError, match="refused"):
        list(dataset)
    assert not (tmp_path / "ran").exists()


SCRIPT = textwrap.dedent(
    """
    import sys
    from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
    def main():
        spec = build_tahoe_mds_dataloader(
            dataset={"remote": sys.argv[1], "local": sys.argv[2], "download_retry": 1}, collator={"max_length": 32},
            vocab=sys.argv[3], device_batch_size=8, num_workers=2)
        for batch in spec.dataloader:
            print(len(batch["gene"]))
    if __name__ == "__main__":
        main()
    """
)


def test_two_ranks_end_with_the_error(shards, tmp_path):
    """Both processes of a run stop with a non-zero exit code; neither waits for the shard for ever."""
    folder = tmp_path / "copy"
    shutil.copytree(shards / "train", folder)
    third_shard(folder).unlink()
    (tmp_path / "run.py").write_text(SCRIPT)
    arguments = [str(folder), str(tmp_path / "cache"), str(shards / "vocab.json")]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        f"--master_port={port}",
        str(tmp_path / "run.py"),
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "chunk-000002/shard.00000" in done.stderr
