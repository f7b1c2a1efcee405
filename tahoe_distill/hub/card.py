"""The model card of an exported student, written from its recorded facts and nothing else."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from tahoe_distill.hub.comparison import verdict
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
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.probes import PROBE_FILE

# Stands for the model in the usage examples until a push knows its repository.
PLACEHOLDER = "FOLDER_OR_REPOSITORY"
# Teachers whose weights are published under the Apache License 2.0; of another teacher the licence is not known here.
_APACHE_TEACHERS = ("tahoebio/", "tx1-nano")

_TEMPLATE = """{metadata}
# {title}

A small model that embeds single cells, distilled from {origin}.

{sizes}

## Use

```python
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{name}", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("{name}", trust_remote_code=True)
adata.obsm["X_tx1"] = model.embed(processor, adata)
```

`adata` is an AnnData of raw or log1p counts. The model knows {genes}; ids and symbols that stand for them are
found too. The vectors are float32 and of length 1 (`normalize=False` leaves them as they are).
`model(**processor(adata))` gives gene embeddings too. Whole files: `tahoe-distill embed --model {name} --adata in.h5ad
--out out.h5ad` ({install}; with that package no remote code is needed).
{labels}
## Metrics

{metrics}

{chosen}

## Evaluation

{evaluation}

## Teacher and objectives

Teacher: {teacher}

{objectives}

## Data

{data}

## Hyperparameters

{hyperparameters}

{training}

Every setting of the run is in `training_hyperparameters.json`.

## Limits

- It knows the {vocabulary:,} tokens of its vocabulary only, and of a cell {context}.
- It imitates its teacher and inherits what that model gets wrong; where cells are unlike the training data, it may
  drift from the teacher as well.
- The metrics above were measured on the data named above and say nothing about other tissues, species or protocols.
- For research. It is no medical device, and no diagnosis should rest on it.

## Licence of the weights

{licence}

## Citation

{citation}

## Versions

Each version that was published is a commit of the repository, with its metrics in the message;
`from_pretrained(…, revision="COMMIT")` loads it.
"""

_LABELS = """
## Labels

It says which of {count} labels a cell is, too ({names}):

```python
from transformers import AutoModelForSequenceClassification

classifier = AutoModelForSequenceClassification.from_pretrained("{name}", trust_remote_code=True)
labels, probabilities = classifier.predict(processor, adata)
```

