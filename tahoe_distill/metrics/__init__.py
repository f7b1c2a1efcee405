"""Metrics of agreement between student and teacher, as torchmetrics: one a file.

Each may be updated in parts and on several processes, and computes what one update with all cells would. A metric that
has seen nothing to compare returns 0.0, never NaN, so that it poisons neither a mean nor a stopping rule; ``count`` is
then 0 (``cells`` for a metric that keeps the embeddings).
"""

from .centered_cosine import CenteredCosine
from .knn_overlap import KNNOverlap
from .masked_expression_mse import MaskedExpressionMSE
from .masked_spearman import MaskedSpearman
from .mean_cosine import MeanCosine
from .normalized_mse import NormalizedMSE

__all__ = [
    "CenteredCosine",
    "KNNOverlap",
    "MaskedExpressionMSE",
    "MaskedSpearman",
    "MeanCosine",
    "NormalizedMSE",
]
