"""The model card of an exported student, written from its recorded facts and nothing else."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tahoe_distill.hub.card_sections import (
    chosen_by,
    context_of,
    data_table,
    labels_section,
    metrics_table,
    objectives_table,
    reads_all,
    settings_table,
    sizes_table,
    training_line,
)
from tahoe_distill.hub.card_text import APACHE, CITATION, CITE_VECTORS, TEMPLATE, TOY, TOYS, UNKNOWN
from tahoe_distill.hub.evaluation_card import (
    evaluation_results,
    evaluation_section,
    figures_of,
    read_evaluation,
)
from tahoe_distill.hub.folder import (
    CONFIG_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    TRAINING_FILE,
    is_number,
    read_record,
)
from tahoe_distill.lazy import how_to_install
from tahoe_distill.models import GeneVocab, Tx1Config
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.probes import PROBE_FILE

# Stands for the model in the usage examples until a push knows its repository.
PLACEHOLDER = "FOLDER_OR_REPOSITORY"
# Teachers whose weights are published under the Apache License 2.0; of another teacher the licence is not known here.
_APACHE_TEACHERS = ("tahoebio/", "tx1-nano")


def card_of_folder(
    folder: str | os.PathLike[str], repo_id: str | None = None, previous: Mapping[str, Any] | None = None
) -> str:
    """The card of an exported folder, from its files alone.

    Args:
        folder: A model folder.
        repo_id: Repository that the usage examples name; a placeholder without.
        previous: Metrics of the version published before, for the table of old against new.

    Raises:
        ValueError: When a record is missing or damaged.
    """
    return write_card(
        Tx1Config.from_dict(read_record(folder, CONFIG_FILE)),
        read_record(folder, HYPERPARAMETERS_FILE),
        read_record(folder, METRICS_FILE),
        repo_id=repo_id,
        previous=previous,
        genes=GeneVocab.from_file(Path(folder) / VOCAB_FILE).naming,
        training=read_record(folder, TRAINING_FILE) if (Path(folder) / TRAINING_FILE).is_file() else None,
        evaluation=read_evaluation(folder),
        figures=figures_of(folder),
        probe=read_record(folder, PROBE_FILE) if (Path(folder) / PROBE_FILE).is_file() else None,
    )


def write_card(
    config: Tx1Config,
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    repo_id: str | None = None,
    previous: Mapping[str, Any] | None = None,
    genes: str | None = None,
    training: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    figures: Sequence[str] = (),
    probe: Mapping[str, Any] | None = None,
) -> str:
    """The card's text.

    Args:
        config: The student's :class:`Tx1Config`.
        hyperparameters: The run's configuration, as recorded.
        metrics: Metric name to value, as recorded.
        repo_id: Repository that the usage examples name; a placeholder without.
        previous: Metrics of the version published before.
        genes: What its vocabulary calls genes, as :attr:`GeneVocab.naming` says it.
        training: What ``training.json`` holds: time and hardware.
        evaluation: What ``evaluation.json`` holds.
        figures: Names of the evaluation's figures.
        probe: Of a classifier, what ``probe.json`` holds.
    """
    title = hyperparameters.get("run_name") or "Distilled Tahoe-x1"
    return TEMPLATE.format(
        metadata=_metadata(title, hyperparameters, [*_results(metrics), *evaluation_results(evaluation)]),
        title=title,
        origin=_origin(hyperparameters),
        teacher=_teacher_line(hyperparameters),
        name=repo_id or PLACEHOLDER,
        install=how_to_install(),
        sizes=sizes_table(config),
        labels=labels_section(probe, repo_id or PLACEHOLDER),
        metrics=metrics_table(metrics, previous),
        chosen=chosen_by(hyperparameters),
        genes=f"its genes as {genes}" if genes else "the genes of its `vocab.json`",
        citation=CITE_VECTORS if _vectors(hyperparameters) else CITATION,
        objectives=objectives_table(hyperparameters.get("model") or {}),
        data=data_table(hyperparameters),
        evaluation=evaluation_section(evaluation, figures),
        training=training_line(training),
        hyperparameters=settings_table(hyperparameters),
        vocabulary=config.vocab_size,
        context=context_of(config)
        if reads_all(config)
        else f"at most {context_of(config)}, a sample where it has more",
        licence=APACHE if _has_apache_teacher(hyperparameters) else UNKNOWN,
    )


def _teacher(hyperparameters: Mapping[str, Any]) -> Any:
    """The recorded name, hub id or folder of the teacher, or ``None``."""
    teacher = (hyperparameters.get("model") or {}).get("teacher")
    return teacher.get("source") if isinstance(teacher, dict) else teacher


def _vectors(hyperparameters: Mapping[str, Any]) -> Any:
    """What is recorded of the vectors that stood for a teacher, or ``None``."""
    return (hyperparameters.get("model") or {}).get("vectors")


def _origin(hyperparameters: Mapping[str, Any]) -> str:
    vectors = _vectors(hyperparameters)
    if vectors:
        return f"given vectors (`{vectors['source']}`, {vectors['width']} coordinates)"
    return f"the Tahoe-x1 teacher `{_teacher(hyperparameters) or 'not recorded'}`"


def _teacher_line(hyperparameters: Mapping[str, Any]) -> str:
    vectors, teacher = _vectors(hyperparameters), _teacher(hyperparameters)
    if vectors:
        return (
            f"none that could be asked, only its vectors of these cells: `{vectors['source']}`, {vectors['width']} "
            "coordinates. What made them is for whoever gave them to say."
        )
    return f"`{teacher or 'not recorded'}`, frozen.{TOY if teacher in TOYS else ''}"


def _has_apache_teacher(hyperparameters: Mapping[str, Any]) -> bool:
    return str(_teacher(hyperparameters) or "").startswith(_APACHE_TEACHERS)


def _metadata(title: str, hyperparameters: Mapping[str, Any], results: list[dict[str, Any]]) -> str:
    """The YAML head, fences included: what the hub reads of a card, model-index metrics among it."""
    if _has_apache_teacher(hyperparameters):
        licence = {"license": "apache-2.0"}
    else:
        licence = {"license": "other", "license_name": "licence-of-the-teacher"}
    head: dict[str, Any] = {
        "library_name": "transformers",
        **licence,
        "pipeline_tag": "feature-extraction",
        "tags": ["single-cell", "biology", *([] if _vectors(hyperparameters) else ["tahoe-x1"]), "distillation"],
    }
    teacher = str(_teacher(hyperparameters) or "")
    # Any other relative path with one slash would look like a repository too.
    if re.fullmatch(r"tahoebio/[\w.-]+", teacher):
        head["base_model"] = teacher
    if results:
        head["model-index"] = [{"name": title, "results": results}]
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---\n"


def _results(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One model-index result per evaluation set: the part of a metric's name before its last slash."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, value in sorted(metrics.items()):
        # YAML's .nan and .inf are refused by the hub.
        if is_number(value):
            label, _, metric = name.rpartition("/")
            groups.setdefault(label or "eval", []).append({"type": metric, "name": name, "value": value})
    return [
        {
            "task": {"type": "feature-extraction", "name": "Cell embedding"},
            "dataset": {"type": re.sub(r"[^\w.-]+", "-", label), "name": label},
            "metrics": found,
        }
        for label, found in groups.items()
    ]
