"""Every committed YAML is one that llm-foundry and this project accept, and says what it said."""

import json

import pytest
import yaml
from llmfoundry.registry import config_transforms
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS
from llmfoundry.utils.registry_utils import import_file
from omegaconf import OmegaConf

from tahoe_distill.cli.defaults import merge
from tahoe_distill.hub.card import write_card
from tahoe_distill.models import Tx1Config
from tahoe_distill.objectives import Shapes, build_objectives
from tahoe_distill.training.dataloader import _check_sections
from tahoe_distill.training.student.build import student_config
from tests.helpers import REPOSITORY

BASE = REPOSITORY / "configs/base.yaml"
# Sweeps are no runs; tests/cli/test_sweep.py has them.
CONFIGS = sorted(
    path for path in (REPOSITORY / "configs").rglob("*.yaml") if path != BASE and path.parent.name != "sweeps"
)
# What each run on the public shards comes to, by dotted keys: the first whole, the others by how they differ from it.
RESOLVED = json.loads((REPOSITORY / "tests/structure/resolved_configs.json").read_text())
FIRST = RESOLVED["70m"]


def resolved(path):
    """A committed configuration with its base, values filled in."""
    return OmegaConf.to_container(merge(yaml.safe_load(path.read_text())), resolve=True)


def flat(value, prefix=""):
    """A nested mapping by dotted keys."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        key: leaf for name, part in value.items() for key, leaf in flat(part, f"{prefix}.{name}".strip(".")).items()
    }


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Where runs are started: the path of the base starts there."""
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(params=CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def config(request):
    return resolved(request.param)


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
        command = f"# composer scripts/distill.py -f {path.relative_to(REPOSITORY).as_posix()}"
        assert path.read_text().startswith(command)


@pytest.mark.parametrize("name", RESOLVED)
def test_what_a_run_on_the_public_shards_comes_to(name):
    found = flat(resolved(REPOSITORY / f"configs/{name}.yaml"))
    # How it is put together is not part of what it says.
    found = {key: value for key, value in found.items() if key not in ("code_paths", "variables.base")}
    differs = RESOLVED[name] if name != "70m" else {"changed": {}, "gone": []}
    kept = {key: value for key, value in FIRST.items() if key not in differs["gone"]}
    assert found == {**kept, **differs["changed"]}


@pytest.mark.parametrize("name", RESOLVED)
def test_llm_foundry_puts_it_together_the_same(name):
    """By its own way: what ``code_paths`` names is imported, then every transform is called with the resolved YAML."""
    path = REPOSITORY / f"configs/{name}.yaml"
    own = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    for code in own["code_paths"]:
        import_file(code)
    found = config_transforms.get("tahoe_distill_base")(own)
    teacher = {key: found["model"]["teacher"][key] for key in ("source", "size")}
    # Nothing but the place of the vocabulary is added to what the run says.
    assert [found[loader].pop("vocab") for loader in ("train_loader", "eval_loader")] == [teacher, teacher]
    assert found == resolved(path)


@pytest.mark.parametrize("name", RESOLVED)
def test_the_streams_mix_what_the_release_was_trained_on(name):
    """In the shares of their sizes: 96 million cells, 61, and for the 3b 112."""
    run = resolved(REPOSITORY / f"configs/{name}.yaml")
    sizes = {"tahoe_100m": 96, "cellxgene": 61} | ({"scbasecamp": 112} if name == "3b" else {})
    streams = run["train_loader"]["dataset"]["streams"]
    shares = {stream: section["proportion"] for stream, section in streams.items()}
    assert shares == pytest.approx({stream: size / sum(sizes.values()) for stream, size in sizes.items()}, abs=0.01)
    assert sum(shares.values()) == pytest.approx(1.0)
    seen = {stream: section["choose"] for stream, section in run["eval_loader"]["dataset"]["streams"].items()}
    assert seen == dict.fromkeys(sizes, 8192)


@pytest.mark.parametrize("name", RESOLVED)
def test_the_card_of_its_student_names_teacher_and_licence(name):
    card = write_card(Tx1Config(), resolved(REPOSITORY / f"configs/{name}.yaml"), {})
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["license"], head["base_model"]) == ("apache-2.0", "tahoebio/Tahoe-x1")


@pytest.mark.parametrize("name", RESOLVED)
def test_a_run_states_only_what_differs(name):
    base = flat(yaml.safe_load(BASE.read_text()))
    own = flat(yaml.safe_load((REPOSITORY / f"configs/{name}.yaml").read_text()))
    assert not {key for key, value in own.items() if key in base and base[key] == value}


def test_a_base_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="variables.base is configs/base.yaml, which is not there; start the"):
        merge({"variables": {"base": "configs/base.yaml"}})


def test_overrides_go_before_the_base():
    content = yaml.safe_load((REPOSITORY / "configs/70m.yaml").read_text())
    run = merge(content, ["train_loader.num_workers=0", "max_seq_len=64", "model.objectives.mse.weight=2.0"])
    assert run.train_loader.num_workers == 0 and run.train_loader.prefetch_factor == 8
    assert run.train_loader.collator.max_length == 64
    assert run.model.objectives.mse == {"weight": 2.0, "normalize": True}
