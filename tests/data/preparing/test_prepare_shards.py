"""Preparing: what is written, what is refused, and that nothing unfinished reads as whole."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import anndata
import numpy as np
import pytest
import torch
from streaming import StreamingDataset

from tahoe_distill.cells import matrix
from tahoe_distill.data.preparing import chunk as chunk_module
from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.models.processing_tx1 import GeneVocab


def read(folder):
    dataset = CellDataset.from_options({"local": str(folder), "batch_size": 1})
    return [dataset[row] for row in range(dataset.size)]


def read_all(out):
    cells = [cell for split in ("train", "val") if (out / split).is_dir() for cell in read(out / split)]
    return {cell["id"]: cell for cell in cells}


def assert_same_cells(found, adata, vocab):
    tokens = vocab.gene_tokens(adata.var_names)
    for row in range(adata.n_obs):
        counts = np.asarray(adata.X[row].todense()).ravel()
        kept = (counts > 0) & (tokens >= 0)
        assert found[row]["genes"].tolist() == [1, *tokens[kept]]
        assert found[row]["expressions"].tolist() == [-2, *counts[kept]]


def partial(out):
    return out.parent / f".{out.name}.partial"


def test_what_is_written(shards, adata, vocab):
    found = read_all(shards)
    assert sorted(found) == list(range(96)) and len(read(shards / "val")) == 24
    assert_same_cells(found, adata, vocab)
    cell = found[5]
    assert cell["cell_type"] == adata.obs["cell_type"].iloc[5] and cell["age"] == adata.obs["age"].iloc[5]
    assert cell["genes"].dtype == np.int32 and cell["expressions"].dtype == np.float32
    assert GeneVocab.from_file(shards / "vocab.json").symbols["SYM3"] == "ENSG00000000003"
    index = json.loads((shards / "train" / "index.json").read_text())
    assert all(shard["raw_data"]["hashes"]["xxh64"] for shard in index["shards"])
    assert not [name for name in os.listdir(shards.parent) if name.startswith(".")]
    # Only the merged index: no chunk reads as a set of its own.
    assert len(list(shards.rglob("index.json"))) == 2


def test_metadata(shards):
    metadata = json.loads((shards / "metadata.json").read_text())
    assert metadata["cells"] == {"train": 72, "val": 24, "dropped": 0}
    report = metadata["inputs"][0]["gene_report"]
    assert (report["genes"], report["matched"], report["column"]) == (60, 50, "index")
    assert len(report["unmatched_examples"]) == 10 and 0.7 < metadata["counts_matched"] < 0.95
    assert metadata["integer_counts"] and metadata["inputs"][0]["values"] == "counts"
    assert metadata["arguments"]["seed"] == 17 and "streaming" in metadata["versions"]


def test_same_shards_again(shards, h5ad, vocab, tmp_path):
    prepare_shards(h5ad, tmp_path / "again", vocab, val_fraction=0.25, keep=["cell_type", "age"], chunk_cells=24)
    for name in ("train/index.json", "val/index.json", "vocab.json"):
        assert (tmp_path / "again" / name).read_bytes() == (shards / name).read_bytes()


PREPARE = """
import sys
from tahoe_distill.data.preparing import chunk, prepare
folder, out, limit = sys.argv[1:]
finish, count = chunk.ShardWriter.finish, iter(range(100))
def failing(self):
    if next(count) == int(limit):
        raise OSError("disk gone")
    finish(self)
