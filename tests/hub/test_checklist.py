"""The checklist before a push: a whole folder passes, each fault is told by its name."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tahoe_distill.hub.checklist import CHECKS, IncompleteFolderError, failed_checks, require_complete


def test_a_complete_folder_passes(write_student):
    require_complete(write_student())


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _drop_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("flag_encoder.weight")
    save_file(tensors, folder / "model.safetensors")


def _widen(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "flag_encoder.weight": np.zeros((2, 9), np.float32)}, folder / "model.safetensors")


def _edit(name, **changes):
    def edit(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return edit


def _write(name, text):
    return lambda folder: (folder / name).write_text(text)


def _append(name, text):
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def _remove(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("card", _remove("README.md"), "expected a model card README.md, found nothing"),
        ("card", _write("README.md", "hello"), "found a file without a YAML head"),
        ("hyperparameters", _write("training_hyperparameters.json", "{}"), "is empty"),
        ("hyperparameters", _remove("training_hyperparameters.json"), "is missing; expected a JSON object"),
        ("metrics", _write("metrics.json", "{}"), "is empty"),
        ("metrics", _write("metrics.json", '{"eval/loss": NaN}'), "expected finite numbers, found eval/loss = nan"),
        ("metrics", _write("metrics.json", "[]"), "expected a JSON object, found a list"),
        ("config", _edit("config.json", model_type="bert"), "expected model_type 'tx1', found 'bert'"),
        ("card", _write("training_hyperparameters.json", '{"model": "tx1"}'), "not laid out as an export writes it"),
        ("weights", _remove("model.safetensors"), "found no weights"),
        ("weights", _truncate, "truncated or damaged"),
        ("weights", _drop_tensor, "missing: flag_encoder.weight"),
        ("weights", _widen, r"flag_encoder.weight: \(2, 9\) in the weights, \(2, 8\) in config.json"),
        ("vocabulary", _edit("vocab.json", EXTRA=43), "vocab.json has 44 tokens, but the gene table has 43 rows"),
        ("code", _remove("processing_tx1.py"), "processing_tx1.py missing"),
        ("code", _edit("config.json", auto_map={}), "no auto_map"),
        ("stray files", _write("checkpoint.pt", ""), "found checkpoint.pt, which are no part"),
        ("stray files", _write("cells.pkl", ""), "found cells.pkl"),
        ("stray files", lambda folder: (folder / "ep1").mkdir(), "found ep1/"),
        (
            "secrets",
            _edit("training_hyperparameters.json", loggers={"wandb": {"api_key": "x"}}),
            "credentials at loggers.wandb.api_key",
        ),
        (
            "secrets",
            _edit("training_hyperparameters.json", train_loader={"remote": ["https://me:pass@store.org/cells"]}),
            "credentials at train_loader.remote.0",
        ),
        (
            "secrets",
            _edit("training_hyperparameters.json", note="see hf_" + 24 * "a"),
            "credentials at note",
        ),
        (
            "secrets",
            _edit("training_hyperparameters.json", remote="https://store.org/cells?X-Amz-Signature=ab"),
            "credentials at remote",
        ),
        ("code", _append("modeling_tx1.py", "\nimport os\n"), "modeling_tx1.py: not what this package exports"),
        (
            "card",
            _edit("metrics.json", **{"eval/cosine": 0.99}),
            "README.md says eval/cosine = 0.9, the record beside it says 0.99",
        ),
        ("secrets", _append("README.md", "\nAKIA" + 16 * "A"), "README.md seems to hold credentials"),
    ],
)
def test_each_fault_is_told_by_name(write_student, name, spoil, message):
    folder = write_student()
    spoil(folder)
    assert name in failed_checks(folder)
    with pytest.raises(IncompleteFolderError, match=rf"\[{name}\] .*{message}"):
        require_complete(folder)


def test_all_faults_are_told_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    assert set(failed_checks(tmp_path / "empty")) == set(CHECKS) - {"stray files"}


def test_no_folder_at_all(tmp_path):
    with pytest.raises(IncompleteFolderError, match="is no folder"):
        require_complete(tmp_path / "nowhere")


def test_settings_that_only_resemble_credentials_pass(write_student):
    folder = write_student()
    _edit(
        "training_hyperparameters.json",
        tokenizer={},
        remote="s3://cells/train@v2",
        url="https://store.org:443/a?b=c",
        fingerprint=40 * "a",
    )(folder)
    assert "secrets" not in failed_checks(folder)
