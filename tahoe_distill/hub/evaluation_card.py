"""What an evaluation adds to a student's folder and to its card: the numbers beside teacher and baselines, figures."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tahoe_distill.files import replace_bytes, replace_text
from tahoe_distill.hub.folder import EVALUATION_FILES, RESULTS_FOLDER, read_record
from tahoe_distill.metrics.tables import cell, rows

EVALUATION_FILE, CELLS_FILE = EVALUATION_FILES
# Before the name of each figure of an evaluation.
FIGURE_PREFIX = "evaluation-"
# What the card shows of an evaluation; all of it is in the file beside the card.
_KEPT = ("teacher", "student", "baseline")
_DATASET = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def read_evaluation(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The evaluation in a model's folder; ``None`` where there is none.

    Raises:
        ValueError: When it is damaged.
    """
    return read_record(folder, EVALUATION_FILE) if (Path(folder) / EVALUATION_FILE).is_file() else None


def evaluation_section(record: Mapping[str, Any] | None, figures: Sequence[str]) -> str:
    """The card's section on an evaluation.

    Args:
        record: What ``evaluation.json`` holds; ``None`` without one.
        figures: File names of its figures.
    """
    if record is None:
        return (
            "Not yet evaluated beside baselines: `tahoe-distill evaluate --student FOLDER --card …` puts a comparison "
            "with the teacher, ridge regression and principal components here."
        )
    names = [name for name, subject in record["subjects"].items() if subject["role"] in _KEPT]
    table = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for metric, words in rows(record):
        numbers = [cell(record, name, metric, intervals=True) for name in names]
        if any(numbers):
            table.append(f"| {words.strip()} | " + " | ".join(numbers) + " |")
    cells, machine = record["cells"], record["machine"]
    files = ", ".join(f"`{about['name']}`" for about in cells["files"].values()) or "cells in memory"
    known = f", labels and baselines learned from {cells['reference']:,} others" if cells["reference"] else ""
    told = [f"On {cells['query']:,} cells ({files}){known}; 95 % intervals over cells in brackets.", "\n".join(table)]
    told += [f"**May it replace its teacher for annotation?** {_answer(v)}" for v in record["verdicts"]]
    told.append(f"Speed and memory were measured on {machine['cores']} cores ({machine['machine']}), {_gpu(machine)}.")
    return "\n\n".join([*told, *(f"![{_title(name)}]({name})" for name in figures)])


def _answer(verdict: Mapping[str, Any]) -> str:
    says = {True: "Yes", False: "No", None: "Cannot be told"}[verdict["replaces_teacher"]]
    return f"{says}. {verdict['because']}"


def _gpu(machine: Mapping[str, Any]) -> str:
    return f"with {machine['gpu']}" if machine.get("gpu") else "without a GPU"


def _title(name: str) -> str:
    return Path(name).stem.removeprefix(FIGURE_PREFIX).replace("-", " ")


def evaluation_results(record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The student's numbers for the card's ``model-index``: one result, of the evaluated file."""
    if record is None or not record["verdicts"]:
        return []
    values = record["subjects"][record["verdicts"][0]["student"]]["values"]
    name = next((about["name"] for about in record["cells"]["files"].values()), "cells")
    return [
        {
            "task": {"type": "feature-extraction", "name": "Cell embedding"},
            "dataset": {"type": re.sub(r"[^\w.-]+", "-", name), "name": name},
            "metrics": [
                {"type": metric.partition("/")[2], "name": metric, "value": value}
                for metric, value in sorted(values.items())
                if not metric.startswith("cost/")
            ],
        }
    ]


def figures_of(folder: str | os.PathLike[str]) -> list[str]:
    """Names of an evaluation's figures in a model's folder, in order."""
    return sorted(path.name for path in Path(folder).glob(f"{FIGURE_PREFIX}*.png"))


def add_evaluation(
    folder: str | os.PathLike[str], evaluation: str | os.PathLike[str], *, dataset: str | None = None
) -> list[str]:
    """Put an evaluation into a model's folder; its card is to be written anew afterwards.

    Args:
        folder: An exported student's.
        evaluation: What ``tahoe-distill evaluate --out`` wrote of it: ``metrics.json``, ``cells.csv.gz``, PNG figures.
        dataset: Hub id of the benchmark that the cells are, ``owner/name`` or ``owner/name:TASK``: its results are also
            written as the hub's ``.eval_results``.

    Returns:
        Names of the files that were written.

    Raises:
        ValueError: When ``dataset`` is no hub id.
    """
    folder, evaluation = Path(folder), Path(evaluation)
    check_dataset(dataset)
    for name in figures_of(folder):
        (folder / name).unlink()
    sources = {EVALUATION_FILE: evaluation / "metrics.json", CELLS_FILE: evaluation / "cells.csv.gz"}
    sources |= {f"{FIGURE_PREFIX}{path.name}": path for path in sorted(evaluation.glob("*.png"))}
    for name, path in sources.items():
        replace_bytes(folder / name, path.read_bytes())
    if dataset is None:
        return [*sources]
    results = folder / RESULTS_FOLDER / "tahoe-distill.yaml"
    results.parent.mkdir(exist_ok=True)
    record = read_record(folder, EVALUATION_FILE)
    replace_text(results, yaml.safe_dump(_hub_results(record, str(dataset)), sort_keys=False))
    return [*sources, f"{RESULTS_FOLDER}/{results.name}"]


def check_dataset(dataset: str | None) -> None:
    """Refuse what is no hub id of a benchmark.

    Raises:
        ValueError: With what was expected.
    """
    if dataset is not None and not _DATASET.fullmatch(dataset):
        raise ValueError(f"--dataset is {dataset!r}; expected a hub id such as owner/name, or owner/name:TASK")


def _hub_results(record: Mapping[str, Any], dataset: str) -> list[dict[str, Any]]:
    """Each evaluator's primary number, as the hub reads ``.eval_results/*.yaml``; of a named task the first."""
    name, _, task = dataset.partition(":")
    metrics = [record["primary"]["fidelity"]] if task else record["primary"].values()
    values = record["subjects"][record["verdicts"][0]["student"]]["values"]
    return [
        {
            "dataset": {"id": name, "task_id": task or metric.replace("/", "-")},
            "value": values[metric],
            "date": record["created"][:10],
            "notes": f"{metric} by tahoe-distill evaluate, seed {record['seed']}, {record['cells']['query']} cells",
        }
        for metric in metrics
        if metric in values and not metric.startswith("cost/")
    ]
