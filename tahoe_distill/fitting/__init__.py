"""Fitting a student without attention on one machine, without Composer: from cells and a teacher, or its vectors."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "Fitted": "tahoe_distill.fitting.fit",
    "FitSettings": "tahoe_distill.fitting.labelled",
    "Given": "tahoe_distill.fitting.targets",
    "distill": "tahoe_distill.fitting.entry",
    "specialise_student": "tahoe_distill.fitting.entry",
    "fit_student": "tahoe_distill.fitting.fit",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
