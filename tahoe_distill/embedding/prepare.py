"""What is worked out before the first cell is embedded: genes and drugs."""

import logging

import numpy as np

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
