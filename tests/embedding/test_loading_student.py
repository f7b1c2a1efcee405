"""What counts as a model, and what is said of folders that do not."""

import json
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from tahoe_distill.embedding import embed, load_student
from tahoe_distill.models import GeneVocab, Tx1Processor
from tests.helpers.tiny_student import tiny_cells


@pytest.fixture
def folder(student_dir, tmp_path):
    for path in student_dir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_folder_pair_and_object_are_the_same(student_dir, pair):
    model, processor = pair
    found = [
        embed(tiny_cells(), source, copy=True).obsm["X_tx1"]
        for source in (student_dir, str(student_dir), pair, SimpleNamespace(model=model, processor=processor))
    ]
    assert all((vectors == found[0]).all() for vectors in found)


@pytest.mark.parametrize("source", [3, ("a", "b"), None])
def test_other_objects_are_refused(source):
    with pytest.raises(ValueError, match="expected"):
        load_student(source)


def test_swapped_pair_is_refused(pair):
    with pytest.raises(ValueError, match="in this order"):
        load_student(pair[::-1])


def test_missing_folder_and_file_instead_of_folder(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        load_student(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        load_student(tmp_path / "file")


def test_folder_of_something_else(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="not an exported Tahoe-x1 model: config.json"):
        load_student(tmp_path / "empty")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(ValueError, match="'bert'; expected 'tx1'"):
        load_student(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="expected a JSON object"):
        load_student(folder)


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        load_student(folder)


def test_missing_tensor_is_named(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("transformer_encoder.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="missing keys: transformer_encoder.norm.weight"):
        load_student(folder)


def test_tensor_of_another_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 20}))
    with pytest.raises(ValueError, match="do not fit config.json"):
        load_student(folder)


def test_vocabulary_of_another_length(folder, pair):
    tokens = dict(list(pair[1].vocab.tokens.items())[:-1])
    Tx1Processor(GeneVocab(tokens)).save_pretrained(folder)
    with pytest.raises(ValueError, match="62 tokens, but the gene table of the model has 63 rows"):
        load_student(folder)
