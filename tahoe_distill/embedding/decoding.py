"""From cells to the expression a model expects of them: the heads, run on their own."""

import numpy as np
import torch
from scipy import sparse

from tahoe_distill.cells import check_cells, match_genes, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.embedding.api import _writable
from tahoe_distill.embedding.engine import Engine
from tahoe_distill.embedding.loading import is_path, load_student
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.prepare import check_genes_of_raw

HEADS = ("mvc", "expression")


def decode(adata, model, *, head="mvc", key_added="tx1_expression", layer=None, gene_key=None, symbols=None,
           batch_size="auto", device="auto", dtype="auto", copy=False, drug_key=None):  # fmt: skip
    """Write the expression that the model predicts, in bins (1 is low, ``num_bins - 1`` is high).

    Args:
        adata: Cells by genes; raw counts or log1p of them.
        model: As in :func:`tahoe_distill.embed`; must have the head.
        head: ``"mvc"`` predicts every known gene from the cell embedding, expressed or not: (n_obs, n_vars) float32,
            NaN for genes that are not in the vocabulary. ``"expression"`` predicts the genes of each cell's context
            from their own embeddings: (n_obs, n_vars) sparse.
        key_added: Key of ``layers``.
        layer: Layer to read instead of ``X``.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        batch_size: Cells of a batch at most, or ``"auto"``.
        device: As in :func:`tahoe_distill.embed`.
        dtype: As in :func:`tahoe_distill.embed`.
        copy: Return a copy and leave ``adata`` alone.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.

    Returns:
        ``None``, or the copy.

    Raises:
        ValueError: When the model lacks the head.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, found {head!r}")
    options = Options(batch_size=batch_size, device=device, dtype=dtype)
    with open_cells(adata, layer=layer) as cells:
        check_genes_of_raw(cells, genes=True)
        check_cells(cells)
        student, processor = load_student(model)
        _check_head(student, head)
        tokens = match_genes(cells, processor.vocab, gene_key=gene_key, symbols=symbols).require().tokens
        drugs = cell_drugs(cells, processor, drug_key)
        engine = Engine(student, processor, options, options.places()[0], is_path(model))
        predict = {"mvc": _from_cell, "expression": _from_genes}[head]
        blocks = []
        for window in options.windows(cells.n_obs):
            encoded = processor.encode_rows(cells.rows(*window), tokens)
            blocks.append(predict(engine, encoded, None if drugs is None else drugs[slice(*window)], tokens))
    target = _writable(adata, copy)
    target.layers[key_added] = np.concatenate(blocks) if head == "mvc" else sparse.vstack(blocks, format="csr")
    return target if copy else None


def _check_head(model, head):
    found = {"mvc": model.mvc_decoder, "expression": model.expression_decoder}
    if found[head] is None:
        has = ", ".join(name for name in HEADS if found[name] is not None) or "none"
        raise ValueError(f"this model has no {head} head (it has: {has}); export a student with the head to decode")


def _from_cell(engine, cells, drugs, tokens):
    """(C, n_vars) float32 by the MVC head, whose gene side is computed once for all cells."""
    model, known = engine.model, np.flatnonzero(tokens >= 0)
    predicted = np.full((len(cells), len(tokens)), np.nan, dtype=np.float32)
    with engine.inference():
        mvc = model.mvc_decoder
        genes = model.gene_encoder(torch.as_tensor(tokens[known], device=engine.device))
        keys = mvc.W(mvc.activation(mvc.gene2query(genes)))
        for numbers, batch in engine.batches(cells, drugs):
            bins = batch["expression_bins"]
            mask = batch.get("attention_mask", torch.ones_like(bins)).bool()
            cell = model._pool(model(**batch).last_hidden_state, mask, None, bins, None)
            values = (cell @ keys.T).float() * mvc.scale
            predicted[np.ix_(numbers, known)] = _in_bins(values, model.config).cpu().numpy()
    return predicted


def _from_genes(engine, cells, drugs, tokens):
    """(C, n_vars) CSR by the expression head; a token that several columns share is put on the first of them."""
    column_of = np.full(engine.model.config.vocab_size, -1, dtype=np.int64)
    known = np.flatnonzero(tokens >= 0)[::-1]
    column_of[tokens[known]] = known
    rows, columns, data = [], [], []
    with engine.inference():
        for numbers, batch in engine.batches(cells, drugs):
            values = _in_bins(engine.model(**batch, output_expression=True).expression.float(), engine.model.config)
            column = column_of[batch["gene_ids"].cpu().numpy()]
            cell, place = np.nonzero(column >= 0)
            rows.append(numbers[cell])
            columns.append(column[cell, place])
            data.append(values.cpu().numpy()[cell, place])
    entries = np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix(entries, shape=(len(cells), len(tokens)))


def _in_bins(values, config):
    """Undo the scaling to [-1, 1] that some models were trained with."""
    return (values + 1) / 2 * (config.num_bins - 2) + 1 if config.standard_scale_outputs else values