Whole files: `tahoe-distill annotate --model {name} --adata in.h5ad --out out.h5ad`. {how} It knows these labels and no
others: a cell of another kind gets one of them.
"""

_CITATION = """```bibtex
@misc{tahoe2025tahoex1,
  author = {{Tahoe Therapeutics}},
  title = {Tahoe-x1: Scaling Perturbation-Trained Single-Cell Foundation Models to 3 Billion Parameters},
  year = {2025},
  note = {Preprint}
}
```"""
_CITE_VECTORS = "Cite the model or the method that made the vectors; the records of the run do not say which that is."

_TOYS = ("tx1-nano",)
_TOY = (
    " It is a toy: a small model of a few hundred blood cells and the genes that they express, made to try the whole "
    "way in minutes. A student of it is one too."
)
_APACHE = "Apache License 2.0, the licence of the teacher's weights, from which these are derived."
_UNKNOWN = (
    "The licence of the teacher's weights holds for these weights too, since they are derived from them. The records "
    "of the run do not say which licence that is."
)


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
    return _TEMPLATE.format(
        metadata=_metadata(title, hyperparameters, [*_results(metrics), *evaluation_results(evaluation)]),
        title=title,
        origin=_origin(hyperparameters),
        teacher=_teacher_line(hyperparameters),
        name=repo_id or PLACEHOLDER,
        install=how_to_install(),
        sizes=_sizes(config),
        labels=_labels(probe, repo_id or PLACEHOLDER),
        metrics=_metrics(metrics, previous),
        chosen=_chosen(hyperparameters),
        genes=f"its genes as {genes}" if genes else "the genes of its `vocab.json`",
        citation=_CITE_VECTORS if _vectors(hyperparameters) else _CITATION,
        objectives=_objectives(hyperparameters.get("model") or {}),
        data=_data(hyperparameters),
        evaluation=evaluation_section(evaluation, figures),
        training=_training(training),
        hyperparameters=_settings(hyperparameters),
        vocabulary=config.vocab_size,
        context=_context(config) if _reads_all(config) else f"at most {_context(config)}, a sample where it has more",
        licence=_APACHE if _has_apache_teacher(hyperparameters) else _UNKNOWN,
    )


def _labels(probe: Mapping[str, Any] | None, name: str) -> str:
    """The section on labels, of a classifier."""
    if probe is None:
        return ""
    labels = list(probe["id2label"].values())
    names = ", ".join(f"`{label}`" for label in labels)
    how = "Its head was trained with it, on what a probe on its teacher says."
    judged = probe.get("held_out")
    if judged:
        how = (
            f"Its head is a logistic regression on its vectors. On {judged['cells']:,} cells kept aside it reached a "
            f"macro-F1 of {judged['macro_f1']:.3f} and a calibration error of {judged['ece']:.3f}."
        )
    return _LABELS.format(count=len(labels), names=names, name=name, how=how)


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
    return f"`{teacher or 'not recorded'}`, frozen.{_TOY if teacher in _TOYS else ''}"


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


def _sizes(config: Tx1Config) -> str:
    with torch.device("meta"):
        model = Tx1Model(config)
    parameters, table = model.num_parameters(), model.gene_table_size
    rows = {
        "parameters": f"{parameters:,}",
        "outside the gene table": f"{parameters - table:,}",
        **_shape(config),
        "cell embedding": f"{config.embedding_size} values",
        "context": _context(config),
        "vocabulary": f"{config.vocab_size:,} tokens",
    }
    return _table(("", ""), rows.items())


def _shape(config: Tx1Config) -> dict[str, str]:
    if config.encoder == "transformer":
        numbers = f"{config.num_hidden_layers}, {config.hidden_size}, {config.num_attention_heads}"
        return {"layers, width, heads": numbers}
    statistics = [*config.set_pools, *(["pairs"] if config.set_pair_rank else [])]
    return {
        "encoder": f"without attention; gene vectors of {config.hidden_size}, {config.set_values} in the bins",
        "statistics of a cell": ", ".join(statistics),
        "head": f"{config.num_hidden_layers} residual blocks, {config.intermediate_size} wide",
    }


def _context(config: Tx1Config) -> str:
    return "all genes" if _reads_all(config) else f"{config.context_length:,} genes"


def _reads_all(config: Tx1Config) -> bool:
    """No cell has more genes than the vocabulary."""
    return config.context_length >= config.vocab_size


def _metrics(metrics: Mapping[str, Any], previous: Mapping[str, Any] | None) -> str:
    if not metrics:
        return "None were measured in this run."
    table = _table(("metric", "value"), ((name, _number(value)) for name, value in sorted(metrics.items())))
    if not previous:
        return table
    rows = []
    for name in sorted({*metrics, *previous}):
        before, after = previous.get(name), metrics.get(name)
        rows.append((name, _number(before), _number(after), verdict(name, after, before)))
    against = _table(("metric", "published before", "this version", ""), rows)
    return f"{table}\n\nAgainst the version published before:\n\n{against}"


def _objectives(model: Mapping[str, Any]) -> str:
    objectives = model.get("objectives") or {}
    if not objectives:
        return "Objectives: not recorded."
    return _table(("objective", "settings"), ((name, _code(value)) for name, value in sorted(objectives.items())))


def _data(hyperparameters: Mapping[str, Any]) -> str:
    rows = []
    for key, use in (("train_loader", "training"), ("eval_loader", "evaluation")):
        loaders = hyperparameters.get(key) or []
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            label = f"{use} ({loader['label']})" if loader.get("label") else use
            rows.append((label, _code(loader.get("dataset") or {})))
    table = _table(("used for", "data set"), rows) if rows else "Not recorded."
    known = ((hyperparameters.get("variables") or {}).get("cells") or {}).items()
    facts = [f"- {use}: {found['cells']:,} cells of {', '.join(found['files'])}" for use, found in known]
    return "\n".join([table, *(["", *facts] if facts else [])])


def _chosen(hyperparameters: Mapping[str, Any]) -> str:
    """What was decided by the evaluation cells, whose numbers then flatter."""
    callbacks = hyperparameters.get("callbacks") or {}
    best = (callbacks.get("hf_student") or {}).get("best")
    stopper = (callbacks.get("early_stopper") or {}).get("monitor")
    if hyperparameters.get("fit"):
        return _held_out(hyperparameters["fit"])
    reasons = [f"the student of the best {_name(best)} was kept"] if best else []
    reasons += [f"training was stopped by {stopper}"] if stopper else []
    if not reasons:
        return "Measured on the evaluation cells named under Data; this run decided nothing by them."
    return f"Measured on the evaluation cells named under Data, by which {' and '.join(reasons)}: the numbers flatter."


def _held_out(fit: Mapping[str, Any]) -> str:
    beside = "a ridge regression from log-counts, and this student before its refinement"
    if not any(name.startswith("ridge/") for name in fit.get("baselines", {})):
        beside = "the student that this one was made of, and where named so both on other cells"
    baselines = ", ".join(f"`{name}` {_number(value)}" for name, value in sorted(fit.get("baselines", {}).items()))
    return (
        "Measured on cells of the same source that were held out and decided nothing. Beside them, on the same cells, "
        f"{beside}: {baselines}."
    )


def _name(best: Any) -> str:
    return f"`{best.get('metric') if isinstance(best, dict) else best}`"


def _settings(hyperparameters: Mapping[str, Any]) -> str:
    names = ["seed", "max_duration", "max_seq_len", "global_train_batch_size", "precision"]
    names += ["optimizer", "scheduler", "algorithms", "fit"]
    rows = [(name, _code(hyperparameters[name])) for name in names if name in hyperparameters]
    student = (hyperparameters.get("model") or {}).get("student")
    rows += [("student", _code(student))] if student else []
    return _table(("setting", "value"), rows) if rows else "Not recorded."


def _training(training: Mapping[str, Any] | None) -> str:
    if training is None:
        return "How long it was trained, and on what, was not recorded."
    hours, rest = divmod(round(training["seconds"]), 3600)
    return (
        f"Trained for {hours} h {rest // 60:02d} min ({training['batches']:,} batches) by {training['processes']} "
        f"processes on {training['hardware']}."
    )


def _number(value: object) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4f}" if is_number(value) else str(value)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return "`" + text.replace("|", "\\|") + "`"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
