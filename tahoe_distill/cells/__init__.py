"""Cells from anywhere: one reader, one matcher of genes, one check of values, whatever the format."""

from tahoe_distill.lazy import hand_out

# Name -> module. Handed out lazily: a light import pays for no file format.
_PUBLIC = {
    "Cells": "tahoe_distill.cells.base",
    "DrugTable": "tahoe_distill.cells.drugs",
    "Format": "tahoe_distill.cells.formats",
    "GeneMatch": "tahoe_distill.cells.genes",
    "check_cells": "tahoe_distill.cells.values",
    "describe_genes": "tahoe_distill.cells.species",
    "expand_inputs": "tahoe_distill.cells.formats",
    "human_symbols": "tahoe_distill.cells.symbols",
    "match_genes": "tahoe_distill.cells.genes",
    "open_cells": "tahoe_distill.cells.formats",
    "read_symbols": "tahoe_distill.cells.symbols",
    "register_format": "tahoe_distill.cells.formats",
    "soma_address": "tahoe_distill.cells.soma",
    "with_symbols": "tahoe_distill.cells.symbols",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
