"""Each preset runs two batches, with the tests' teacher, cells and sizes in place of the real ones."""

import json

import pytest

from tahoe_distill.models import Tx1Config
from tests.helpers import REPOSITORY
from tests.helpers.in_process import train_yaml

RECIPES = sorted((REPOSITORY / "configs/recipes").glob("*.yaml"))
LAYERS = {"curriculum": ["model.objectives.hidden.layer_map=[[1,2]]"]}
SIZES = "hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2"
STATIC = "{hidden_size: 8, intermediate_size: 8, set_pair_rank: 4}"
STUDENTS = {"fast": f"{{{SIZES}, context_length: 12}}", "static": STATIC}
# A student without attention reads as many genes as there are.
CONTEXTS = {"fast": 12, "static": 43}

AT_START_AND_HALF = {"tau/relational": [4.0, 4 * 40**-0.5], "weight/hidden": [3.0, 1.5], "weight/cosine": [1.0, 1.0]}


@pytest.fixture
def overrides(tmp_path, small_teacher, shards, monkeypatch):
    """What stands in for the teacher, the cells and the sizes of the real run."""
    # The path of what the presets share starts here.
    monkeypatch.chdir(REPOSITORY)
    settings = [f"variables.run_folder={tmp_path}/run", f"model.teacher.source={small_teacher}", "precision=fp32"]
    settings += ["model.teacher.size=null", "model.teacher.dtype=float32", "max_seq_len=32"]
    for loader, split in (("train_loader", "train"), ("eval_loader", "val")):
        stream = f"{loader}.dataset.streams.tahoe_100m"
        settings += [f"{stream}.remote=null", f"{stream}.local={shards / split}", f"{stream}.choose=null"]
        settings += [f"{loader}.dataset.streams.cellxgene=null"]
        settings += [f"{loader}.num_workers=0", f"{loader}.pin_memory=false", f"{loader}.collator.max_length=32"]
    settings += ["train_loader.dataset.cache_limit=null", "train_loader.dataset.num_canonical_nodes=1"]
    settings += [f"{name}=8" for name in ("global_train_batch_size", "device_eval_batch_size")]
    settings += ["device_train_microbatch_size=8", "max_duration=2ba", "eval_interval=2ba", "save_interval=2ba"]
    settings += ["scheduler.t_warmup=1ba", "loggers.inmemory={}", "log_to_console=false", "console_log_interval=2ba"]
    return [*settings, "callbacks.hf_student.save_interval=1dur", "callbacks.hf_student.verify=false"]


def test_there_are_four():
    assert [path.stem for path in RECIPES] == ["curriculum", "default", "fast", "static"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_preset_runs(path, overrides, tmp_path):
    student = STUDENTS.get(path.stem, f"{{{SIZES}}}")
    own = [f"model.student={student}", *LAYERS.get(path.stem, [])]
    if path.stem == "fast":
        own += [f"{loader}.collator.student_max_length=12" for loader in ("train_loader", "eval_loader")]
    trainer = train_yaml(path, *overrides, *own)
    assert trainer.state.timestamp.batch == 2
    folders = {folder.name for folder in (tmp_path / "run").iterdir()}
    # The first of two batches ends two of five stages.
    stages = {"hf-ba1"} if path.stem == "curriculum" else set()
    assert folders == {"hf", "hf-best", "checkpoints"} | stages
    objectives = json.loads((tmp_path / "run/hf/training_hyperparameters.json").read_text())["model"]["objectives"]
    logged = trainer.logger.destinations[0].data
    assert {f"loss/train/{name}" for name in objectives} <= set(logged)
    assert Tx1Config.from_pretrained(tmp_path / "run/hf").context_length == CONTEXTS.get(path.stem, 32)


def test_the_curriculum_moves_from_coarse_to_fine(overrides):
    (path,) = (path for path in RECIPES if path.stem == "curriculum")
    trainer = train_yaml(path, *overrides, f"model.student={{{SIZES}}}", *LAYERS["curriculum"])
    logged = trainer.logger.destinations[0].data
    scheduled = {name: [value for _, value in logged[f"schedule/{name}"]] for name in AT_START_AND_HALF}
    assert scheduled == {name: pytest.approx(values) for name, values in AT_START_AND_HALF.items()}
