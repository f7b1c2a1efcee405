"""Composer checkpoints: what Composer really writes opens, and nothing that would run code does."""

import datetime

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from tahoe_distill import load_teacher
from tests.helpers.pickles import RunsCode


@pytest.fixture
def checkpoint(release, model):
    """A function that writes a checkpoint in place of the release's weights, with what Composer puts beside them."""
    (release / "model.safetensors").unlink()

    def write(state=None, name="ep1.pt", **extra):
        weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        content = {
            "state": {
                "model": weights,
                "optimizers": {"Adam": {"step": torch.tensor(3.0)}},
                "timestamp": {"Timestamp": {"epoch": 1, "total_wct": datetime.timedelta(seconds=3)}},
                "metadata": {"composer_env_info": {"pytorch_version": TorchVersion("2.7.0")}},
                **(state or {}),
            },
            "rng": [
                {"python": (3, (1, 2), None), "numpy": np.random.RandomState(0).get_state(), "torch": torch.ones(4)}
            ],
            "scalar": np.float64(0.5),
            **extra,
        }
        path = release / name
        torch.save(content, path)
        return path

    return write


def test_checkpoint_equals_release(checkpoint, model):
    teacher = load_teacher(checkpoint())
    state = teacher.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_outlive_the_file(checkpoint):
    path = checkpoint()
    teacher = load_teacher(path)
    before = teacher.fingerprint
    path.write_bytes(b"\0" * path.stat().st_size)
    from tahoe_distill.teacher.load import fingerprint_of

    assert fingerprint_of(teacher.model.state_dict(), teacher.processor.vocab) == before


def test_harmful_checkpoint_is_refused_and_not_run(checkpoint, tmp_path):
    path = checkpoint({"callbacks": RunsCode(tmp_path / "ran")})
    with pytest.raises(ValueError, match=r"refused, because opening it would run code it names \((posix|nt).system\)"):
        load_teacher(path)
    assert not (tmp_path / "ran").exists()


def test_settings_inside_the_checkpoint(checkpoint, release, vocab):
    import yaml

    settings = {
        key: yaml.safe_load((release / f"{key}.yml").read_text()) for key in ("model_config", "collator_config")
    }
    path = checkpoint(settings, vocab=vocab.tokens)
    for name in ("vocab.json", "model_config.yml", "collator_config.yml"):
        (release / name).unlink()
    assert load_teacher(path).processor.vocab.tokens == vocab.tokens


def test_settings_that_are_missing(checkpoint, release):
    path = checkpoint()
    (release / "model_config.yml").unlink()
    with pytest.raises(FileNotFoundError, match="lacks model_config.yml; a Composer checkpoint holds weights alone"):
        load_teacher(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "found a list"),
        ({"state": {}}, "found no weights under state, model"),
        ({"state": 3}, "found no weights under state, model"),
        ({"state": {"model": {"model.a": 1}}}, "'model.a' is none"),
    ],
)
def test_files_that_are_no_checkpoint(release, content, message):
    torch.save(content, release / "ep1.pt")
    with pytest.raises(ValueError, match=message):
        load_teacher(release / "ep1.pt")


def test_broken_files(checkpoint, release):
    path = checkpoint()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="found an unreadable file|refused"):
        load_teacher(path)
    (release / "weights.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"expected a folder or a Composer checkpoint \(.pt\), found another file"):
        load_teacher(release / "weights.bin")