chunk.ShardWriter.finish = failing
prepare.prepare_shards(folder + "/*.h5ad", out, folder + "/vocab.json", chunk_cells=24)
"""


def test_processes_that_hash_otherwise_write_the_same_and_carry_on(adata, vocab, tmp_path):
    """Python's sets have another order in each process; nothing that is written or compared may."""
    vocab.save(tmp_path)
    (tmp_path / "gene_symbols.json").unlink(missing_ok=True)
    adata.write_h5ad(tmp_path / "a.h5ad")
    by_symbol = adata.copy()
    by_symbol.var_names = adata.var["gene_name"].tolist()
    by_symbol.write_h5ad(tmp_path / "b.h5ad")

    def run(out, seed, limit):
        command = [sys.executable, "-c", PREPARE, str(tmp_path), str(tmp_path / out), limit]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert "disk gone" in run("first", "1", "3").stderr
    kept = {path: path.stat().st_mtime_ns for path in partial(tmp_path / "first").rglob("*.json")}
    assert kept
    carried = run("first", "2", "99")
    assert carried.returncode == 0 and "starting afresh" not in carried.stderr, carried.stderr
    assert run("second", "3", "99").returncode == 0
    names = ["gene_symbols.json", "vocab.json", "train/index.json", "val/index.json"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_workers_write_the_same(shards, h5ad, vocab, tmp_path):
    out = tmp_path / "out"
    prepare_shards(h5ad, out, vocab, val_fraction=0.25, keep=["cell_type", "age"], chunk_cells=24, workers=2)
    assert (out / "train" / "index.json").read_bytes() == (shards / "train" / "index.json").read_bytes()


def test_teacher_embedding_split_by_group_and_compression(h5ad, adata, vocab, tmp_path):
    out = tmp_path / "out"
    prepare_shards(h5ad, out, vocab, split_by="donor", keep="donor", teacher_key="teacher", compression="zstd:1")
    assert np.array_equal(read_all(out)[7]["teacher_embedding"], adata.obsm["teacher"][7])
    donors = [{cell["donor"] for cell in read(out / split)} for split in ("train", "val")]
    assert donors[0] and donors[1] and not donors[0] & donors[1]


def test_tahoe_format_is_read_by_the_stock_loader(h5ad, adata, vocab, tmp_path):
    out = tmp_path / "out"
    prepare_shards(h5ad, out, vocab, val_fraction=0, keep=["cell_type"], format="tahoe")
    stock = StreamingDataset(local=str(out / "train"), batch_size=1, allow_unsafe_types=True)[4]
    ours = read(out / "train")[4]
    assert stock["genes"].dtype == torch.int64 and stock["expressions"].dtype == torch.float32
    assert torch.equal(stock["genes"], ours["genes"]) and torch.equal(stock["expressions"], ours["expressions"])
    assert stock["id"] == 4 and stock["cell_type"] == adata.obs["cell_type"].iloc[4]


def test_two_files_with_different_genes(adata, vocab, tmp_path):
    adata[:40, :30].write_h5ad(tmp_path / "a.h5ad")
    symbols = adata[40:, ::-1].copy()
    symbols.var_names = symbols.var["gene_name"].astype(str)
    symbols.write_h5ad(tmp_path / "b.h5ad")
    adata.write_h5ad(tmp_path / "c.h5ad")
    metadata = prepare_shards(tmp_path / "*.h5ad", tmp_path / "out", vocab, val_fraction=0)
    assert [item["gene_report"]["matched"] for item in metadata["inputs"]] == [30, 50, 50]
    found = read_all(tmp_path / "out")
    assert len(found) == 96 + 96
    again = dict(zip(found[60]["genes"].tolist(), found[60]["expressions"].tolist()))
    assert again == dict(zip(found[96 + 60]["genes"].tolist(), found[96 + 60]["expressions"].tolist()))


def test_duplicate_genes_are_summed(adata, vocab, tmp_path):
    twice = anndata.concat([adata, adata], axis=1)
    twice.var_names = [*adata.var_names, *(f"{name}.2" for name in adata.var_names)]
    twice.write_h5ad(tmp_path / "a.h5ad")
    prepare_shards(tmp_path / "a.h5ad", tmp_path / "out", vocab, val_fraction=0)
    doubled = adata.copy()
    doubled.X = doubled.X * 2
    assert_same_cells(read_all(tmp_path / "out"), doubled, vocab)


def test_min_genes_drops_and_counts(h5ad, adata, vocab, tmp_path):
    sizes = np.asarray((adata.X[:, :50] > 0).sum(axis=1)).ravel()
    limit = int(np.median(sizes)) + 1
    metadata = prepare_shards(h5ad, tmp_path / "out", vocab, val_fraction=0, min_genes=limit)
    assert metadata["cells"] == {"train": int((sizes >= limit).sum()), "val": 0, "dropped": int((sizes < limit).sum())}


def with_values(adata, values):
    adata = adata.copy()
    adata.X.data[-1] = values
    return adata


@pytest.mark.parametrize(
    ("alter", "options", "message"),
    [
        (lambda a: with_values(a, np.nan), {}, "found NaN"),
        (lambda a: with_values(a, -1), {}, "found negative values"),
        (lambda a: a[:0], {}, "no cells"),
        (lambda a: a[:, 50:], {}, "none of the 10 genes is in the vocabulary"),
        (lambda a: a, {"min_genes": 1000}, "no cell is left for training: 96 of 96"),
        (lambda a: a, {"keep": ["tissue"]}, "obs has no column 'tissue'; found cell_type"),
        (lambda a: a, {"keep": ["id"]}, "keep names 'id'"),
        (lambda a: a, {"split_by": "tissue"}, "obs has no column 'tissue'"),
        (lambda a: a, {"teacher_key": "Tx1"}, "obsm has no array 'Tx1'"),
        (lambda a: a, {"layer": "counts"}, "has no layers/counts"),
        (lambda a: a, {"format": "arrow"}, "format must be"),
        (lambda a: a, {"val_fraction": 1.5}, "val_fraction"),
    ],
)
def test_bad_input_leaves_nothing(adata, vocab, tmp_path, alter, options, message):
    alter(adata).copy().write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ValueError, match=message):
        prepare_shards(tmp_path / "a.h5ad", tmp_path / "out", vocab, **options)
    assert os.listdir(tmp_path) == ["a.h5ad"]


