"""The model card of an exported student, written from its recorded facts and nothing else."""

import json

_TEMPLATE = """---
library_name: transformers
license: apache-2.0
pipeline_tag: feature-extraction
tags:
- single-cell
- biology
- tahoe-x1
- distillation
---

# {title}

A small model that embeds single cells, distilled from the Tahoe-x1 teacher `{teacher}`.

| | |
|---|---|
| parameters | {parameters:,} |
| outside the gene table | {outside:,} |
| layers, width, heads | {layers}, {width}, {heads} |
| cell embedding | {embedding} values |
| context | {context} genes |
| vocabulary | {vocabulary:,} tokens |

## Use

```python
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained(FOLDER, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(FOLDER, trust_remote_code=True)
embeddings = model(**processor(adata)).pooler_output
```

Whole files: `tahoe-distill embed --model FOLDER --adata in.h5ad --out out.h5ad` (`pip install tahoe-distill`).

## Metrics

{metrics}

## Training

{objectives}

Every setting of the run is in `training_hyperparameters.json`.

## Limits

The model knows the genes of its vocabulary only, and what its teacher knew of them. The licence of the teacher's weights
holds for weights derived from them too.
"""


def write_card(config, parameters, gene_table, hyperparameters, metrics):
    """The card's text.

    Args:
        config: The student's :class:`Tx1Config`.
        parameters: Number of its parameters.
        gene_table: How many of them are the gene table.
        hyperparameters: The run's configuration, as recorded.
        metrics: Metric name to value, as recorded.
    """
    model = hyperparameters.get("model", {})
    teacher = model.get("teacher")
    return _TEMPLATE.format(
        title=hyperparameters.get("run_name") or "Distilled Tahoe-x1",
        teacher=teacher.get("source") if isinstance(teacher, dict) else teacher,
        parameters=parameters,
        outside=parameters - gene_table,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        embedding=config.embedding_size,
        context=config.context_length,
        vocabulary=config.vocab_size,
        metrics=_table(metrics) if metrics else "None were measured in this run.",
        objectives=_objectives(model),
    )


def _objectives(model):
    objectives = model.get("objectives") or {}
    return f"Objectives: `{json.dumps(objectives, sort_keys=True)}`. Student: `{json.dumps(model.get('student'))}`."


def _table(values):
    return "\n".join(
        ["| metric | value |", "|---|---|", *(f"| {name} | {value:.4f} |" for name, value in values.items())]
    )
