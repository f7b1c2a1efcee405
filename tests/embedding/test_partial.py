"""The unfinished result: of one run, in one process's hands, and gone when there is nothing to keep."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tahoe_distill import locks
from tahoe_distill.embedding import embed_file, partial
from tahoe_distill.embedding.partial import STATE, VECTORS, folder_of
from tahoe_distill.models import GeneVocab, Tx1Processor
from tests.helpers.tiny_student import save_pair, tiny_pair


@pytest.fixture
def cells_file(adata, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stopped(source, model, out, monkeypatch, error=KeyboardInterrupt, **options):
    """Begin a run and end it after two windows."""
    commit, done = partial.PartialResult.commit, []

    def dying(self, *arguments):
        if len(done) == 2:
            raise error
        commit(self, *arguments)
        done.append(1)

    with monkeypatch.context() as patch:
        patch.setattr(partial.PartialResult, "commit", dying)
        with pytest.raises(error):
            embed_file(source, model, out, window=6, **options)


def change_tensor(folder, pair):
    weight = pair[0].gene_encoder.embedding.weight
    # A number that a sample of every n-th would not see.
    weight.data[5, 3] += 1
    pair[0].save_pretrained(folder)


def change_settings(folder, pair):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_length": 16}))


def change_vocabulary(folder, pair):
    tokens = dict(pair[1].vocab.tokens)
    tokens["ENSG99"] = tokens.pop("ENSG00000000059")
    Tx1Processor(GeneVocab(tokens, {"TP53": "ENSG00000000001"}), max_length=32).save_pretrained(folder)


CHANGES = {"weights": change_tensor, "processor": change_settings, "processor, tokens": change_vocabulary}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_model_does_not_carry_on(what, cells_file, tmp_path, monkeypatch):
    pair, out = tiny_pair(), tmp_path / "out.h5ad"
    folder = save_pair(pair, tmp_path / "student")
    stopped(cells_file, folder, out, monkeypatch)
    CHANGES[what](folder, pair)
    with pytest.raises(ValueError, match=rf"another run \(different: (.*, )?{what}"):
        embed_file(cells_file, folder, out, window=6)
    assert json.loads((folder_of(out) / STATE).read_text())["windows"] == 2


def test_a_zarr_store_that_changed_in_place_does_not_carry_on(adata, pair, tmp_path, monkeypatch):
    path, out = tmp_path / "cells.zarr", tmp_path / "out.zarr"
    adata.write_zarr(path)
    chunks = sorted(entry for entry in (path / "X").rglob("*") if entry.is_file())
    newest = max(entry.stat().st_mtime_ns for entry in path.rglob("*"))
    stopped(path, pair, out, monkeypatch)
    # As by a copy that keeps times: same size, and not the newest of the store.
    os.utime(chunks[0], ns=(newest - 10**9, newest - 10**9))
    with pytest.raises(ValueError, match="different: input_files"):
        embed_file(path, pair, out, window=6)


def test_an_input_that_changes_while_it_is_read_gives_nothing(pair, cells_file, tmp_path, monkeypatch):
    commit = partial.PartialResult.commit

    def touching(self, *arguments):
        commit(self, *arguments)
        os.utime(cells_file)

    monkeypatch.setattr(partial.PartialResult, "commit", touching)
    with pytest.raises(ValueError, match="changed while it was read"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert names(tmp_path) == ["cells.h5ad"]


@pytest.mark.parametrize("text", ["[1]", "3", "{", "{}", '{"run": {}, "windows": "2"}'])
def test_an_unreadable_state_is_a_paragraph_with_a_way_out(text, pair, cells_file, tmp_path):
    out = tmp_path / "out.h5ad"
    folder_of(out).mkdir()
    (folder_of(out) / STATE).write_text(text)
    with pytest.raises(ValueError, match="state.json of an unfinished run cannot be read .*pass --overwrite"):
        embed_file(cells_file, pair, out)
    assert (folder_of(out) / STATE).read_text() == text
    embed_file(cells_file, pair, out, overwrite=True)
    assert names(tmp_path) == ["cells.h5ad", "out.h5ad"]


def test_lost_gene_sums_are_not_taken_for_none(pair, cells_file, tmp_path, monkeypatch):
    out = tmp_path / "out.h5ad"
    stopped(cells_file, pair, out, monkeypatch, genes=True)
    sums = folder_of(out) / "genes-2.npz"
    for content in (b"", b"PK\x03\x04 no archive"):
        sums.write_bytes(content)
        with pytest.raises(ValueError, match="genes-2.npz of an unfinished run cannot be read"):
            embed_file(cells_file, pair, out, window=6, genes=True)
    sums.unlink()
    with pytest.raises(ValueError, match="genes-2.npz of an unfinished run cannot be read"):
        embed_file(cells_file, pair, out, window=6, genes=True)


def test_planted_links_are_refused(pair, cells_file, tmp_path):
    out, elsewhere = tmp_path / "out.h5ad", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder_of(out).symlink_to(elsewhere)
    with pytest.raises(ValueError, match="is a link to .*elsewhere"):
        embed_file(cells_file, pair, out, overwrite=True)
    folder_of(out).unlink()
    folder_of(out).mkdir()
    (elsewhere / "mine").write_text("mine")
    for name in (VECTORS, f"{STATE}.new"):
        (folder_of(out) / name).symlink_to(elsewhere / "mine")
        with pytest.raises(ValueError, match=f"{name} is a link to"):
            embed_file(cells_file, pair, out, overwrite=True)
        (folder_of(out) / name).unlink()
    assert names(elsewhere) == ["mine"] and (elsewhere / "mine").read_text() == "mine"


HOLD = """
import sys, time
from tahoe_distill.embedding.partial import unfinished
with unfinished(sys.argv[1], "embed cells.h5ad"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_of_the_same_command_at_once(pair, cells_file, tmp_path):
    out = tmp_path / "out.h5ad"
    process = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(
            OSError, match=rf"held by embed cells.h5ad \(process {process.pid} .*wait until it has ended"
        ):
            embed_file(cells_file, pair, out)
        assert not out.exists() and folder_of(out).exists()
    finally:
        process.kill()
        process.wait()
    embed_file(cells_file, pair, out)
    assert names(tmp_path) == ["cells.h5ad", "out.h5ad"]


def test_space_is_set_aside_before_the_work(pair, cells_file, tmp_path, monkeypatch):
    def full(place, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"is full: 0\.000 GB are needed there, \d+\.\d+ GB are free"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert names(tmp_path) == ["cells.h5ad"]


def test_vectors_have_their_blocks_on_the_disk(tmp_path):
    result = partial.PartialResult(tmp_path, {}, shape=(1 << 10, 1 << 8), windows=1)
    assert (tmp_path / VECTORS).stat().st_blocks * 512 >= 1 << 20
    assert result.vectors.shape == (1 << 10, 1 << 8) and not result.vectors.any()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_failures_before_the_first_window_leave_nothing(error, pair, cells_file, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error("no backend")

    monkeypatch.setattr(partial.PartialResult, "commit", fail)
    with pytest.raises(error):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert names(tmp_path) == ["cells.h5ad"]


def test_failures_after_it_keep_what_is_done(pair, cells_file, tmp_path, monkeypatch):
    out = tmp_path / "out.h5ad"
    stopped(cells_file, pair, out, monkeypatch, error=RuntimeError)
    kept = np.fromfile(folder_of(out) / VECTORS, dtype=np.float32)
    assert names(folder_of(out)) == [STATE, VECTORS] and kept[: 12 * 32].all() and not kept[12 * 32 :].any()


def test_a_disk_without_room_for_the_lock(pair, cells_file, tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locks.os, "link", full)
    with pytest.raises(OSError, match="the disk of .* is full: .* are free"):
        embed_file(cells_file, pair, tmp_path / "out.h5ad")
    assert names(tmp_path) == ["cells.h5ad"]
