"""What is checked and worked out before the first cell is embedded: genes, drugs, provenance."""

import hashlib
import logging

import numpy as np

from tahoe_distill import __version__
from tahoe_distill.embedding.gene_ids import describe_genes

log = logging.getLogger(__name__)


def match_genes(processor, source, gene_key=None):
    """Token of each gene of a source, -1 where unknown; says so when few of them are known.

    Raises:
        ValueError: When none is in the vocabulary; the message says what the names look like.
    """
    try:
        tokens = processor.match(source.genes, gene_key)
    except ValueError as error:
        if gene_key is not None and gene_key not in source.genes.var.columns:
            raise
        raise ValueError(f"{error}. {describe_genes(_names(source.genes, gene_key)).advice}") from error
    share = float((tokens >= 0).mean())
    if share < 0.5:
        log.warning("only %.1f %% of the %d genes are in the vocabulary", 100 * share, tokens.size)
    return tokens


def _names(adata, gene_key):
    return list(adata.var_names if gene_key is None else adata.var[gene_key])


def drug_numbers(processor, source, drug_key=None):
    """(n_obs,) drug numbers, zeros where no drug is known; ``None`` for a model without a drug token.

    Raises:
        ValueError: When ``drug_key`` is given to a model without a drug token, or is no column of ``obs``.
    """
    if not processor.use_chem_token:
        if drug_key is not None:
            raise ValueError(f"drug_key {drug_key!r} was given, but this model has no drug token; leave it out")
        return None
    if drug_key is None:
        return np.zeros(source.n_obs, dtype=np.int64)
    table = processor.drug_to_id or {}
    names = [str(name) for name in source.obs_column(drug_key)]
    unknown = sorted({name for name in names if name not in table})
    if unknown:
        log.warning("%d drugs are unknown to the model and count as no drug: %s", len(unknown), ", ".join(unknown[:5]))
    return np.array([table.get(name, 0) for name in names], dtype=np.int64)


def weights_fingerprint(model):
    """16 hex digits of a model's configuration and of a sample of every tensor."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 4096)].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()[:16]


def provenance(name, model, tokens, options, layer=None, gene_key=None, drug_key=None):
    """What to note in ``uns`` so that the vectors can be made again; no time, so that a rerun writes the same file.

    Args:
        name: Folder or hub id of the model, or ``None``.
        model: A ``Tx1Model``.
        tokens: (n_vars,) tokens, -1 where unknown.
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
        "genes_matched": int((tokens >= 0).sum()),
        "genes_total": int(tokens.size),
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
