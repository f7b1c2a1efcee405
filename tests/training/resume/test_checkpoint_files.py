"""Which checkpoints a folder holds, and whether each is whole."""

import os
import pickle

import pytest
import torch

from tahoe_distill.training.resume.checkpoint_files import find_checkpoint, find_checkpoints
from tests.helpers.checkpoints import cut, write_file, write_shards
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


def test_a_flipped_byte_in_the_structure_is_found(tmp_path):
    path = write_file(tmp_path, 0, 3)
    data = bytearray(path.read_bytes())
    data[data.index(b"run_name")] ^= 1
    path.write_bytes(data)
    assert "it cannot be read (BadZipFile" in find_checkpoint(path).damage()


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
