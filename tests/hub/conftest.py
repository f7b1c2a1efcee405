"""A folder fit to be published, and a hub on loopback to publish it on."""

import huggingface_hub
import pytest
import torch
from huggingface_hub import file_download

from tahoe_distill.hub.card import write_card
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.folder import to_json
from tahoe_distill.models import Tx1Config, Tx1Processor
from tests.helpers.hub_server import TOKEN, HubServer
from tests.helpers.recorded_run import RUN
from tests.helpers.tiny_student import randomised


@pytest.fixture
def write_student(tmp_path, small_vocab):
    """A function that writes a complete folder with the metrics given."""

    def write(name="hf", seed=0, **metrics):
        torch.manual_seed(seed)
        config = Tx1Config(
            vocab_size=len(small_vocab), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, context_length=32
        )
        metrics = {"eval/cosine": 0.9, "eval/loss": 0.25, **metrics}
        card = write_card(config, RUN, metrics, genes=small_vocab.naming)
        extra = {"README.md": card, "training_hyperparameters.json": to_json(RUN), "metrics.json": to_json(metrics)}
        processor = Tx1Processor(small_vocab, max_length=32)
        write_model_folder(randomised(config, 0.1), processor, tmp_path / name, extra_files=extra)
        return tmp_path / name

    return write


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A running hub that this process, and those it starts, take for the real one."""
    with HubServer() as server:
        settings = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        for name, value in {**settings, "HF_HOME": str(tmp_path / "hf-home")}.items():
            monkeypatch.setenv(name, value)
        # Read from the environment when huggingface_hub was imported, long before.
        constants = huggingface_hub.constants
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        huggingface_hub.utils.reset_sessions()
        yield server
    huggingface_hub.utils.reset_sessions()
