"""What a sweep leaves behind: `trials.csv` in order of the metric, and `best.yaml`, the run to start next."""

import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from scipy.stats import t as student_t

from tahoe_distill.files import replace_text
from tahoe_distill.sweeps.runs import final_run
from tahoe_distill.sweeps.study import Outcome, Study

TRIALS_FILE, BEST_FILE = "trials.csv", "best.yaml"
# Columns of trials.csv before those of the settings and of the seeds.
COLUMNS = ("name", "state", "metric", "mode", "value", "low", "high", "runs", "parameters", "seconds", "error")
SETTING, SEED = "setting:", "seed:"
_ORDER = {"complete": 0, "pruned": 1, "running": 2, "failed": 3}


def interval_over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of runs with different seeds, by Student's t; ``None`` for fewer than two."""
    if len(values) < 2:
        return None
    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return float(mean - half), float(mean + half)


def trials_table(study: Study) -> pd.DataFrame:
    """A row for each setting: the complete ones first, the best on top.

    Args:
        study: The study.
    """
    rows = [_row(study, outcome) for outcome in study.outcomes()]
    sign = -1.0 if study.mode == "max" else 1.0
    rows.sort(key=lambda row: (_ORDER[row["state"]], math.inf if row["value"] is None else sign * row["value"]))
    settings = [f"{SETTING}{dimension.name}" for dimension in study.spec.space]
    return pd.DataFrame(rows, columns=[*COLUMNS, *settings, *(f"{SEED}{seed}" for seed in study.seeds)])


def _row(study: Study, outcome: Outcome) -> dict[str, Any]:
    values, setting = list(outcome.values.values()), outcome.setting
    low, high = interval_over_seeds(values) or (None, None)
    results = [result for folder in setting.runs.values() if (result := folder.result())]
    sizes = [result["parameters"] for result in results if result.get("parameters")]
    return {
        "name": setting.name, "state": outcome.state, "metric": study.spec.metric, "mode": study.mode,
        "value": statistics.fmean(values) if values else None, "low": low, "high": high, "runs": len(values),
        "parameters": sizes[0] if sizes else None,
        "seconds": round(sum(result.get("seconds", 0.0) for result in results), 1), "error": outcome.error,
        **{f"{SETTING}{name}": value for name, value in (setting.params or {}).items()},
        **{f"{SEED}{seed}": value for seed, value in outcome.values.items()},
    }  # fmt: skip


def write_results(study: Study) -> tuple[pd.DataFrame, Outcome]:
    """Write ``trials.csv`` and ``best.yaml`` into the study's folder.

    Returns:
        The table, and the best setting.

    Raises:
        ValueError: When no trial has finished; ``trials.csv`` is written all the same.
    """
    table = trials_table(study)
    replace_text(study.folder / TRIALS_FILE, table.to_csv(index=False))
    best = best_of(study)
    replace_text(study.folder / BEST_FILE, best_yaml(study, best))
    return table, best


def best_of(study: Study) -> Outcome:
    """The complete setting with the best mean over its seeds.

    Raises:
        ValueError: When there is none, with what the others ended by.
    """
    outcomes = study.outcomes()
    complete = [outcome for outcome in outcomes if outcome.state == "complete"]
    if not complete:
        counts = ", ".join(f"{n} {state}" for state in _ORDER if (n := sum(o.state == state for o in outcomes)))
        first = next((outcome for outcome in outcomes if outcome.error), None)
        why = f"; {first.setting.name} said: {first.error}" if first else ""
        raise ValueError(
            f"no trial of {study.folder} has finished ({counts or 'none was begun'}){why}. Mend what is wrong and give "
            f"another out, or remove {study.folder}"
        )
    choose = max if study.mode == "max" else min
    return choose(complete, key=lambda outcome: statistics.fmean(outcome.values.values()))


def best_yaml(study: Study, best: Outcome) -> str:
    """The run with the best setting, with the cells, batches and evaluation of the base."""
    spec, params = study.spec, best.setting.params or {}
    path = study.folder / BEST_FILE
    chosen = ", ".join(f"{name} {value}" for name, value in params.items())
    value = statistics.fmean(best.values.values())
    many = f"{len(best.values)} seeds" if len(best.values) > 1 else "one seed"
    head = (
        f"# composer scripts/distill.py -f {path}\n#\n"
        f"# {spec.base} with the best of {len(study.outcomes())} settings of {study.folder}: {chosen}.\n"
        f"# Its {spec.metric} was {value:.6g}, mean of {many}, on {_less(spec.fraction.batches, 'batches')}\n"
        f"# and {_less(spec.fraction.cells, 'cells')}; this run has all of both.\n\n"
    )
    run = final_run(spec, study.base, params)
    return head + yaml.safe_dump(run, sort_keys=False, allow_unicode=True, width=120)


def _less(part: float | str, what: str) -> str:
    if isinstance(part, str) or part > 1:
        return f"{part} of the {what}"
    return f"all {what}" if part == 1 else f"{part:.3g} of the {what}"


def read_trials(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``trials.csv``, given itself or the folder that holds it.

    Raises:
        FileNotFoundError: When there is none.
        ValueError: When it is something else.
    """
    path = Path(path)
    path = path / TRIALS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected what `tahoe-distill sweep` wrote, or its folder")
    table = pd.read_csv(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing or not any(name.startswith(SETTING) for name in table):
        raise ValueError(
            f"{path}: expected what `tahoe-distill sweep` writes, found no column {(missing or [SETTING])[0]}"
        )
    return table


def dimensions_of(table: pd.DataFrame) -> list[str]:
    """Names of what was swept, from the columns of a table of trials."""
    return [str(name).removeprefix(SETTING) for name in table.columns if str(name).startswith(SETTING)]


def trials_text(table: pd.DataFrame, count: int = 10) -> str:
    """The best settings for a terminal.

    Args:
        table: What :func:`trials_table` gives.
        count: How many lines at most.
    """
    head, rows = trial_rows(table)
    shown = [head, *rows[:count]]
    widths = [max(len(row[place]) for row in shown) for place in range(len(head))]
    lines = [
        "  ".join(f"{text:<{width}}" if place == 0 else f"{text:>{width}}" for place, (text, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in shown
    ]  # fmt: skip
    return "\n".join([*lines, *([f"… and {len(rows) - count} more"] if len(rows) > count else [])])


def trial_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table of trials as people read it."""
    metric = str(table["metric"].iloc[0]) if len(table) else "value"
    several = bool((table["runs"] > 1).any())
    head = ["setting", metric, *(["95 % over seeds"] if several else []), "parameters", "seconds", "state"]
    return head, [_line(row, several) for row in table.to_dict("records")]


def _line(row: Mapping[Any, Any], several: bool) -> list[str]:
    ends = "" if _none(row["low"]) else f"{row['low']:.4f} … {row['high']:.4f}"
    return [
        str(row["name"]),
        "" if _none(row["value"]) else f"{row['value']:.4f}",
        *([ends] if several else []),
        "" if _none(row["parameters"]) else f"{row['parameters']:,.0f}",
        f"{row['seconds']:,.0f}",
        str(row["state"]),
    ]


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def markdown(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"
