"""A teacher cache: the same loss as with the teacher, carried on when interrupted, refused where it does not belong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tahoe_distill.data import prepare_shards
from tahoe_distill.training import caching
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.caching import write_cache
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
from tahoe_distill.training.model import TahoeDistillModel

EVERYTHING = {
    "cosine": 1.0,
    "mse": 0.5,
    "hidden": {"layer_map": [[0, 0], [1, 2]], "grain": "coarse"},
    "expression": {"alpha": 0.5},
}


@pytest.fixture
def config(run_config):
    """A run in the order of the shards, so that batches of both ways can be compared."""

    def build(objectives=None, **collator):
        run_config["model"]["objectives"] = objectives or {"cosine": 1.0, "mse": 0.5}
        for loader in (run_config["train_loader"], run_config["eval_loader"]):
            loader["dataset"]["shuffle"] = False
            loader["collator"].update(collator)
        return run_config

    return build


def loader(config, folder=None, split="train"):
    section = {key: value for key, value in config[f"{split}_loader"].items() if key != "name"}
    cache = None if folder is None else str(folder / split)
    return build_tahoe_mds_dataloader(**section, device_batch_size=8, cache=cache).dataloader


def batches(config, folder=None, split="train", epochs=1):
    cells = loader(config, folder, split)
    return [batch for _ in range(epochs) for batch in cells]


def model(config, folder=None):
    section = {key: value for key, value in config["model"].items() if key != "name"}
    if folder is not None:
        section["teacher"] = {"cache": str(folder)}
    torch.manual_seed(0)
    return TahoeDistillModel(**section).eval()


def losses(config, folder=None, split="train"):
    student = model(config, folder)
    return [student.loss(student(batch), batch) for batch in batches(config, folder, split)]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float16", 2e-3)])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_loss_is_that_of_the_live_teacher(tmp_path, config, precision, tolerance, split):
    run = config(EVERYTHING, do_mlm=True)
    write_cache(run, tmp_path / "cache", precision=precision, part_cells=20, progress=False)
    live, cached = losses(run, None, split), losses(run, tmp_path / "cache", split)
    assert len(live) == len(cached) > 0
    for one, other in zip(live, cached):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance)


def test_student_sees_the_genes_that_the_teacher_saw(tmp_path, config):
    run = config(max_length=12, student_max_length=7, deterministic=False)
    write_cache(run, tmp_path / "cache", precision="float32", progress=False)
    for live, cached in zip(batches(run), batches(run, tmp_path / "cache"), strict=True):
        for name in set(live) - {"expr_raw"}:
            torch.testing.assert_close(live[name], cached[name])
    for one, other in zip(losses(run), losses(run, tmp_path / "cache")):
        torch.testing.assert_close(one["total"], other["total"])


def test_masks_that_the_teacher_does_not_see_are_drawn_anew_each_epoch(tmp_path, config):
    run = config({"cosine": 1.0, "expression": {"alpha": 0.0}}, do_mlm=True, max_length=64, deterministic=False)
    record = write_cache(run, tmp_path / "cache", progress=False)
    assert not record.sees_masks
    live, cached = batches(run, epochs=2), batches(run, tmp_path / "cache", epochs=2)
    for one, other in zip(live, cached, strict=True):
        assert torch.equal(one["gen_mask"], other["gen_mask"])
    assert not torch.equal(cached[0]["gen_mask"], cached[len(cached) // 2]["gen_mask"])


def test_views_are_epochs_of_the_live_run(tmp_path, config):
    run = config(max_length=12, deterministic=False)
    write_cache(run, tmp_path / "cache", views=2, part_cells=16, progress=False)
    live = torch.cat([row for batch in batches(run, epochs=2) for row in batch["gene"]])
    cached = torch.cat([row for batch in batches(run, tmp_path / "cache") for row in batch["gene"]])
    assert torch.equal(live, cached)


def test_labels_are_carried(tmp_path, config, small_cells, small_vocab):
    small_cells.write_h5ad(tmp_path / "cells.h5ad")
    prepare_shards([tmp_path / "cells.h5ad"], tmp_path / "mds", small_vocab, keep=["kind"])
    run = config(reserve_keys=["kind"])
    run["train_loader"]["dataset"]["local"] = str(tmp_path / "mds/train")
    run["eval_loader"]["dataset"]["local"] = str(tmp_path / "mds/val")
    write_cache(run, tmp_path / "cache", progress=False)
    for live, cached in zip(batches(run), batches(run, tmp_path / "cache"), strict=True):
        assert live["kind"] == cached["kind"]


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def test_an_interrupted_cache_carries_on_to_the_same_files(tmp_path, config, monkeypatch):
    run = config()
    write_cache(run, tmp_path / "whole", part_cells=10, progress=False)
    answered = []

    class Interrupted(caching._TeacherForward):
        def __call__(self, batch):
            answered.append(len(batch["gene"]))
            if len(answered) == 4:
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


def test_a_collator_of_other_settings_is_refused_with_the_difference(tmp_path, config):
    write_cache(config(), tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="max_length: 9 here, 32 there"):
        batches(config(max_length=9), tmp_path / "cache")


def test_another_teacher_is_refused(tmp_path, config, small_teacher):
    run = config()
    write_cache(run, tmp_path / "cache", progress=False)
    run["model"]["teacher"] = {"source": "tx1-nano", "cache": str(tmp_path / "cache")}
    with pytest.raises(ValueError, match="is the cache of another teacher: it was written with .* names tx1-nano"):
        model(run)
    run["model"]["teacher"] = {"source": str(small_teacher), "cache": str(tmp_path / "cache")}
    assert model(run).teacher.stored == {"cell"}


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({"gene": 1.0}, "model.objectives.gene needs the teacher's 'genes', .* train with the live teacher"),
        (
            {"hidden": {"layer_map": [[1, 2]]}},
            "model.objectives.hidden needs the teacher's 'hidden', .*`grain: coarse` needs their means only",
        ),
        ({"expression": 1.0}, "model.objectives.expression needs the teacher's 'expression', .*write the cache anew"),
    ],
)
def test_objectives_that_the_cache_cannot_serve_are_refused(tmp_path, config, objectives, message):
    write_cache(config(), tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match=message):
        model(config(objectives, do_mlm=True), tmp_path / "cache")


def test_masked_and_whole_cells_are_not_mixed_up(tmp_path, config):
    write_cache(config(EVERYTHING, do_mlm=True), tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="what the teacher said of masked cells"):
        model(config({"cosine": 1.0}), tmp_path / "cache")


def test_nothing_to_cache_is_said(tmp_path, config):
    with pytest.raises(ValueError, match="model.objectives.gene reads 'genes' of the teacher, and no cache keeps"):
        write_cache(config({"gene": 1.0}), tmp_path / "cache", progress=False)
    run = config()
    run["model"]["teacher"] = None
    with pytest.raises(ValueError, match="model.teacher names no teacher"):
        write_cache(run, tmp_path / "cache", progress=False)
    run = {**config(), "train_loader": {"name": "text"}}
    run["model"]["teacher"] = "tx1-nano"
    with pytest.raises(ValueError, match="the loader of train has no dataset; expected a tahoe_mds loader"):
        write_cache(run, tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="the configuration has no train_loader"):
        write_cache({**run, "train_loader": None}, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


def test_an_altered_record_is_refused(tmp_path, config):
    write_cache(config(), tmp_path / "cache", progress=False)
    path = tmp_path / "cache/cache.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "float32"}))
    with pytest.raises(ValueError, match="was altered"):
        model(config(), tmp_path / "cache")


def test_answers_beyond_half_precision_are_refused(tmp_path, config, monkeypatch):
    class Loud(caching._TeacherForward):
        def __call__(self, batch):
            outputs = super().__call__(batch)
            outputs.cell = outputs.cell * 1e6
            return outputs

    monkeypatch.setattr(caching, "_TeacherForward", Loud)
    with pytest.raises(ValueError, match="which float16 cannot hold; use --precision float32"):
        write_cache(config(), tmp_path / "cache", progress=False)


def test_embeddings_from_obsm_take_the_same_way(tmp_path, config, small_cells, small_vocab):
    """Vectors in ``obsm`` are learned from without a teacher, and other objectives refused."""
    adata = small_cells.copy()
    adata.obsm["X_tx1"] = np.random.default_rng(1).normal(size=(adata.n_obs, 5)).astype(np.float32)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    prepare_shards([tmp_path / "cells.h5ad"], tmp_path / "mds", small_vocab, teacher_key="X_tx1")
    run = config()
    run["train_loader"]["dataset"]["local"] = str(tmp_path / "mds/train")
    run["model"]["student"]["context_length"] = 32
    student = model(run, tmp_path / "mds")
    batch = batches(run)[0]
    cells = student(batch)["student"].cell
    expected = 1 - torch.cosine_similarity(cells, batch["teacher_embedding"]).mean()
    torch.testing.assert_close(student.loss(student(batch), batch)["cosine"], expected)
    assert student.make_processor().vocab.tokens == small_vocab.tokens
    with pytest.raises(ValueError, match="embeddings prepared from obsm have nothing else"):
        model(config({"expression": 1.0}, do_mlm=True), tmp_path / "mds")


def test_shards_without_embeddings_are_refused(config, shards):
    with pytest.raises(ValueError, match="prepare them with --teacher-key KEY"):
        model(config(), shards)


def test_a_loader_that_does_not_read_the_cache_is_refused(tmp_path, config):
    run = config()
    write_cache(run, tmp_path / "cache", progress=False)
    write_cache(run, tmp_path / "other", precision="float32", progress=False)
    student = model(run, tmp_path / "cache")
    check_loaders(student, loader(run, tmp_path / "cache"), {})
    with pytest.raises(ValueError, match="train_loader does not read it: set train_loader.cache"):
        check_loaders(student, loader(run), {})
    with pytest.raises(ValueError, match="train_loader.cache is another cache"):
        check_loaders(student, loader(run, tmp_path / "other"), {})


def test_cached_means_need_a_student_that_sees_as_much(tmp_path, config):
    run = config({"hidden": {"layer_map": [[1, 2]], "grain": "coarse"}}, max_length=12, student_max_length=7)
    write_cache(run, tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match=r"the student sees fewer \(train_loader.collator.student_max_length\)"):
        check_loaders(model(run, tmp_path / "cache"), loader(run, tmp_path / "cache"), {})


def test_a_checkpoint_goes_on_with_the_cache_of_its_teacher(tmp_path, config):
    run = config()
    write_cache(run, tmp_path / "cache", progress=False)
    cached = model(run, tmp_path / "cache")
    cached.load_state_dict(model(run).state_dict())
    cached(batches(run, tmp_path / "cache")[0])
