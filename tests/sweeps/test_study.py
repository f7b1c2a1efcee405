"""Trials are real processes: none is lost or counted twice, whoever is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tahoe_distill.locks import LOCK_FILE, Holder
from tahoe_distill.sweeps import study as study_module
from tahoe_distill.sweeps.results import best_of, trials_table, write_results
from tahoe_distill.sweeps.work import ToldToEnd, UnknownMetricError, Worker
from tests.helpers import REPOSITORY
from tests.sweeps.conftest import FAKE

# A sweep as another process works on it; what it has is in the JSON that it is given.
ELSEWHERE = """
import json, sys
from tahoe_distill.sweeps import Study, Worker
from tahoe_distill.sweeps.runs import base_of
from tahoe_distill.sweeps.spec import SweepSpec
given = json.loads(sys.argv[1])
spec = SweepSpec.read(given["sweep"])
Worker(Study(spec, base_of(spec, given["run"]), mode="max"), command=given["command"], poll=0.02).run()
"""


def elsewhere(sweep, run):
    """Start a process that works on the study."""
    given = json.dumps({"sweep": sweep, "run": run, "command": FAKE})
    return subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, given], cwd=REPOSITORY, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    )


def wait_for(there, seconds=20):
    """Until something is there."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def starts(run):
    return sorted(Path(run["fake"]["log"]).read_text().split())


def test_a_grid_is_tried_once_and_the_best_is_on_top(open_study, work, run):
    study = open_study()
    said = work(study)
    table = trials_table(study)
    assert table["name"].tolist() == ["tx1-lr3", "tx1-lr2", "tx1-lr1", "tx1-lr5"] and set(table["state"]) == {
        "complete"
    }
    # The last evaluation of 20 batches of the base's 40, and the seed's share.
    assert table["value"].iloc[0] == pytest.approx(0.017 + 0.020) and table["setting:lr"].tolist() == [3, 2, 1, 5]
    assert starts(run) == ["tx1-lr1", "tx1-lr2", "tx1-lr3", "tx1-lr5"]
    assert "tx1-lr3: eval/knn_overlap 0.037" in said
    # Nothing is left to take.
    assert work(open_study()) == [] and len(starts(run)) == 4


def test_a_loss_is_better_below(open_study, work):
    study = open_study(mode="min")
    work(study)
    assert trials_table(study)["name"].iloc[0] in ("tx1-lr1", "tx1-lr5")


def test_every_seed_has_its_run_and_the_interval_is_theirs(open_study, work, run):
    study = open_study(seeds=3, space={"lr": {"key": "optimizer.lr", "values": [2, 3]}})
    work(study, jobs=2)
    best = trials_table(study).iloc[0]
    assert [best[f"seed:{seed}"] for seed in (17, 18, 19)] == pytest.approx([0.037, 0.038, 0.039])
    # Student's t of three: 4.3027 standard errors.
    assert (best["low"], best["high"]) == pytest.approx(
        (0.038 - 4.3027 * 0.001 / 3**0.5, 0.038 + 4.3027 * 0.001 / 3**0.5), rel=1e-4
    )
    assert starts(run) == [f"tx1-lr{lr}-s{seed}" for lr in (2, 3) for seed in (17, 18, 19)]


def test_a_failed_trial_is_kept_with_its_error(open_study, work, run):
    run["fake"]["fails_at"] = 3
    study = open_study()
    said = work(study)
    failed = trials_table(study).iloc[-1]
    assert (failed["name"], failed["state"]) == ("tx1-lr3", "failed") and "one that fails" in failed["error"]
    assert best_of(study).setting.params == {"lr": 2}
    assert any("tx1-lr3: failed: distill: error: the learning rate is one that fails" in line for line in said)


def test_without_a_finished_trial_there_is_no_best(open_study, work, run):
    run["fake"]["fails_at"] = 3
    study = open_study(space={"lr": {"key": "optimizer.lr", "values": [3]}})
    work(study)
    with pytest.raises(
        ValueError, match=r"no trial of .*study has finished \(1 failed\); tx1-lr3 said: .*one that fails"
    ):
        write_results(study)
    assert (study.folder / "trials.csv").is_file()


def test_a_killed_sweep_carries_on_where_its_run_was(open_study, work, run, sweep):
    run["fake"]["seconds"] = 0.05
    sweep["space"] = {"lr": {"key": "optimizer.lr", "values": [2, 3]}}
    process = elsewhere(sweep, run)
    state = Path(sweep["out"]) / "runs"
    wait_for(lambda: any(json.loads(p.read_text() or "{}").get("batch", 0) >= 5 for p in state.glob("*/state.json")))
    process.kill()
    process.wait()
    study = open_study()
    said = work(study)
    table = trials_table(study)
    assert sorted(table["name"]) == ["tx1-lr2", "tx1-lr3"] and set(table["state"]) == {"complete"}
    assert sum(line.endswith("carried on") for line in said) == 1
    # The one at work was started twice, the second time from where it was; the other once.
    done = [json.loads(path.read_text()) for path in state.glob("*/state.json")]
    assert sorted(one["starts"] for one in done) == [1, 2] and {one["batch"] for one in done} == {20}
    assert table["value"].tolist() == pytest.approx([0.037, -1 + 0.037])


