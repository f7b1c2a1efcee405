"""Every committed YAML is one that llm-foundry and this project accept."""

import pytest
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS
from omegaconf import OmegaConf

from tahoe_distill.models import Tx1Config
from tahoe_distill.objectives import Shapes, build_objectives
from tahoe_distill.training.dataloader import _check_sections
from tahoe_distill.training.student.build import student_config
from tests.helpers import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))


@pytest.fixture(params=CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def config(request):
    return OmegaConf.to_container(OmegaConf.load(request.param), resolve=True)


def test_keys_are_known_and_the_needed_ones_there(config):
    assert set(config) <= TRAIN_CONFIG_KEYS
    needed = {"model", "tokenizer", "optimizer", "scheduler", "train_loader", "max_duration", "max_seq_len"}
    assert set(config) >= needed | {"global_train_batch_size", "device_eval_batch_size"}
    assert config["accumulate_train_batch_on_tokens"] is False


def test_loaders_have_known_options(config):
    for loader in (config["train_loader"], config["eval_loader"]):
        _check_sections(loader["dataset"], loader["collator"])


def test_student_and_objectives_can_be_built(config):
    model = config["model"]
    teacher = Tx1Config() if model["teacher"] else None
    student = student_config(model["student"], teacher)
    shapes = {"student_width": student.hidden_size, "student_layers": student.num_hidden_layers}
    if teacher is not None:
        shapes |= {"teacher_width": 512, "teacher_embedding": 512, "teacher_layers": 12}
    build_objectives(model["objectives"], Shapes(student_embedding=student.embedding_size, **shapes))


def test_the_launch_command_stands_at_the_top():
    for path in CONFIGS:
        assert path.read_text().startswith(
            f"# composer scripts/distill.py -f {path.relative_to(REPOSITORY).as_posix()}"
        )
