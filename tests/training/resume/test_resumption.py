"""Runs that are killed and started again with the same command end with the student of the run that was not.

The runs are whole ones; most are forked from a process that has the imports behind it.
"""

import json
import os
import shutil

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.whole_runs import distill, remove_blocks, short_folder, weights

KILLED = -9
BATCHES = 14  # Of 8 cells; 6 make an epoch.


@pytest.fixture
def config(run_config, tmp_path):
    """A run with all that has state or draws random numbers, its files in the folder that it runs in."""
    student = {**run_config["model"]["student"], "hidden_dropout": 0.1, "value_dropout": 0.1}
    # Narrower than its teacher, so that the objectives on cell embeddings have a learned map.
    student["projection_dim"] = 5
    schedule = {"schedule": "exponential", "start": 4.0, "end": 0.5, "stages": 5}
    objectives = {
        "cosine": {"weight": {"schedule": "linear", "start": 1.0, "end": 0.2}, "center": True},
        "relational": {"tau": schedule},
        "hidden": {"layer_map": [[1, 2]]},
        "expression": {"alpha": 0.5},
        "balance": "gradient_norm",
    }
    collator = {"do_mlm": True, "mlm_probability": 0.3, "max_length": 24}
    return {
        **run_config,
        "model": {**run_config["model"], "student": student, "objectives": objectives},
        "train_loader": {**run_config["train_loader"], "collator": collator},
        "eval_loader": {**run_config["eval_loader"], "collator": collator},
        "max_duration": f"{BATCHES}ba",
        "eval_interval": f"{BATCHES}ba",
        "scheduler": {"name": "cosine_with_warmup", "t_warmup": "3ba", "alpha_f": 0.1},
        "algorithms": {"gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0}},
        "save_folder": "checkpoints",
        "save_interval": "3ba",
        "save_overwrite": True,
        "autoresume": True,
        "callbacks": {
            "hf_student": {"folder": "hf", "save_interval": "5ba", "verify": False},
            "kill_at": {"plan": "plan.json"},
        },
        "code_paths": [str(HELPERS / "kill_at.py")],
    }


def with_workers(config, workers):
    return {**config, "train_loader": {**config["train_loader"], "num_workers": workers}}


def sharded(config, kind="sharded"):
    return {**config, "fsdp_config": {"state_dict_type": kind}}


def killed_at(folder, *points):
    """A new folder for a run that dies at ``(point, batch)`` of each start."""
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(points))
    return folder


def run_to_the_end(start, folder, config, kills, processes=1, last=None):
    """Start the same command until nothing kills it, at last by ``last``; return the student and the last output."""
    for _ in range(kills):
        code, output = start(folder, config, processes=processes)
        assert code == KILLED, output
        assert not (folder / "hf").exists()
    code, output = (last or start)(folder, config, processes=processes)
    assert code == 0, output
    return weights(folder / "hf"), output


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """Students of uninterrupted runs by number of processes, each run once."""
    students = {}

    def run(config, processes=1):
        if processes not in students:
            folder = killed_at(tmp_path_factory.mktemp("whole") / "run")
            students[processes] = folder, run_to_the_end(runs.distill, folder, config, 0, processes)[0]
        return students[processes]

    return run


def test_two_processes_with_shards_and_workers_by_composer(runs, config, tmp_path, whole):
    folder = killed_at(tmp_path / "run", ("writing", 6))
    expected = whole(sharded(config, "full"), 2)[1]
    found, output = run_to_the_end(runs.distill, folder, sharded(with_workers(config, 2)), 1, 2, last=distill)
    assert_same(found, expected)
    assert "ep0-ba6 was not finished" in output


def named(value):
    """Parameters as they show in a test's name."""
    return "+".join(f"{point}-{batch}" for point, batch in value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("kind", "points"),
    [("full", [("batch_start", 7), ("writing", 9)]), ("sharded", [("unlinked", 6)])],
    ids=named,
)
def test_two_processes(runs, config, tmp_path, whole, kind, points):
    folder = killed_at(tmp_path / "run", *points)
    expected = whole(sharded(config, "full"), 2)[1]
    assert_same(run_to_the_end(runs.distill, folder, sharded(config, kind), len(points), 2)[0], expected)


@pytest.mark.parametrize(
    ("workers", "points"),
    [
        (0, [("batch_start", 0), ("after_backward", 4), ("batch_start", 6), ("batch_checkpoint", 12)]),
        (2, [("batch_end", 5), ("batch_start", 13)]),
        (2, [("writing", 3), ("writing", 3), ("unlinked", 6)]),
    ],
    ids=named,
)
def test_one_process(runs, config, tmp_path, whole, workers, points):
    folder = killed_at(tmp_path / "run", *points)
    expected = whole(config)[1]
    assert_same(run_to_the_end(runs.distill, folder, with_workers(config, workers), len(points))[0], expected)


def test_a_run_killed_in_its_last_export_writes_it_when_started_again(runs, config, tmp_path, whole):
    folder = killed_at(tmp_path / "run", ("eval_start", BATCHES), ("exporting", BATCHES))
    reference, expected = whole(config)
    found, output = run_to_the_end(runs.distill, folder, config, 2)
    assert_same(found, expected)
    assert "nothing left to train" in output
    metrics = json.loads((folder / "hf/metrics.json").read_text())
    assert metrics == json.loads((reference / "hf/metrics.json").read_text())
    assert "eval/centered_cosine" in metrics


