"""Exported folders: whole or absent, the same model without this package, and the golden vectors that prove it."""

import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tahoe_distill.files import finished_folder
from tahoe_distill.hub.export import (
    Golden,
    GoldenMismatchError,
    golden_text,
    read_golden,
    require_equal,
    verify_model_folder,
    write_model_folder,
)
from tahoe_distill.hub.folder import GOLDEN_FILE, MODEL_FILES, strays, weight_files
from tahoe_distill.models import Tx1Config, Tx1Model, Tx1Processor
from tests.helpers.tiny_student import randomised

FRESH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("composer", "llmfoundry", "streaming", "anndata", "scanpy", "tahoe_distill"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np, torch
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
cells = processor.encode_rows(np.load(sys.argv[2]), np.arange(3, 43))
with torch.no_grad():
    np.save(sys.argv[3], model(**processor.pad(cells)).pooler_output.numpy())
"""
BATCH = {"gene_ids": np.array([[1, 5]], np.int64), "expression_bins": np.array([[-2.0, 7.0]], np.float32)}
OUTPUTS = np.array([[0.1, -1 / 3]], np.float32)


@pytest.fixture
def student(small_vocab):
    config = Tx1Config(
        vocab_size=43, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, projection_dim=16, context_length=32
    )
    return randomised(config, 0.1), Tx1Processor(small_vocab, max_length=32)


def test_loads_in_a_fresh_process_without_this_package(tmp_path, student):
    model, processor = student
    counts = np.random.default_rng(0).poisson(1.0, (5, 40)).astype(np.float32)
    np.save(tmp_path / "counts.npy", counts)
    write_model_folder(model, processor, tmp_path / "hf")
    command = [sys.executable, "-c", FRESH, tmp_path / "hf", tmp_path / "counts.npy", tmp_path / "out.npy"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules")}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True)
    with torch.no_grad():
        expected = model(**processor.pad(processor.encode_rows(counts, np.arange(3, 43)))).pooler_output.numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_holds_the_files_that_are_listed_and_no_others(tmp_path, student):
    write_model_folder(*student, tmp_path / "hf", extra_files={"README.md": "card"})
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names == {*MODEL_FILES, GOLDEN_FILE, "README.md", "model.safetensors"}
    assert [path.name for path in weight_files(tmp_path / "hf")] == ["model.safetensors"]
    assert strays(tmp_path / "hf") == []


def test_verification_notices_other_weights(tmp_path, student):
    write_model_folder(*student, tmp_path / "hf", verify=True)
    assert verify_model_folder(tmp_path / "hf") <= 1e-5
    path = tmp_path / "hf" / "model.safetensors"
    tensors = load_file(path)
    tensors["projection.bias"] = tensors["projection.bias"] + 0.1
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(GoldenMismatchError, match="hf gives other cell embeddings"):
        verify_model_folder(tmp_path / "hf")


def test_verification_notices_code_that_does_not_load(tmp_path, student):
    write_model_folder(*student, tmp_path / "hf")
    (tmp_path / "hf" / "modeling_tx1.py").write_text("import a_module_that_nobody_has\n")
    with pytest.raises(GoldenMismatchError, match="(?s)hf does not load in a fresh process.*a_module_that_nobody_has"):
        verify_model_folder(tmp_path / "hf")


def test_an_existing_folder_is_left_alone(tmp_path, student):
    (tmp_path / "hf").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        write_model_folder(*student, tmp_path / "hf")
    assert list(tmp_path.iterdir()) == [tmp_path / "hf"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), finished_folder(tmp_path / "hf") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_overwriting_replaces_only_when_the_new_folder_is_whole(tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "old").write_text("old")
    with pytest.raises(RuntimeError), finished_folder(tmp_path / "hf", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "hf" / "old").exists()
    with finished_folder(tmp_path / "hf", overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in (tmp_path / "hf").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [tmp_path / "hf"]


def test_the_auto_classes_need_no_remote_code_with_this_package(tmp_path, student):
    from transformers import AutoModel, AutoProcessor

    write_model_folder(*student, tmp_path / "hf")
    model = AutoModel.from_pretrained(tmp_path / "hf", trust_remote_code=False)
    processor = AutoProcessor.from_pretrained(tmp_path / "hf", trust_remote_code=False)
    assert type(model) is Tx1Model
    assert type(processor) is Tx1Processor
    assert processor.vocab.tokens == student[1].vocab.tokens


def test_written_and_read_back_exactly(tmp_path):
    (tmp_path / "golden.json").write_text(golden_text(Golden(BATCH, OUTPUTS)))
    batch, outputs = read_golden(tmp_path)
    assert (outputs == OUTPUTS).all()
    assert all((batch[name] == BATCH[name]).all() and batch[name].dtype == BATCH[name].dtype for name in BATCH)


def test_a_model_that_answers_nan_has_no_golden_vectors():
    with pytest.raises(GoldenMismatchError, match="gives nan for value 1 of test cell 0"):
        golden_text(Golden(BATCH, np.array([[0.1, np.nan]])))


@pytest.mark.parametrize("wrong", [0.2, np.nan])
def test_a_difference_is_told_with_both_numbers(wrong):
    found = np.array([[0.1, wrong]], np.float32)
    with pytest.raises(GoldenMismatchError, match=f"it gives other .* cell 0 is {wrong}.*, expected -0.3333333"):
        require_equal(found, OUTPUTS, "it")


def test_another_width_is_a_mismatch():
    with pytest.raises(GoldenMismatchError, match=r"shape \(1, 3\), the golden vectors have \(1, 2\)"):
        require_equal(np.zeros((1, 3)), OUTPUTS, "it")


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "golden.json").write_text('{"inputs": {}}')
    with pytest.raises(ValueError, match="expected inputs and pooler_output, found damaged .* delete the file"):
        read_golden(tmp_path)


def test_a_vocabulary_that_was_cut_short_is_noticed(tmp_path, student, monkeypatch):
    model, processor = student
    save = Tx1Processor.save_pretrained

    def cut(self, folder):
        paths = save(self, folder)
        (folder / "vocab.json").write_text(json.dumps(dict(list(self.vocab.tokens.items())[:20])))
        return paths

    monkeypatch.setattr(Tx1Processor, "save_pretrained", cut)
    with pytest.raises(GoldenMismatchError, match="from counts through its processor|does not load"):
        write_model_folder(model, processor, tmp_path / "hf", verify=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_the_folder_follows_the_umask(tmp_path, student, mask, file_mode, folder_mode):
    before = os.umask(mask)
    try:
        write_model_folder(*student, tmp_path / "hf")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "hf").stat().st_mode) == folder_mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "hf").iterdir()} == {file_mode}
