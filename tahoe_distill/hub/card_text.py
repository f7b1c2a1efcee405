"""The words of a model card that are the same for all students."""

TEMPLATE = """{metadata}
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

LABELS = """
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

CITATION = """```bibtex
@misc{tahoe2025tahoex1,
  author = {{Tahoe Therapeutics}},
  title = {Tahoe-x1: Scaling Perturbation-Trained Single-Cell Foundation Models to 3 Billion Parameters},
  year = {2025},
  note = {Preprint}
}
```"""
CITE_VECTORS = "Cite the model or the method that made the vectors; the records of the run do not say which that is."

TOYS = ("tx1-nano",)
TOY = (
    " It is a toy: a small model of a few hundred blood cells and the genes that they express, made to try the whole "
    "way in minutes. A student of it is one too."
)
APACHE = "Apache License 2.0, the licence of the teacher's weights, from which these are derived."
UNKNOWN = (
    "The licence of the teacher's weights holds for these weights too, since they are derived from them. The records "
    "of the run do not say which licence that is."
)
