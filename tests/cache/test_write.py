"""A cache is carried on when interrupted, left when whole, and never mixed with another."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tahoe_distill.cache.record import CacheRecord
from tahoe_distill.cache.write import Split
from tahoe_distill.locks import FolderInUseError, held
from tahoe_distill.models import Tx1Processor
from tahoe_distill.training import caching
from tahoe_distill.training.caching import write_cache
from tests.helpers.cached import EVERYTHING, model


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def test_an_interrupted_cache_carries_on_to_the_same_files(tmp_path, config, monkeypatch):
    run = config()
    write_cache(run, tmp_path / "whole", part_cells=10, progress=False)
    batches = []

    class Interrupted(caching._TeacherForward):
        def __call__(self, batch):
            batches.append(len(batch["gene"]))
            if len(batches) == 4:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with monkeypatch.context() as patch:
        patch.setattr(caching, "_TeacherForward", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_cache(run, tmp_path / "cut", part_cells=10, progress=False)
    with pytest.raises(FileNotFoundError, match="no finished teacher cache; go on with `tahoe-distill cache"):
        model(run, tmp_path / "cut")
    done = len(list((tmp_path / "cut/done").iterdir()))
    assert done == 1
    write_cache(run, tmp_path / "cut", part_cells=10, progress=False)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_finished_cache_is_left_as_it_is(tmp_path, config, monkeypatch):
    run = config()
    first = write_cache(run, tmp_path / "cache", progress=False)
    monkeypatch.setattr(caching, "_TeacherForward", None)
    assert write_cache(run, tmp_path / "cache", progress=False) == first


def test_a_share_lies_evenly_over_all_cells(tmp_path, config):
    record = write_cache(config(), tmp_path / "cache", part_cells=5, cells=10, progress=False)
    assert {name: split["cells"] for name, split in record.splits.items()} == {"train": 10, "eval": 10}
    split = Split("train", SimpleNamespace(num_samples=103), None, 8, 0, views=2, part_cells=10, cells=39)
    assert [(part.view, part.numbers[0], len(part.numbers)) for part in split.parts()] == [
        *((0, 0, 10), (0, 30, 10), (0, 70, 10)),
        *((1, 0, 10), (1, 30, 10), (1, 70, 10)),
    ]
    few = Split("train", SimpleNamespace(num_samples=103), None, 8, 0, views=1, part_cells=10, cells=4)
    assert [part.numbers for part in few.parts()] == [range(4)]


@pytest.mark.parametrize("change", ["collator", "objectives", "precision"])
def test_a_folder_with_another_cache_is_refused(tmp_path, config, change):
    write_cache(config(), tmp_path / "cache", progress=False)
    before = content(tmp_path / "cache")
    other = {
        "collator": lambda: write_cache(config(max_length=9), tmp_path / "cache", progress=False),
        "objectives": lambda: write_cache(config(EVERYTHING, do_mlm=True), tmp_path / "cache", progress=False),
        "precision": lambda: write_cache(config(), tmp_path / "cache", precision="float32", progress=False),
    }[change]
    with pytest.raises(FileExistsError, match="holds a cache of another teacher, collator, objectives or cells"):
        other()
    assert content(tmp_path / "cache") == before


def test_a_folder_with_other_things_is_refused(tmp_path, config):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other things than a teacher cache"):
        write_cache(config(), tmp_path, progress=False)


@pytest.mark.parametrize("moment", ["record", "processor"])
def test_a_cache_that_was_killed_in_its_first_moment_is_carried_on(tmp_path, config, monkeypatch, moment):
    where = {"record": (CacheRecord, "save"), "processor": (Tx1Processor, "save_pretrained")}[moment]
    with monkeypatch.context() as patch:

        def die(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(*where, die)
        with pytest.raises(KeyboardInterrupt):
            write_cache(config(), tmp_path / "cache", progress=False)
    if moment == "record":
        (tmp_path / "cache" / "cache.partial.json.new").write_text("{")
    write_cache(config(), tmp_path / "cache", progress=False)
    write_cache(config(), tmp_path / "whole", progress=False)
    assert content(tmp_path / "cache") == content(tmp_path / "whole")


def test_a_cache_that_another_process_writes_is_left_alone(tmp_path, config):
    with held(tmp_path / "cache", "another"), pytest.raises(FolderInUseError, match="is held by another"):
        write_cache(config(), tmp_path / "cache", progress=False)


def test_outputs_beyond_half_precision_are_refused(tmp_path, config, monkeypatch):
    class Loud(caching._TeacherForward):
        def __call__(self, batch):
            outputs = super().__call__(batch)
            outputs.cell = outputs.cell * 1e6
            return outputs

    monkeypatch.setattr(caching, "_TeacherForward", Loud)
    with pytest.raises(ValueError, match="which float16 cannot hold; use --precision float32"):
        write_cache(config(), tmp_path / "cache", progress=False)
