"""Metrics of agreement between student and teacher, each with its direction, for training and evaluation alike.

They are torchmetrics: each may be updated in parts and on several processes, and computes what one update with all
cells would. A metric that has seen nothing to compare returns 0.0, never NaN, so that it poisons neither a mean nor a
stopping rule; ``count`` is then 0 (``cells`` for a metric that keeps the embeddings).
"""

from tahoe_distill.metrics.base import LossTerm
from tahoe_distill.metrics.embeddings import (
    CenteredCosine,
    KNNOverlap,
    MeanCosine,
    NormalizedMSE,
    centered_cosine,
    knn_overlap,
    mean_cosine,
    shared_neighbors,
)
from tahoe_distill.metrics.expression import MaskedExpressionMSE, MaskedSpearman
from tahoe_distill.metrics.registry import METRICS, READS, build_metrics, direction, is_better, register_metric

__all__ = [
    "METRICS",
    "READS",
    "CenteredCosine",
    "KNNOverlap",
    "LossTerm",
    "MaskedExpressionMSE",
    "MaskedSpearman",
    "MeanCosine",
    "NormalizedMSE",
    "build_metrics",
    "centered_cosine",
    "direction",
    "is_better",
    "knn_overlap",
    "mean_cosine",
    "register_metric",
    "shared_neighbors",
]
