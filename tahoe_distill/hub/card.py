"""The model card of an exported student, written from its recorded facts and nothing else."""

import json

import torch

from tahoe_distill.hub.card_metadata import has_apache_teacher, metadata, teacher_source
from tahoe_distill.hub.comparison import comparison_table, format_value
from tahoe_distill.hub.records import CONFIG_FILE, HYPERPARAMETERS_FILE, METRICS_FILE, read_record, read_versions
from tahoe_distill.models import Tx1Config, Tx1Model

# Stands for the model in the usage examples until a push knows its repository.
PLACEHOLDER = "FOLDER_OR_REPOSITORY"

_TEMPLATE = """{metadata}
# {title}

A small model that embeds single cells, distilled from the Tahoe-x1 teacher `{teacher}`.

{sizes}

## Use

```python
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{name}", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("{name}", trust_remote_code=True)
adata.obsm["X_tx1"] = model.embed(processor, adata)
```

`adata` is an AnnData of raw or log1p counts with Ensembl ids; the vectors are float32 and of length 1
(`normalize=False` leaves them as they are). `model(**processor(adata))` gives gene embeddings too. Whole files:
`tahoe-distill embed --model {name} --adata in.h5ad --out out.h5ad` (`pip install tahoe-distill`; with that package
no remote code is needed).

## Metrics

{metrics}

## Teacher and objectives

Teacher: `{teacher}`, frozen.

{objectives}

## Data

{data}

## Hyperparameters

{hyperparameters}

Every setting of the run is in `training_hyperparameters.json`.

## Limits

- It knows the {vocabulary:,} tokens of its vocabulary only; a cell longer than {context:,} tokens is sampled.
- It imitates its teacher and inherits what that model gets wrong; where cells are unlike the training data, it may
  drift from the teacher as well.
- The metrics above were measured on the data named above and say nothing about other tissues, species or protocols.
- For research. It is no medical device, and no diagnosis should rest on it.

## Licence of the weights

{licence}

## Citation

```bibtex
@misc{{tahoe2025tahoex1,
  author = {{{{Tahoe Therapeutics}}}},
  title = {{Tahoe-x1: Scaling Perturbation-Trained Single-Cell Foundation Models to 3 Billion Parameters}},
  year = {{2025}},
  note = {{Preprint}}
}}
```

## Versions

{versions}
"""

_APACHE = "Apache License 2.0, the licence of the teacher's weights, from which these are derived."
_UNKNOWN = (
    "The licence of the teacher's weights holds for these weights too, since they are derived from them. The records "
    "of the run do not say which licence that is."
)


def card_of_folder(folder, repo_id=None, previous=None):
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
        versions=read_versions(folder),
    )


def write_card(config, hyperparameters, metrics, repo_id=None, previous=None, versions=()):
    """The card's text.

    Args:
        config: The student's :class:`Tx1Config`.
        hyperparameters: The run's configuration, as recorded.
        metrics: Metric name to value, as recorded.
        repo_id: Repository that the usage examples name; a placeholder without.
        previous: Metrics of the version published before.
        versions: The published versions, as :func:`tahoe_distill.hub.records.next_versions` lists them.
    """
    title = hyperparameters.get("run_name") or "Distilled Tahoe-x1"
    return _TEMPLATE.format(
        metadata=metadata(title, hyperparameters, metrics),
        title=title,
        teacher=teacher_source(hyperparameters) or "not recorded",
        name=repo_id or PLACEHOLDER,
        sizes=_sizes(config),
        metrics=_metrics(metrics, previous),
        objectives=_objectives(hyperparameters.get("model") or {}),
        data=_data(hyperparameters),
        hyperparameters=_settings(hyperparameters),
        vocabulary=config.vocab_size,
        context=config.context_length,
        licence=_APACHE if has_apache_teacher(hyperparameters) else _UNKNOWN,
        versions=_versions(versions),
    )


def _sizes(config):
    with torch.device("meta"):
        model = Tx1Model(config)
    parameters, table = model.num_parameters(), model.gene_encoder.embedding.weight.numel()
    rows = {
        "parameters": f"{parameters:,}",
        "outside the gene table": f"{parameters - table:,}",
        "layers, width, heads": f"{config.num_hidden_layers}, {config.hidden_size}, {config.num_attention_heads}",
        "cell embedding": f"{config.embedding_size} values",
        "context": f"{config.context_length:,} genes",
        "vocabulary": f"{config.vocab_size:,} tokens",
    }
    return _table(("", ""), rows.items())


def _metrics(metrics, previous):
    if not metrics:
        return "None were measured in this run."
    table = _table(("metric", "value"), ((name, format_value(value)) for name, value in sorted(metrics.items())))
    if not previous:
        return table
    return f"{table}\n\nAgainst the version published before:\n\n{comparison_table(metrics, previous)}"


def _objectives(model):
    objectives = model.get("objectives") or {}
    if not objectives:
        return "Objectives: not recorded."
    return _table(("objective", "settings"), ((name, _code(value)) for name, value in sorted(objectives.items())))


def _data(hyperparameters):
    rows = []
    for key, use in (("train_loader", "training"), ("eval_loader", "evaluation")):
        loaders = hyperparameters.get(key) or []
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            label = f"{use} ({loader['label']})" if loader.get("label") else use
            rows.append((label, _code(loader.get("dataset") or {})))
    return _table(("used for", "data set"), rows) if rows else "Not recorded."


def _settings(hyperparameters):
    names = ("seed", "max_duration", "max_seq_len", "global_train_batch_size", "precision")
    names += ("optimizer", "scheduler", "algorithms")
    rows = [(name, _code(hyperparameters[name])) for name in names if name in hyperparameters]
    student = (hyperparameters.get("model") or {}).get("student")
    rows += [("student", _code(student))] if student else []
    return _table(("setting", "value"), rows) if rows else "Not recorded."


def _versions(versions):
    if not versions:
        return "Not published yet."
    rows = []
    for version in reversed(versions):
        recorded = sorted((version.get("metrics") or {}).items())
        metrics = ", ".join(f"{name} {format_value(value)}" for name, value in recorded)
        commit = f"`{version['commit'][:12]}`" if version.get("commit") else "this one"
        rows.append((version.get("version"), version.get("run_name"), commit, metrics))
    return _table(("version", "run", "commit", "metrics"), rows)


def _code(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return "`" + text.replace("|", "\\|") + "`"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
