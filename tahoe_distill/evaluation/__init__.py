"""How good a student is: label transfer, fidelity to the teacher, drop-in swap, and the report of it all."""

from tahoe_distill.evaluation.label_transfer import Score, label_transfer, split_scores
from tahoe_distill.evaluation.report import Report, evaluate

__all__ = ["Report", "Score", "evaluate", "label_transfer", "split_scores"]
