"""What is worked out before the first cell is embedded and told after the last: provenance, a tally of cells."""

import hashlib
import logging

import numpy as np

from tahoe_distill import __version__

log = logging.getLogger(__name__)


def check_genes_of_raw(cells, genes, attentions=None):
    """Refuse to write one number a gene where the genes read are not those of ``var``.

    Raises:
        ValueError: When ``raw`` is read and ``genes`` or ``attentions`` are asked for.
    """
    if cells.is_raw and (genes or attentions is not None):
        raise ValueError(
            "layer 'raw' has genes of its own, while genes and attentions are written for those of var; leave them "
            "out, or embed adata.raw.to_adata()"
        )


def weights_fingerprint(model):
    """16 hex digits of a model's configuration and of a sample of every tensor."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 4096)].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()[:16]


def provenance(name, model, match, options, layer=None, gene_key=None, drug_key=None):
    """What to note in ``uns`` so that the vectors can be made again; no time, so that a rerun writes the same file.

    Args:
        name: Folder or hub id of the model, or ``None``.
        model: A ``Tx1Model``.
        match: The :class:`~tahoe_distill.cells.GeneMatch` of the cells.
        options: The options of the run.
        layer: Layer that was read.
        gene_key: Column of gene ids.
        drug_key: Column of drugs.
    """
    noted = {
        "model": name or "in memory",
        "weights": weights_fingerprint(model),
        "pooling": model.config.pooling,
        "normalize": options.normalize,
        "backend": options.backend,
        "dtype": str(options.dtype),
        "genes_matched": match.count,
        "genes_by_symbol": match.by_symbol,
        "genes_total": int(match.tokens.size),
        "tahoe_distill": __version__,
    }
    chosen = {"layer": layer, "gene_key": gene_key, "drug_key": drug_key}
    return {**noted, **{key: value for key, value in chosen.items() if value is not None}}


class Tally:
    """Counts what a user should hear about: cells without a gene, cells above the context.

    Args:
        processor: A ``Tx1Processor``.
    """

    def __init__(self, processor):
        self._special = len(processor.special_tokens)
        self._context = processor.max_length
        self.empty = self.full = 0

    def add(self, cells):
        """Count encoded cells."""
        lengths = np.array([len(tokens) for tokens, _ in cells])
        self.empty += int((lengths == self._special).sum())
        self.full += int((lengths == self._context).sum())

    def report(self):
        """Log a warning about empty cells; return the counts as a dict."""
        if self.empty:
            log.warning(
                "%d cells express no gene of the vocabulary; they all got the vector of an empty cell", self.empty
            )
        return {"cells_empty": self.empty, "cells_at_context": self.full}
