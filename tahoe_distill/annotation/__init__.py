"""Labels of cells: probes on their vectors, and classifiers that write what they say into AnnData."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "ProbeSettings": "tahoe_distill.annotation.probing",
    "annotate": "tahoe_distill.annotation.annotate",
    "annotate_file": "tahoe_distill.annotation.annotate",
    "export_classifier": "tahoe_distill.annotation.exporting",
    "fit_probe": "tahoe_distill.annotation.probing",
    "labelled_cache": "tahoe_distill.annotation.labelled",
    "labelled_cells": "tahoe_distill.annotation.labelled",
    "save_probe": "tahoe_distill.annotation.exporting",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