def test_a_negative_value_that_the_first_look_misses(adata, vocab, tmp_path, make, monkeypatch):
    monkeypatch.setattr(matrix, "_SAMPLE", 100)
    cells = make(400)
    row = 100
    cells.X.data[cells.X.indptr[row]] = -3
    cells.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(ValueError, match="cells 64 to .*negative values"):
        prepare_shards(tmp_path / "a.h5ad", tmp_path / "out", vocab)
    assert os.listdir(tmp_path) == ["a.h5ad"]


def test_existing_output_is_refused(shards, h5ad, vocab, tmp_path):
    with pytest.raises(FileExistsError, match="exists and is not empty; choose another folder"):
        prepare_shards(h5ad, shards, vocab)
    (tmp_path / "empty").mkdir()
    prepare_shards(h5ad, tmp_path / "empty", vocab)
    assert (tmp_path / "empty" / "train" / "index.json").is_file()


def fail_after(monkeypatch, writes):
    """Let the disk be full from the given number of shard files on."""
    count = iter(range(10**6))
    write_shard = chunk_module.ShardWriter.flush_shard

    def flush(self):
        if next(count) >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_shard(self)

    monkeypatch.setattr(chunk_module.ShardWriter, "flush_shard", flush)


def test_full_disk_then_carried_on(shards, h5ad, vocab, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = {"val_fraction": 0.25, "keep": ["cell_type", "age"], "chunk_cells": 24}
    with monkeypatch.context() as patch:
        fail_after(patch, 5)
        with pytest.raises(
            OSError, match="No space left.*Finished chunks stay in .*run the same command again"
        ) as error:
            prepare_shards(h5ad, out, vocab, **options)
    assert error.value.errno == errno.ENOSPC and not out.exists()
    assert not list(partial(out).rglob("index.json"))
    done = sorted((partial(out) / "whole" / "done").iterdir())
    assert len(done) == 2
    written = {path: path.stat().st_mtime_ns for path in (partial(out) / "whole" / "train").rglob("*.mds")}
    prepare_shards(h5ad, out, vocab, **options)
    assert (out / "train" / "index.json").read_bytes() == (shards / "train" / "index.json").read_bytes()
    kept = [
        path for path in written if (out / path.relative_to(partial(out) / "whole")).stat().st_mtime_ns == written[path]
    ]
    assert len(kept) == 2 and not partial(out).exists()


def test_other_arguments_start_afresh(h5ad, vocab, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        fail_after(patch, 3)
        with pytest.raises(OSError):
            prepare_shards(h5ad, out, vocab, chunk_cells=24)
    prepare_shards(h5ad, out, vocab, chunk_cells=24, seed=5)
    assert len(read_all(out)) == 96


def test_killed_and_started_again(h5ad, shards, tmp_path):
    """SIGKILL in the middle leaves no set behind, and the second run completes it."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        from tahoe_distill.data.preparing import chunk
        from tahoe_distill.data.preparing import prepare
        path, out, vocab, limit = sys.argv[1:]
        finish, count = chunk.ShardWriter.finish, iter(range(100))
        def dying(self):
            if next(count) == int(limit):
                os.kill(os.getpid(), signal.SIGKILL)
            finish(self)
        chunk.ShardWriter.finish = dying
        prepare.prepare_shards(path, out, vocab, val_fraction=0.25, keep=["cell_type", "age"], chunk_cells=24)
        """
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", script, str(h5ad), str(out), str(shards / "vocab.json")]
    assert subprocess.run([*command, "5"]).returncode == -signal.SIGKILL
    assert not out.exists() and not list(partial(out).rglob("index.json"))
    assert len(list((partial(out) / "whole" / "done").iterdir())) == 2
    subprocess.run([*command, "99"], check=True)
    assert (out / "train" / "index.json").read_bytes() == (shards / "train" / "index.json").read_bytes()


def test_two_runs_at_once_are_refused(h5ad, vocab, tmp_path, monkeypatch):
    from tahoe_distill.data.preparing import prepare

    def second(*args, **options):
        with pytest.raises(FileExistsError, match="is in use"):
            prepare_shards(h5ad, tmp_path / "out", vocab)
        raise OSError(errno.EIO, "stop here")

    monkeypatch.setattr(prepare, "_write_all", second)
    with pytest.raises(OSError, match="stop here"):
        prepare_shards(h5ad, tmp_path / "out", vocab)
