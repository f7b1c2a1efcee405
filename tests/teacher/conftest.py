"""A small release with random weights, with and without a drug token."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tahoe_distill import GeneVocab, Tx1Config, Tx1Processor
from tahoe_distill.teacher.release import write_release
from tests.helpers.tiny_student import randomised

TOKENS = ["<pad>", "<cls>", "<eoc>", "<drug>", *(f"ENSG{number:011d}" for number in range(20))]
DRUGS = {"<pad>": 0, "aspirin": 1, "taxol": 2}


@pytest.fixture
def vocab():
    return GeneVocab({token: number for number, token in enumerate(TOKENS)})


@pytest.fixture
def make_model():
    """A function that builds a tiny model with every tensor random."""

    def make(**changes):
        torch.manual_seed(0)
        sizes = {"vocab_size": 24, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
        return randomised(Tx1Config(**{**sizes, "context_length": 12, **changes}), 0.1)

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def release(tmp_path, model, vocab):
    """Folder with the files of one size."""
    write_release(model, Tx1Processor(vocab, max_length=12), tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture
def drug_model(make_model):
    return make_model(num_drugs=3, drug_fingerprint_dim=5, drug_token_id=3, drug_act="gelu")


@pytest.fixture
def drug_release(tmp_path, drug_model, vocab):
    processor = Tx1Processor(vocab, max_length=12, use_chem_token=True, drug_to_id=DRUGS)
    write_release(drug_model, processor, tmp_path / "drugs")
    return tmp_path / "drugs"


@pytest.fixture
def edit_weights():
    """A function that edits a folder's tensors in place: name to tensor, or to None to drop it."""

    def edit(folder, **changes):
        path = folder / "model.safetensors"
        tensors = {**load_file(path), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)

    return edit
