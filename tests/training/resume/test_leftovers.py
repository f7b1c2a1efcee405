"""What kills leave is found and removed; what is in use or can be carried on from is not."""

import dataclasses
import json
import os
import time

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.files import finished_folder
from tahoe_distill.locks import LOCK_FILE, Holder, held
from tahoe_distill.training.resume import leftovers
from tahoe_distill.training.resume.leftovers import RunAliveError, find_leftovers, remove_leftovers

LONG_AGO = time.time() - 3600


def age(folder):
    for place, names, files in os.walk(folder):
        for name in [*names, *files]:
            os.utime(os.path.join(place, name), (LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.fixture
def run(tmp_path):
    """A run's folder with all that kills leave, an hour ago, beside what is whole."""
    folder = tmp_path / "run"
    (folder / "checkpoints" / "ep0-ba8.partial").mkdir(parents=True)
    (folder / "checkpoints" / "ep0-ba8.partial" / "__0_0.distcp").write_bytes(bytes(1000))
    (folder / "checkpoints" / "ep0-ba4-rank0.pt.partial").write_bytes(bytes(500))
    (folder / "checkpoints" / "ep0-ba4-rank0.pt").write_bytes(bytes(500))
    (folder / "checkpoints" / "latest-rank0.pt").symlink_to("ep0-ba4-rank0.pt")
    gone = dataclasses.replace(Holder.here("run a"), started=1)
    (folder / "checkpoints" / LOCK_FILE).write_text(json.dumps(dataclasses.asdict(gone)))
    with pytest.raises(KeyboardInterrupt), finished_folder(folder / "hf") as temporary:
        (folder / temporary.name.replace("hf", "old")).mkdir()
        (folder / temporary.name.replace("hf", "old") / "model.safetensors").write_bytes(bytes(300))
        raise KeyboardInterrupt
    (folder / "hf").mkdir()
    (folder / "hf" / "model.safetensors").write_bytes(bytes(300))
    (folder / ".shards.partial").mkdir()
    age(folder)
    return folder


def names(leftovers, kept=False):
    return [leftover.path.name for leftover in leftovers if (leftover.kept is not None) == kept]


def test_what_kills_leave_is_found_and_removed(run, tmp_path):
    found = find_leftovers(run, shared_memory=tmp_path / "none")
    gone = names(found)
    assert [name for name in gone if not name.startswith(".old.writing-")] == [
        ".lock.json", "ep0-ba4-rank0.pt.partial", "ep0-ba8.partial",
    ]  # fmt: skip
    assert len(gone) == 4 and names(found, kept=True) == [".shards.partial"]
    assert remove_leftovers(found) > 1800
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["ep0-ba4-rank0.pt", "latest-rank0.pt"]
    assert sorted(path.name for path in run.iterdir()) == [".shards.partial", "checkpoints", "hf"]


def test_what_has_just_changed_is_kept(run, tmp_path):
    os.utime(run / "checkpoints" / "ep0-ba8.partial" / "__0_0.distcp")
    found = find_leftovers(run, shared_memory=tmp_path / "none")
    assert "ep0-ba8.partial" in names(found, kept=True)


def test_a_run_that_lives_is_left_alone(run, tmp_path):
    (run / "checkpoints" / LOCK_FILE).unlink()
    with held(run / "checkpoints", "run b"), pytest.raises(RunAliveError, match="in use by run b"):
        find_leftovers(run, shared_memory=tmp_path / "none")


def test_blocks_of_shared_memory_that_nobody_maps(tmp_path):
    blocks = tmp_path / "shm"
    blocks.mkdir()
    for name in ("000001_locals", "000002_locals", "another"):
        (blocks / name).write_bytes(bytes(4096))
    age(blocks)
    import mmap

    with open(blocks / "000002_locals", "r+b") as file, mmap.mmap(file.fileno(), 4096):
        assert names(find_leftovers(blocks / "..", shared_memory=blocks)) == ["000001_locals"]
    assert names(find_leftovers(blocks / "..", shared_memory=blocks)) == ["000001_locals", "000002_locals"]


def test_the_command_lists_and_then_removes(run, tmp_path, capsys, monkeypatch):
    # The shared memory of this machine is not the tests' to clean.
    monkeypatch.setattr(leftovers.find_leftovers, "__kwdefaults__", {"shared_memory": tmp_path / "none"})
    assert main(["clean", str(run)]) == 0
    assert "ep0-ba8.partial  (checkpoint that was not finished)" in capsys.readouterr().out
    assert (run / "checkpoints" / "ep0-ba8.partial").is_dir()
    assert main(["clean", str(run / "checkpoints"), "--yes"]) == 0
    assert "removed 3 of 3" in capsys.readouterr().out
    assert main(["clean", str(run / "nowhere")]) == 1
    assert "is no folder; expected that of a run" in capsys.readouterr().err
