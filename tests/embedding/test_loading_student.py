"""What counts as a model, and what is said of folders that do not."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tahoe_distill.embedding import embed, load_student
from tahoe_distill.embedding.loading import processor_fingerprint, weights_fingerprint
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


CONTRADICTIONS = {
    "num_bins": (10, "num_bins 10 against 51"),
    "pad_value": (7.0, "pad_value 7.0 against -2.0"),
    "max_length": (10**9, "max_length 1000000000 against a context_length of 1024"),
}
NO_SETTINGS = {
    "max_length": [0, -5, 1, "64", True],
    "num_bins": [2, None, "51"],
    "do_binning": ["no", 1],
    "pad_value": ["x"],
}


@pytest.fixture
def edit(folder):
    """Change settings in a JSON file of the folder."""

    def change(name, **settings):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_settings_that_contradict_the_model(name, folder, edit, pair):
    value, message = CONTRADICTIONS[name]
    edit("preprocessor_config.json", **{name: value})
    # The processor alone, as an exported folder is read without this package.
    for load in (load_student, Tx1Processor.from_pretrained):
        with pytest.raises(ValueError, match=f"the processor contradicts the model: {message}"):
            load(folder)
    model, processor = pair
    setattr(processor := copy.copy(processor), name, value)
    for use in (lambda: embed(tiny_cells(), (model, processor)), lambda: model.embed(processor, tiny_cells())):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("name", NO_SETTINGS)
def test_settings_of_another_kind_or_range(name, folder, edit):
    for value in NO_SETTINGS[name]:
        edit("preprocessor_config.json", **{name: value})
        with pytest.raises(ValueError, match=f"{name} of the processor must be .*, found"):
            load_student(folder)


def test_files_of_another_type(folder, edit):
    edit("config.json", num_bins="51")
    with pytest.raises(ValueError, match="num_bins must be a positive integer, found '51'"):
        load_student(folder)
    edit("config.json", num_bins=51)
    (folder / "gene_symbols.json").write_text('{"TP53": ["ENSG00000141510"]}')
    with pytest.raises(ValueError, match="gene_symbols.json: expected an Ensembl id for each symbol, found ..ENSG"):
        load_student(folder)
    (folder / "gene_symbols.json").unlink()
    (folder / "preprocessor_config.json").write_text("[1]")
    with pytest.raises(ValueError, match="must be a JSON object of settings, found a list"):
        load_student(folder)


def test_every_number_counts_for_the_fingerprint(pair):
    model, processor = pair
    changed = copy.deepcopy(model)
    weights, first = weights_fingerprint(model), processor_fingerprint(processor)
    assert weights_fingerprint(changed) == weights
    with torch.no_grad():
        changed.gene_encoder.embedding.weight[5, 3] += 1e-6
    assert weights_fingerprint(changed) != weights
    assert weights_fingerprint(copy.deepcopy(model).bfloat16()) != weights
    tokens = dict(processor.vocab.tokens)
    others = [
        Tx1Processor(GeneVocab(tokens), max_length=31),
        Tx1Processor(GeneVocab(tokens, {"TP53": "ENSG00000000001"}), max_length=32),
    ]
    assert len({first, *map(processor_fingerprint, others)}) == 3
    assert processor_fingerprint(Tx1Processor(GeneVocab(tokens), max_length=32)) == first
