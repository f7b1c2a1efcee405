"""A student against its teacher on labelled cells."""

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from anndata import AnnData

from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding import embed
from tahoe_distill.evaluation.label_transfer import label_transfer
from tahoe_distill.metrics import centered_cosine, mean_cosine
from tahoe_distill.models import Tx1Model, Tx1Processor

KEY = "X_evaluated"
Pair = tuple[Tx1Model, Tx1Processor]


@dataclass(frozen=True)
class Report:
    """What an evaluation found; cosines are ``None`` when the student embeds in a space of its own."""

    cells: int
    teacher_parameters: int
    student_parameters: int
    teacher_parameters_outside_genes: int
    student_parameters_outside_genes: int
    cosine: float | None
    centered_cosine: float | None
    teacher_accuracy: float
    student_accuracy: float
    teacher_macro_f1: float
    student_macro_f1: float
    swap_macro_f1: float | None
    teacher_cells_per_second: float
    student_cells_per_second: float

    @property
    def macro_f1_kept(self) -> float:
        """Share of the teacher's macro-F1 that the student reaches."""
        return self.student_macro_f1 / self.teacher_macro_f1 if self.teacher_macro_f1 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Every number by name, ``macro_f1_kept`` included."""
        return {**dataclasses.asdict(self), "macro_f1_kept": self.macro_f1_kept}


def evaluate(
    student: Pair,
    teacher: Pair,
    query: AnnData,
    *,
    reference: AnnData,
    label_key: str,
    gene_key: str | None = None,
    layer: str | None = None,
    neighbors: int = 10,
    symbols: Symbols | None = None,
) -> Report:
    """Compare a student with its teacher on ``query`` cells, labels carried over from ``reference`` cells.

    Args:
        student: ``(model, processor)`` of the student.
        teacher: ``(model, processor)`` of the teacher.
        query: AnnData of held-out cells.
        reference: AnnData of labelled cells.
        label_key: Column of ``obs`` with the labels, in both.
        gene_key: Column of ``var`` with gene ids; found by itself when left out.
        layer: Layer with the counts instead of ``X``.
        neighbors: Neighbours that vote.
        symbols: Table of gene symbols, as in :func:`tahoe_distill.embed`.

    Raises:
        ValueError: When the label column is absent.
    """
    for name, adata in (("query", query), ("reference", reference)):
        if label_key not in adata.obs:
            raise ValueError(f"the {name} cells have no obs column {label_key!r}; found {', '.join(adata.obs.columns)}")
    options = {"gene_key": gene_key, "layer": layer, "symbols": symbols}
    labels = {"reference_labels": reference.obs[label_key], "query_labels": query.obs[label_key]}
    transfer = partial(label_transfer, **labels, neighbors=neighbors)
    known, vectors, scores, speed = {}, {}, {}, {}
    for name, model in (("teacher", teacher), ("student", student)):
        known[name], _ = _vectors(reference, model, options)
        vectors[name], speed[name] = _vectors(query, model, options)
        scores[name] = transfer(reference=known[name], query=vectors[name])
    swap = cosine = centered = None
    if vectors["student"].shape == vectors["teacher"].shape:
        cosine, centered = _cosines(vectors["student"], vectors["teacher"], known["teacher"])
        swap = transfer(reference=known["teacher"], query=vectors["student"]).macro_f1
    return Report(
        cells=query.n_obs,
        teacher_parameters=teacher[0].num_parameters(),
        student_parameters=student[0].num_parameters(),
        teacher_parameters_outside_genes=outside_gene_table(teacher[0]),
        student_parameters_outside_genes=outside_gene_table(student[0]),
        cosine=cosine,
        centered_cosine=centered,
        teacher_accuracy=scores["teacher"].accuracy,
        student_accuracy=scores["student"].accuracy,
        teacher_macro_f1=scores["teacher"].macro_f1,
        student_macro_f1=scores["student"].macro_f1,
        swap_macro_f1=swap,
        teacher_cells_per_second=speed["teacher"],
        student_cells_per_second=speed["student"],
    )


def _cosines(student, teacher, reference):
    """Plain cosine, and the one around the mean of the teacher's reference vectors; in float64."""
    vectors = (student, teacher, reference.mean(axis=0))
    student, teacher, center = (torch.as_tensor(x, dtype=torch.float64) for x in vectors)
    return float(mean_cosine(student, teacher)), float(centered_cosine(student, teacher, center))


def outside_gene_table(model: Tx1Model) -> int:
    """Parameters of a model without its gene table."""
    return model.num_parameters() - model.gene_encoder.embedding.weight.numel()


def _vectors(adata, model, options):
    """Embedding of ``adata`` (n, e), and cells per second."""
    started = time.perf_counter()
    embedded = embed(adata, model, key_added=KEY, copy=True, overwrite=True, **options)
    return np.asarray(embedded.obsm[KEY]), adata.n_obs / (time.perf_counter() - started)
