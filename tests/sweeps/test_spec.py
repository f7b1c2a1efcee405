"""What a sweep's YAML may say, what a trial has otherwise than its base, and what names say of it."""

import json
from pathlib import Path

import pytest

from tahoe_distill.sweeps.runs import Base, base_of, resolve, trial_run
from tahoe_distill.sweeps.space import read_space, run_name, settings_of
from tahoe_distill.sweeps.spec import SweepSpec

LR = {"lr": {"key": "optimizer.lr", "values": [1, 2]}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"space": {}}, "space is empty"),
        ({"space": {"lr": {"key": "optimizer.lr", "values": []}}}, "space.lr.values is empty: there is nothing to try"),
        ({"space": {"lr": {"key": "optimizer.lr", "values": [1, 1]}}}, "has 1 twice"),
        (
            {"space": {"lr": {"key": "optimizer.lr", "value": [1]}}},
            "space.lr has no option 'value': did you mean 'values'",
        ),
        ({"space": {"lr": {"key": "a", "values": [1], "low": 0}}}, "expected one of values, choices, or low and high"),
        ({"space": {"lr": {"key": "a", "low": 1, "high": 2.5}}}, "space.lr is a range, of which there is no grid"),
        ({"space": {"lr": {"key": "a", "low": 2, "high": 1}}, "sampler": "tpe"}, "low below high; found 2 and 1"),
        ({"space": {"s": {"choices": {}}}}, "space.s.choices is empty"),
        (
            {"space": {**LR, "rate": {"key": "optimizer.lr", "values": [3]}}},
            "space.lr and space.rate both set optimizer.lr",
        ),
        ({"space": {"a": {"key": "x", "complement": "y", "values": [2]}}}, "values must lie in 0 … 1"),
        ({"seeds": [17, 18, 17]}, "seeds has 17 twice"),
        ({"seeds": [0, 0]}, "seeds has 0 twice"),
        ({"seeds": 0}, "seeds: found 0, expected a whole number, 1 or more"),
        ({"sampler": "grids"}, "unknown sampler 'grids'; did you mean 'grid'"),
        ({"sampler": "random"}, "sampler: random needs trials"),
        ({"trials": 3}, "this grid has 2 settings and trials is 3"),
        ({"trial": {"batches": 2}}, "trial.batches: found 2"),
        ({"trial": {"cells": 0}}, "trial.cells: found 0"),
        ({"prune": {"start": 1}}, "prune has no option 'start': did you mean 'startup'"),
        ({"confirm": {"label_key": "kind"}}, "confirm.adata is missing"),
        ({"metric": None}, "the sweep has no metric"),
        ({"spaces": 1}, "the sweep has no option 'spaces': did you mean 'space'"),
    ],
)
def test_what_cannot_be_meant_is_refused(sweep, keys, said):
    with pytest.raises(ValueError) as error:
        SweepSpec.read({**sweep, "space": LR, **keys})
    assert said in str(error.value)


def test_a_swept_key_that_the_run_does_not_have_is_refused_with_the_closest(sweep, run):
    spec = SweepSpec.read({**sweep, "space": {"lr": {"key": "optimiser.lr", "values": [1, 2]}}})
    with pytest.raises(
        ValueError, match="sets optimiser.lr, which the run's YAML does not have; did you mean optimizer.lr"
    ):
        base_of(spec, run)
    assert base_of(
        SweepSpec.read({**sweep, "space": {"n": {"key": "new.key", "values": [1]}}, "run": {"new.key": 0}}), run
    )


def test_names_carry_what_was_swept():
    space = read_space(
        {
            "tau": {"key": "model.objectives.relational.tau", "values": [1, 2]},
            "alpha": {"key": "a.weight", "complement": "b.weight", "values": [0.1, 0.5]},
            "size": {"choices": {"d256-l4": {"model.student": {"hidden_size": 256, "num_hidden_layers": 4}}}},
        }
    )
    params = {"tau": 2, "alpha": 0.1, "size": "d256-l4"}
    assert run_name("tx1", space, {**params, "alpha": 0.5}) == "tx1-tau2-alpha0.5-d256-l4"
    assert settings_of(space, params) == {
        "model.objectives.relational.tau": 2, "a.weight": 0.1, "b.weight": 0.9,
        "model.student": {"hidden_size": 256, "num_hidden_layers": 4},
    }  # fmt: skip


def test_a_trial_is_a_part_of_its_run(sweep, run, tmp_path):
    shards = [{"samples": 60}, {"samples": 40}]
    (tmp_path / "train").mkdir()
    (tmp_path / "train/index.json").write_text(json.dumps({"shards": shards}))
    spec = SweepSpec.read({**sweep, "trial": {"batches": 0.25, "cells": 0.3, "evaluations": 3, "settings": {"a.b": 1}}})
    written = trial_run(spec, base_of(spec, run), {"lr": 2}, name="n", seed=5, folder=Path("runs/n"))
    trial = resolve(written)
    assert (trial["max_duration"], trial["eval_interval"], trial["scheduler"]["t_warmup"]) == ("10ba", "4ba", "2ba")
    dataset = trial["train_loader"]["dataset"]
    assert (dataset["epoch_size"], dataset["sampling_method"], dataset["shuffle_seed"]) == (30, "fixed", 5)
    assert (trial["optimizer"], trial["seed"], trial["run_name"], trial["a"]) == ({"lr": 2}, 5, "n", {"b": 1})
    assert trial["save_folder"] == "runs/n/checkpoints" and trial["autoresume"] and "loggers" not in trial
    assert (
        trial["callbacks"]["hf_student"]["folder"] == "runs/n/student"
        and "best" not in trial["callbacks"]["hf_student"]
    )


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        ({"batches": "80ba"}, "trial.batches is 80ba, and the run's max_duration 40ba"),
        ({"batches": "2ep"}, "a length in ba that is no longer"),
        ({"cells": 0.5}, "how many cells there are stands in no index on this disk"),
        ({"cells": 3}, "fewer than the 4 of a batch"),
    ],
)
def test_a_part_that_cannot_be_taken_is_refused(sweep, run, trial, said):
    spec = SweepSpec.read({**sweep, "trial": trial})
    with pytest.raises(ValueError, match=said):
        trial_run(spec, base_of(spec, run), None, name="n", seed=5, folder=Path("n"))


def test_cells_come_from_the_teacher_cache_where_there_is_one(sweep, run, tmp_path):
    (tmp_path / "cache/train").mkdir(parents=True)
    (tmp_path / "cache/train/index.json").write_text(json.dumps({"shards": [{"samples": 1000}]}))
    run["model"] = {"teacher": {"cache": str(tmp_path / "cache")}}
    spec = SweepSpec.read({**sweep, "trial": {"cells": 0.1}})
    trial = trial_run(spec, base_of(spec, run), None, name="n", seed=5, folder=Path("n"))
    assert trial["train_loader"]["dataset"]["epoch_size"] == 100


def test_a_value_that_refers_to_another_follows_it():
    base = Base({"a": 1, "b": "${a}"}, {}).with_settings({"a": 2})
    assert base.resolved == {"a": 2, "b": 2} and base.written["b"] == "${a}"
