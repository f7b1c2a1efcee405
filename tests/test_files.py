"""Folders that appear whole, and are on the disk once they have their name."""

import errno
import os
from pathlib import Path

import pytest

from tahoe_distill import files
from tahoe_distill.data import prepare_shards
from tahoe_distill.files import why_not_writable


def test_a_folder_that_is_not_there_yet_can_be_written_to_and_is_not_made(tmp_path):
    assert why_not_writable(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "a").write_text("x")
    assert why_not_writable(tmp_path / "a" / "b") == f"{tmp_path / 'a'} is no folder"


def test_a_disk_that_is_only_read_is_told_whatever_its_permissions_say(tmp_path, monkeypatch):
    def refuse(dir):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert why_not_writable(tmp_path) == f"{tmp_path} cannot be written to (Read-only file system)"


@pytest.mark.parametrize("place", ["/proc/none/hf", "/dev/null/hf"])
def test_real_places_that_take_nothing(place):
    assert why_not_writable(place) is not None


def test_a_folder_is_replaced_by_one_that_is_whole_and_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("x")
    done, sync_one, rename = [], files._sync_one, os.rename
    monkeypatch.setattr(files, "_sync_one", lambda path: (done.append(path.name), sync_one(path)))
    monkeypatch.setattr(os, "rename", lambda old, new: (done.append(f"{old.name} is {new.name}"), rename(old, new)))
    with files.finished_folder(tmp_path / "a", overwrite=True) as growing:
        (growing / "new").write_text("y")
        assert (tmp_path / "a/old").exists()
    assert done == ["new", growing.name, "a is .a.old", f"{growing.name} is a", tmp_path.name]
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a/new").read_text() == "y"


def test_what_chunks_and_parts_report_is_on_the_disk_first(tmp_path, small_cells, small_vocab, monkeypatch):
    done, sync_one, replace = [], files._sync_one, os.replace
    monkeypatch.setattr(files, "_sync_one", lambda path: (done.append(path.name), sync_one(path)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append(f"named {Path(new).name}"), replace(old, new)))
    small_cells.write_h5ad(tmp_path / "cells.h5ad")
    prepare_shards(tmp_path / "cells.h5ad", tmp_path / "out", small_vocab, val_fraction=0)
    report, whole = done.index("named chunk-000000.json"), done.index("vocab.json")
    assert "shard.00000.mds" in done[:report] and done[report + 1] == "done"
    assert done[-1] == tmp_path.name and report < whole < len(done) - 1
