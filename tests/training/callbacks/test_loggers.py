"""Loggers from YAML: what each of them wrote about a run of two batches, without a network."""

import contextlib
import time

import pytest

from tests.helpers.in_process import train

LOSSES = {"loss/train/total", "loss/train/cosine", "loss/train/mse", "loss/train/student_teacher_cosine"}
EXPECTED = {*LOSSES, "schedule/weight/cosine", "schedule/weight/mse", "metrics/eval/centered_cosine"}


@pytest.fixture
def run(run_config, tmp_path, monkeypatch):
    """Two batches with one logger, in a folder of their own; the run's own folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    del run_config["callbacks"]["hf_student"]
    run_config["model"]["objectives"]["cosine"] = {"weight": {"start": 1.0, "end": 0.0}}
    run_config |= {"max_duration": "2ba", "eval_interval": "2ba"}

    def with_logger(name, options, **settings):
        return train({**run_config, **settings, "loggers": {name: options}}, tmp_path / "run.yaml")

    return with_logger


def test_file_logger_writes_each_batch(run, tmp_path):
    run("file_logger", {"filename": "logs/{run_name}-{rank}.txt", "capture_stdout": False, "capture_stderr": False})
    lines = (tmp_path / "logs/test-0.txt").read_text().splitlines()
    metrics = [line for line in lines if line.startswith("[metric][batch=")]
    for name in EXPECTED:
        assert any(f" {name}: " in line for line in metrics), name
    scheduled = [line.split()[-1] for line in metrics if " schedule/weight/cosine: " in line]
    assert scheduled == ["1.0000", "0.5000"]


def test_file_logger_carries_on_after_a_resume(run, tmp_path):
    options = {"filename": "log.txt", "capture_stdout": False, "capture_stderr": False}
    checkpoints = {"save_folder": "checkpoints", "save_interval": "1ba", "autoresume": True, "save_overwrite": True}
    run("file_logger", options, **checkpoints)
    run("file_logger", options, **checkpoints, max_duration="4ba")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    batches = [line[len("[metric]") : line.index(":")] for line in lines if " loss/train/total: " in line]
    assert batches == [f"[batch={batch}]" for batch in range(4)]


def test_tensorboard_writes_scalars(run, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("tensorboard", {"log_dir": "tensorboard"})
    events = EventAccumulator(str(tmp_path / "tensorboard/test")).Reload()
    assert set(events.Tags()["scalars"]) >= EXPECTED
    assert [event.value for event in events.Scalars("schedule/weight/cosine")] == [1.0, 0.5]


def test_mlflow_writes_to_a_local_folder_and_carries_on_after_a_resume(run, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="needs the package mlflow")
    options = {
        "tracking_uri": str(tmp_path / "mlruns"),
        "experiment_name": "distil",
        "resume": True,
        "log_system_metrics": False,
    }
    # MLflow writes from a thread, which does not start again for a second run of one process.
    options["synchronous"] = True
    # It refuses another value of a setting that it has; a run that is killed is started with the same ones.
    options["ignore_hyperparameters"] = ["max_duration"]
    checkpoints = {"save_folder": "checkpoints", "save_interval": "1ba", "autoresume": True, "save_overwrite": True}
    run("mlflow", options, **checkpoints)
    run("mlflow", options, **checkpoints, max_duration="4ba")
    client = mlflow.MlflowClient(str(tmp_path / "mlruns"))
    experiment = client.get_experiment_by_name("distil")
    (found,) = client.search_runs([experiment.experiment_id])
    assert set(found.data.metrics) >= EXPECTED
    weights = client.get_metric_history(found.info.run_id, "schedule/weight/cosine")
    assert [(metric.step, metric.value) for metric in weights] == [(0, 1.0), (1, 0.5), (2, 0.5), (3, 0.25)]
    assert found.info.status == "FINISHED"


def wandb_records(path, seconds=30):
    """Records of a run's file, which a process of W&B's own ends soon after the run."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    end, records = time.monotonic() + seconds, []
    while "exit" not in [record.WhichOneof("record_type") for record in records]:
        assert time.monotonic() < end, f"{path} is not complete after {seconds} s"
        time.sleep(0.1)
        records, store = [], DataStore()
        with contextlib.suppress(AssertionError):  # What it says of a file that is still being written.
            store.open_for_scan(str(path))
            while (data := store.scan_data()) is not None:
                records.append(Record.FromString(data))
    return records


def test_wandb_writes_offline(run, tmp_path):
    pytest.importorskip("wandb", reason="needs the package wandb")
    run("wandb", {"project": "distil", "init_kwargs": {"mode": "offline", "dir": str(tmp_path)}})
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    history = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in wandb_records(path)
        if record.WhichOneof("record_type") == "history"
    ]
    assert set().union(*history) >= EXPECTED
    assert [row["schedule/weight/cosine"] for row in history if "schedule/weight/cosine" in row] == ["1", "0.5"]
