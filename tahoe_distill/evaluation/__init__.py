"""How good a student is: label transfer, fidelity to the teacher, drop-in swap, and the report of it all."""

from tahoe_distill.evaluation.fidelity import centered_cosine, mean_cosine
from tahoe_distill.evaluation.label_transfer import Score, label_transfer, split_scores
from tahoe_distill.evaluation.report import Report, evaluate

__all__ = ["Report", "Score", "centered_cosine", "evaluate", "label_transfer", "mean_cosine", "split_scores"]
