"""The parts of a model card that are made from a run's records: tables, and sentences with numbers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tahoe_distill.hub.card_text import LABELS
from tahoe_distill.hub.comparison import verdict
from tahoe_distill.hub.folder import is_number
from tahoe_distill.models import Tx1Config, Tx1Model


def labels_section(probe: Mapping[str, Any] | None, name: str) -> str:
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
    return LABELS.format(count=len(labels), names=names, name=name, how=how)


def sizes_table(config: Tx1Config) -> str:
    """Parameters, dimensions, context and vocabulary."""
    with torch.device("meta"):
        model = Tx1Model(config)
    parameters, table = model.num_parameters(), model.gene_table_size
    rows = {
        "parameters": f"{parameters:,}",
        "outside the gene table": f"{parameters - table:,}",
        **_shape(config),
        "cell embedding": f"{config.embedding_size} values",
        "context": context_of(config),
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


def context_of(config: Tx1Config) -> str:
    """How many genes of a cell it reads."""
    return "all genes" if reads_all(config) else f"{config.context_length:,} genes"


def reads_all(config: Tx1Config) -> bool:
    """No cell has more genes than the vocabulary."""
    return config.context_length >= config.vocab_size


def metrics_table(metrics: Mapping[str, Any], previous: Mapping[str, Any] | None) -> str:
    """Metrics as recorded, and beside those of the version published before."""
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


def objectives_table(model: Mapping[str, Any]) -> str:
    """What was distilled, with its settings."""
    objectives = model.get("objectives") or {}
    if not objectives:
        return "Objectives: not recorded."
    return _table(("objective", "settings"), ((name, _code(value)) for name, value in sorted(objectives.items())))


def data_table(hyperparameters: Mapping[str, Any]) -> str:
    """Data sets of the loaders, and the cells where they are recorded."""
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


def chosen_by(hyperparameters: Mapping[str, Any]) -> str:
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


def settings_table(hyperparameters: Mapping[str, Any]) -> str:
    """Settings of the run that a reader asks for first."""
    names = ["seed", "max_duration", "max_seq_len", "global_train_batch_size", "precision"]
    names += ["optimizer", "scheduler", "algorithms", "fit"]
    rows = [(name, _code(hyperparameters[name])) for name in names if name in hyperparameters]
    student = (hyperparameters.get("model") or {}).get("student")
    rows += [("student", _code(student))] if student else []
    return _table(("setting", "value"), rows) if rows else "Not recorded."


def training_line(training: Mapping[str, Any] | None) -> str:
    """How long, by how many processes, on what."""
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