def test_a_run_that_has_ended_says_so_and_changes_nothing(runs, config, tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole(config)[0], folder, symlinks=True)
    before = times(folder)
    code, output = runs.distill(folder, config)
    assert code == 0, output
    assert "distill: the run has ended, and there is nothing left to train: The max_duration (14ba)" in output
    assert times(folder) == before


def times(folder):
    """When each checkpoint and each file of the students was written last."""
    files = [*folder.glob("checkpoints/*"), *folder.glob("hf*/*")]
    assert len(files) > 10
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_folder_of_another_run_is_refused_once_the_checkpoint_is_known(runs, config, tmp_path):
    folder = killed_at(tmp_path / "run")
    (folder / "hf").mkdir()
    code, output = runs.distill(folder, config)
    assert code == 1
    assert "hf exists already; remove it" in output


def test_other_processes_or_batches_are_told(runs, config, tmp_path):
    folder = killed_at(tmp_path / "run", ("batch_start", 4))
    assert runs.distill(folder, config)[0] == KILLED
    code, output = runs.distill(folder, {**config, "device_train_microbatch_size": 4})
    assert code == 0, output
    assert "resumed at batch 3 with 4 cells a microbatch instead of 8: it carries on, but" in output
    code, output = runs.distill(folder, sharded(config), processes=2)
    assert code == 1
    assert "ep2-ba14-rank0.pt is one file, and a checkpoint of this run would be sharded" in output


def test_temporary_folder_and_workers_may_change(runs, config, tmp_path, shards, whole):
    # In time to write the folder of batch 5 again.
    folder = killed_at(tmp_path / "run", ("batch_start", 5))
    data = {**config["train_loader"]["dataset"], "remote": str(shards / "train"), "local": str(tmp_path / "cache")}
    cached = {
        **config,
        "train_loader": {**config["train_loader"], "dataset": data, "vocab": str(shards / "vocab.json")},
    }
    assert runs.distill(folder, with_workers(cached, 2))[0] == KILLED
    assert (folder / "hf-ba5").exists()
    code, output = runs.distill(folder, cached, variables={"TMPDIR": short_folder(tmp_path / "fresh")})
    assert code == 0, output
    assert_same(weights(folder / "hf"), whole(config)[1])
    remove_blocks(tmp_path)


def test_runs_side_by_side_do_not_disturb_each_other(runs, config, tmp_path, whole):
    first, second = killed_at(tmp_path / "first", ("batch_start", 4)), killed_at(tmp_path / "second")
    started = [runs.start(folder, with_workers(config, 2)) for folder in (first, second)]
    assert runs.finish(started[0])[0] == KILLED
    # Started again while the other is alive.
    again = runs.start(first, with_workers(config, 2))
    for number in (started[1], again):
        code, output = runs.finish(number)
        assert code == 0, output
    for folder in (first, second):
        assert_same(weights(folder / "hf"), whole(config)[1])


def test_a_checkpoint_is_as_large_with_any_teacher(runs, config, tmp_path, small_vocab):
    sizes, tensors = [], []
    for layers in (1, 12):
        teacher = write_teacher(tmp_path / f"teacher{layers:02}", small_vocab, layers)
        folder = killed_at(tmp_path / f"run{layers:02}")
        objectives = {"cosine": {"center": True}, "expression": {"alpha": 0.5}}
        model = {**config["model"], "teacher": str(teacher), "objectives": objectives}
        code, output = runs.distill(folder, {**config, "model": model, "max_duration": "1ba"})
        assert code == 0, output
        saved = next((folder / "checkpoints").glob("ep0-ba1-rank0.pt"))
        sizes.append(os.path.getsize(saved))
        # A checkpoint of our own making, in a folder of our own: the only kind that may be unpickled.
        tensors.append(shapes(torch.load(saved, weights_only=False)["state"]))
    assert tensors[0] == tensors[1]
    assert sum(torch.Size(shape).numel() for shape in tensors[0].values()) * 4 < sizes[0] < 300_000
    assert abs(sizes[0] - sizes[1]) < 300
    assert not [name for name in tensors[0] if "teacher" in name and "teacher_fingerprint" not in name]


def write_teacher(folder, vocab, layers):
    """A teacher of 16 dimensions in the release format."""
    from tahoe_distill.models import Tx1Config, Tx1Model, Tx1Processor
    from tahoe_distill.teacher.write_release import write_release

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "context_length": 32}
    model = Tx1Model(Tx1Config(vocab_size=len(vocab), num_hidden_layers=layers, **sizes)).eval()
    write_release(model, Tx1Processor(vocab, max_length=32), folder)
    return folder


def shapes(value, name=""):
    """Shape of every tensor in nested mappings and lists, by its path."""
    if isinstance(value, torch.Tensor):
        return {name: tuple(value.shape)}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {path: shape for key, inner in items for path, shape in shapes(inner, f"{name}/{key}").items()}
