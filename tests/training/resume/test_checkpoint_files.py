"""Which checkpoints a folder holds, and whether each is whole."""

import os
import pickle
import zipfile

import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader

from tahoe_distill import files
from tahoe_distill.training.resume.checkpoint_files import SyncedPaths, find_checkpoint, find_checkpoints
from tests.helpers.checkpoints import cut, write_file, write_shards
from tests.helpers.in_process import train
from tests.helpers.pickles import RunsCode

WRITERS = pytest.mark.parametrize("write", [write_file, write_shards], ids=["file", "shards"])


@WRITERS
def test_a_whole_checkpoint_is_whole_and_knows_its_run(tmp_path, write):
    saved = find_checkpoint(write(tmp_path, 1, 12, "my-run"))
    assert (saved.epoch, saved.batch, saved.sharded) == (1, 12, write is write_shards)
    assert saved.damage() is None
    assert saved.run_name() == "my-run"


def test_checkpoints_are_found_by_name_and_sorted_by_batch(tmp_path):
    for epoch, batch in ((1, 12), (0, 3), (2, 12), (0, 9)):
        write_file(tmp_path, epoch, batch)
    write_shards(tmp_path, 1, 10)
    for name in ("ep0-ba1-rank1.pt", "ep0-ba1-rank0.pt.partial", "notes.txt", "ep0-ba2"):
        (tmp_path / name).write_text("other")
    (tmp_path / "ep0-ba4-rank0.pt").mkdir()
    os.symlink("ep0-ba3-rank0.pt", tmp_path / "ep5-ba50-rank0.pt")
    found = [(saved.epoch, saved.batch) for saved in find_checkpoints(tmp_path)]
    assert found == [(0, 3), (0, 9), (1, 10), (1, 12), (2, 12)]


def test_a_file_that_breaks_off_is_damaged(tmp_path):
    path = write_file(tmp_path, 0, 3)
    cut(path)
    assert find_checkpoint(path).damage() == f"it breaks off after {path.stat().st_size} bytes"
    path.write_bytes(b"")
    assert find_checkpoint(path).damage() == "it breaks off after 0 bytes"


@WRITERS
def test_one_that_another_node_moved_away_is_damaged(tmp_path, write):
    path = write(tmp_path, 0, 3)
    saved = find_checkpoint(path)
    path.rename(tmp_path / "aside")
    assert saved.damage() == "it is gone"


def test_a_file_is_damaged_wherever_it_was_cut(tmp_path):
    path = write_file(tmp_path, 0, 3)
    saved, data = find_checkpoint(path), path.read_bytes()
    for size in {*range(0, len(data), 97), *range(len(data) - 300, len(data))}:
        path.write_bytes(data[:size])
        assert saved.damage() == f"it breaks off after {size} bytes"


def test_a_share_that_a_later_run_was_writing_anew_is_damaged_where_one_of_its_entries_ends(tmp_path):
    """The metadata of the first writing is still there, and every entry of the share is whole."""
    folder = write_shards(tmp_path, 0, 3)
    share = next(folder.glob("*.distcp"))
    ends = [place.offset + place.length for place in torch_metadata(folder).storage_data.values()]
    os.truncate(share, min(ends))
    assert zipfile.is_zipfile(share)
    assert f"{share.name} has {min(ends)} bytes where .metadata counts on" in find_checkpoint(folder).damage()


def torch_metadata(folder):
    """What torch itself reads."""
    return FileSystemReader(folder).read_metadata()


@WRITERS
def test_values_are_read_by_their_keys(tmp_path, write):
    saved = find_checkpoint(write(tmp_path, 0, 3, "my-run"))
    assert saved.read("state", "run_name") == "my-run"
    with pytest.raises(KeyError, match="nothing"):
        saved.read("state", "nothing")


def test_a_folder_without_metadata_or_with_less_data_is_damaged(tmp_path):
    folder = write_shards(tmp_path, 0, 3)
    share = next(folder.glob("*.distcp"))
    size = share.stat().st_size
    cut(share)
    assert find_checkpoint(folder).damage() == (
        f"{share.name} has {size // 2} bytes where .metadata counts on {size} or more"
    )
    share.unlink()
    assert f"{share.name} has 0 bytes" in find_checkpoint(folder).damage()
    cut(folder / ".metadata")
    assert "its .metadata cannot be read" in find_checkpoint(folder).damage()
    (folder / ".metadata").unlink()
    assert find_checkpoint(folder).damage() == "it has no .metadata, which is written last"


def test_nothing_in_a_pickle_is_run(tmp_path):
    path, folder = tmp_path / "ep0-ba3-rank0.pt", tmp_path / "ep0-ba4"
    torch.save({"state": {"run_name": RunsCode(str(tmp_path / "made"))}}, path)
    folder.mkdir()
    (folder / ".metadata").write_bytes(pickle.dumps(RunsCode(str(tmp_path / "made"))))
    for saved in find_checkpoints(tmp_path):
        saved.damage()
        saved.run_name()
    assert not (tmp_path / "made").exists()


@pytest.fixture
def steps(monkeypatch):
    """What is put on the disk and what is removed, in order, by name."""
    done, sync_one, remove = [], files._sync_one, os.remove

    def note_sync(path):
        done.append(f"sync {path.name}")
        sync_one(path)

    def note_removal(path, **settings):
        done.append(f"remove {os.path.basename(path)}")
        remove(path, **settings)

    monkeypatch.setattr(files, "_sync_one", note_sync)
    monkeypatch.setattr(os, "remove", note_removal)
    return done


def test_a_checkpoint_goes_when_the_next_is_on_the_disk(tmp_path, run_config, steps):
    saving = {"save_folder": str(tmp_path / "ckpt"), "save_interval": "3ba", "save_num_checkpoints_to_keep": 1}
    train({**run_config, **saving, "callbacks": {}, "eval_interval": 0}, tmp_path / "run.yaml")
    told = [step for step in steps if "ep" in step or step == "sync ckpt"]
    assert told == [
        "sync ep0-ba3-rank0.pt",
        "sync ckpt",
        "sync ep0-ba6-rank0.pt",
        "sync ckpt",
        "remove ep0-ba3-rank0.pt",
    ]


def test_of_a_sharded_one_every_share_is_on_the_disk_before_the_processes_go_on(tmp_path, steps):
    folder = write_shards(tmp_path, 0, 3)
    paths = SyncedPaths([], sharded=lambda: True, wait=lambda: steps.append("wait"))
    paths.append(str(next(folder.glob("__*"))))
    assert sorted(steps[:-3]) == sorted(f"sync {path.name}" for path in folder.iterdir())
    assert steps[-3:] == [f"sync {folder.name}", f"sync {tmp_path.name}", "wait"]
    assert len(paths) == 1
