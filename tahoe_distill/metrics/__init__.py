"""Metrics of agreement between student and teacher, as torchmetrics: one a file.

Each may be updated in parts and on several processes, and computes what one update with all cells would. A metric that
has seen nothing to compare returns 0.0, never NaN, so that it poisons neither a mean nor a stopping rule; ``count`` is
then 0 (``cells`` for a metric that keeps the embeddings).
"""

from tahoe_distill.metrics.centered_cosine import CenteredCosine
from tahoe_distill.metrics.knn_overlap import KNNOverlap
from tahoe_distill.metrics.masked_expression_mse import MaskedExpressionMSE
from tahoe_distill.metrics.masked_spearman import MaskedSpearman
from tahoe_distill.metrics.mean_cosine import MeanCosine
from tahoe_distill.metrics.normalized_mse import NormalizedMSE

__all__ = [
    "CenteredCosine",
    "KNNOverlap",
    "MaskedExpressionMSE",
    "MaskedSpearman",
    "MeanCosine",
    "NormalizedMSE",
]
