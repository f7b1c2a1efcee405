"""A cache in place of the teacher: what it serves, and what is refused before training."""

import json

import numpy as np
import pytest
import torch

from tahoe_distill import embed, load_teacher
from tahoe_distill.data import prepare_shards
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.caching import write_cache
from tahoe_distill.training.forward import LiveTeacher
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers.cached import EVERYTHING, batches, loader, losses, model


def test_a_narrower_student_learns_from_the_cache_as_from_its_teacher(tmp_path, config):
    run = config({"cosine": {"center": True}, "mse": 1.0})
    run["model"]["student"]["projection_dim"] = 5
    write_cache(run, tmp_path / "cache", precision="float32", progress=False)
    live, cached = losses(run), losses(run, tmp_path / "cache")
    torch.testing.assert_close([x["total"] for x in cached], [x["total"] for x in live])


def test_an_altered_record_is_refused(tmp_path, config):
    write_cache(config(), tmp_path / "cache", progress=False)
    path = tmp_path / "cache/cache.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "float32"}))
    with pytest.raises(ValueError, match="was altered"):
        model(config(), tmp_path / "cache")


def test_another_teacher_is_refused(tmp_path, config, small_teacher):
    run = config()
    write_cache(run, tmp_path / "cache", progress=False)
    run["model"]["teacher"] = {"source": "tx1-nano", "cache": str(tmp_path / "cache")}
    with pytest.raises(ValueError, match="is the cache of another teacher: it was written with .* names tx1-nano"):
        model(run)
    run["model"]["teacher"] = {"source": str(small_teacher), "cache": str(tmp_path / "cache")}
    assert model(run).teacher.available == {"cell"}


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


@pytest.fixture
def own_vectors(tmp_path, config, small_cells, small_teacher):
    """A run on shards that carry the vectors of the teacher, and its teacher's section."""
    adata, teacher = small_cells.copy(), load_teacher(small_teacher)
    embed(adata, (teacher.model, teacher.processor), normalize=False)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    prepare_shards([tmp_path / "cells.h5ad"], tmp_path / "mds", teacher.processor.vocab, teacher_key="X_tx1")
    run = config(max_length=64)
    run["train_loader"]["dataset"]["local"] = str(tmp_path / "mds/train")
    run["model"]["teacher"] = {"source": str(small_teacher), "cache": str(tmp_path / "mds")}
    return run


def test_a_teacher_beside_its_vectors_labels_augmented_cells(own_vectors):
    section = {key: value for key, value in own_vectors["model"].items() if key != "name"}
    provider = TahoeDistillModel(**section).teacher
    live = LiveTeacher.forward
    needs = frozenset({"cell"})
    (plain, *_), stored = batches(own_vectors), "teacher_embedding"
    assert provider.forward(plain, needs=needs, sees_masks=False).cell is plain[stored]
    own_vectors["train_loader"]["collator"]["augment"] = {"mix": {"probability": 1.0}}
    mixed = batches(own_vectors)[0]
    assert stored not in mixed
    expected = live(provider, mixed, needs=needs, sees_masks=False).cell
    torch.testing.assert_close(provider.forward(mixed, needs=needs, sees_masks=False).cell, expected)
    assert provider.forward(plain, needs=needs | {"genes"}, sees_masks=False).genes is not None
    # Another run than that of the teacher alone.
    assert provider.fingerprint != load_teacher(section["teacher"]["source"]).fingerprint


def test_vectors_of_another_model_are_refused_beside_a_teacher(own_vectors):
    student = model(own_vectors)
    batch = batches(own_vectors)[0]
    batch["teacher_embedding"] = torch.randn_like(batch["teacher_embedding"])
    with pytest.raises(ValueError, match="the vectors beside the cells are not what this teacher gives"):
        student(batch)


def test_augmented_cells_need_a_teacher(own_vectors):
    del own_vectors["model"]["teacher"]["source"]
    own_vectors["train_loader"]["collator"]["augment"] = {"mix": {"probability": 1.0}}
    with pytest.raises(ValueError, match=r"name the teacher that gave the others, .* \(model.teacher.source beside"):
        check_loaders(model(own_vectors), loader(own_vectors), {})


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
