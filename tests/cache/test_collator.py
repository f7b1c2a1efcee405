"""The same batches as without a cache: genes, masks, views and labels."""

import pytest
import torch

from tahoe_distill.data import prepare_shards
from tahoe_distill.training.caching import write_cache
from tests.helpers.cached import EVERYTHING, batches, losses


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
        assert live.keys() == cached.keys() - {"teacher_embedding"}
        for name in live:
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


def test_a_collator_of_other_settings_is_refused_with_the_difference(tmp_path, config):
    write_cache(config(), tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="max_length: 9 here, 32 there"):
        batches(config(max_length=9), tmp_path / "cache")