def test_two_processes_share_a_study(open_study, work, run, sweep):
    run["fake"]["seconds"] = 0.02
    process = elsewhere(sweep, run)
    wait_for(lambda: Path(run["fake"]["log"]).exists())
    mine = work(open_study())
    assert process.wait(30) == 0
    assert starts(run) == ["tx1-lr1", "tx1-lr2", "tx1-lr3", "tx1-lr5"]
    assert 0 < sum(line.endswith("begun") for line in mine) < 4
    assert set(trials_table(open_study())["state"]) == {"complete"}


def test_a_trial_of_another_machine_is_left_until_it_is_not_heard_of(open_study, work, run):
    study = open_study(space={"lr": {"key": "optimizer.lr", "values": [3]}})
    with contextlib.ExitStack() as stack:
        lock = study._claim_folder(study.claim(stack)) / LOCK_FILE
        far = {**vars(Holder.here("the trial tx1-lr3")), "host": "far", "machine": "far"}
        lock.write_text(json.dumps(far))
    assert work(study) == [] and not Path(run["fake"]["log"]).exists()
    old = time.time() - study_module.STALE - 60
    os.utime(lock, (old, old))
    assert work(study)[-1].startswith("tx1-lr3: eval/knn_overlap") and starts(run) == ["tx1-lr3"]


def test_a_run_is_ended_early_below_the_median(open_study, work, run):
    run["fake"]["seconds"] = 0.03
    space = {"lr": {"key": "optimizer.lr", "values": [3, 2, 4, 9]}}
    study = open_study(space=space, prune={"startup": 1, "warmup": 0}, sampler_seed=5)
    said = work(study)
    table = trials_table(study)
    pruned = table[table["state"] == "pruned"]
    assert len(pruned) and any("ended early" in line for line in said)
    # They stand below the complete ones, with what they had reached.
    assert table["state"].tolist() == ["complete"] * (4 - len(pruned)) + ["pruned"] * len(pruned)
    assert pruned["value"].notna().all()


def test_told_to_end_its_runs_are_told_too(open_study, run):
    run["fake"]["seconds"] = 0.2
    study = open_study()
    worker = Worker(study, command=FAKE, poll=0.02)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    with pytest.raises(ToldToEnd):
        worker.run()
    job = worker.slots[0]
    assert job.process.ended() is not None and study.outcomes()[0].state == "running"
    assert not (study._claim_folder(job.setting) / LOCK_FILE).exists()


def test_a_metric_that_the_runs_do_not_report_ends_the_sweep(open_study, work):
    with pytest.raises(UnknownMetricError, match="unknown metric 'eval/knn_overlop'; did you mean 'eval/knn_overlap'"):
        work(open_study(metric="eval/knn_overlop"))


def test_a_study_of_another_base_is_refused_with_the_keys(open_study, run):
    open_study()
    other = {**run, "max_duration": "80ba", "optimizer": {"lr": 1, "betas": [0.9, 0.95]}}
    with pytest.raises(
        ValueError, match=r"(?s)another base or sweep.*max_duration: '40ba' there, '80ba' here.*optimizer.betas"
    ):
        open_study(run=other)
    with pytest.raises(ValueError, match="sweep: metric: 'eval/knn_overlap' there, 'eval/loss' here"):
        open_study(metric="eval/loss")


def test_a_folder_of_other_things_is_refused(open_study, sweep):
    Path(sweep["out"]).mkdir()
    (Path(sweep["out"]) / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other things than a study"):
        open_study()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_samplers_draw_from_ranges(open_study, work, sampler):
    space = {"lr": {"key": "optimizer.lr", "low": 0.5, "high": 5.0}}
    study = open_study(space=space, sampler=sampler, trials=4)
    work(study)
    values = trials_table(study)["setting:lr"]
    assert len(values) == 4 and values.between(0.5, 5.0).all() and values.nunique() == 4


def test_best_yaml_is_the_base_whole_with_the_best(open_study, work, run):
    study = open_study()
    work(study)
    table, _ = write_results(study)
    text = (study.folder / "best.yaml").read_text()
    assert text.startswith(f"# composer scripts/distill.py -f {study.folder}/best.yaml")
    # Cells, batches, evaluation, loggers and what refers to other values are the base's.
    assert yaml.safe_load(text) == {**run, "optimizer": {"lr": 3}, "run_name": "tx1-lr3"}
    assert (study.folder / "trials.csv").read_text().splitlines()[1].startswith("tx1-lr3,complete,eval/knn_overlap,max")
    assert len(table) == 4
