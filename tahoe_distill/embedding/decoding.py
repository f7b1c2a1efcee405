"""From cells to the expression a model expects of them: the heads, run on their own."""

from typing import Any

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse

from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.doctor import check_cells_make_sense
from tahoe_distill.embedding.in_memory import require_anndata, writable
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import check_key
from tahoe_distill.embedding.session import open_session
from tahoe_distill.models.modeling_tx1 import inference

HEADS = ("mvc", "expression")


def decode(
    adata: AnnData,
    model: ModelSource,
    *,
    head: str = "mvc",
    key_added: str = "tx1_expression",
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    copy: bool = False,
    drug_key: str | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> AnnData | None:
    """Write the expression that the model predicts, in bins (1 is low, ``num_bins - 1`` is high).

    Args:
        adata: Cells by genes; raw counts or log1p of them.
        model: As in :func:`tahoe_distill.embed`; must have the head.
        head: ``"mvc"`` predicts every known gene from the cell embedding, expressed or not: (n_obs, n_vars) float32,
            NaN for genes that are not in the vocabulary. ``"expression"`` predicts the genes of each cell's context
            from their own embeddings: (n_obs, n_vars) sparse.
        key_added: Key of ``layers``.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        batch_size: Cells of a batch at most, or ``"auto"``.
        device: As in :func:`tahoe_distill.embed`.
        dtype: As in :func:`tahoe_distill.embed`.
        copy: Return a copy and leave ``adata`` alone.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        overwrite: Replace a layer of that name.
        force: As in :func:`tahoe_distill.embed`.

    Returns:
        ``None``, or the copy.

    Raises:
        ValueError: When the model lacks the head.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, found {head!r}")
    require_anndata(adata, copy)
    check_key(key_added)
    if key_added in adata.layers and not overwrite:
        raise ValueError(f"adata already has layers/{key_added}; pass overwrite=True or another key_added")
    options = Options(batch_size=batch_size, device=device, dtype=dtype)
    chosen: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    with open_session(adata, model, options, **chosen, force=force) as session:
        _check_head(session.model, head)
        session.cells.check_genes()
        session.check()
        check_cells_make_sense(session)
        engine = session.engine(options.places()[0])
        predict = {"mvc": _from_cells, "expression": _from_genes}[head]
        with inference(engine.model):
            blocks = [predict(engine, session.cells, window) for window in options.windows(adata.n_obs)]
    target = writable(adata, copy)
    target.layers[key_added] = np.concatenate(blocks) if head == "mvc" else sparse.vstack(blocks, format="csr")
    return target if copy else None


def _check_head(model, head):
    found = {"mvc": model.mvc_decoder, "expression": model.expression_decoder}
    if found[head] is None:
        has = ", ".join(name for name in HEADS if found[name] is not None) or "none"
        raise ValueError(f"this model has no {head} head (it has: {has}); export a student with the head to decode")


def _from_cells(engine, cells, window):
    """(C, n_vars) float32 by the MVC head, whose gene side is computed once for all cells of a window."""
    model, known = engine.model, np.flatnonzero(cells.tokens >= 0)
    encoded = cells.encode(*window)
    predicted = np.full((len(encoded), cells.n_vars), np.nan, dtype=np.float32)
    keys = model.mvc_keys(torch.as_tensor(cells.tokens[known], device=engine.device))
    for numbers, batch in engine.batches(encoded, cells.drugs(*window)):
        seen = batch.get("attention_mask", torch.ones_like(batch["gene_ids"])).bool()
        cell = model.pool(model(**batch).last_hidden_state, seen, batch["expression_bins"])
        predicted[np.ix_(numbers, known)] = model.decode_cells(cell, keys).cpu().numpy()
    return predicted


def _from_genes(engine, cells, window):
    """(C, n_vars) CSR by the expression head."""
    encoded = cells.encode(*window)
    rows, columns, data = [], [], []
    for numbers, batch in engine.batches(encoded, cells.drugs(*window)):
        values = engine.model.in_bins(engine.model(**batch, output_expression=True).expression.float())
        column = cells.columns[batch["gene_ids"].cpu().numpy()]
        cell, place = np.nonzero(column >= 0)
        rows.append(numbers[cell])
        columns.append(column[cell, place])
        data.append(values.cpu().numpy()[cell, place])
    entries = np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(len(encoded), cells.n_vars))
