"""Asking a model about a batch: its inputs, and no more outputs than are needed."""

from tahoe_distill.objectives import Outputs

# Fields of Outputs that every position of the last block goes into; without them it is run for the cell alone.
_ALL_POSITIONS = frozenset({"genes", "hidden", "pooled", "expression"})


def forward_model(model, gene_ids, values, masked, drug_ids, needs, tokens=None):
    """A model's outputs to a batch of cells.

    Args:
        model: A ``Tx1Model``, teacher or student.
        gene_ids: (C, G) int64 tokens.
        values: (C, G) expression as the model reads it.
        masked: (C, G) True at genes whose expression is hidden, or ``None``.
        drug_ids: (C,) int64, or ``None``; left out where the model has no drug token.
        needs: Fields of :class:`Outputs` that are wanted beside ``cell``.
        tokens: (V,) int64, the model's own token for each of ``gene_ids``, where it has a smaller vocabulary; genes
            that lead to its padding token are not seen.

    Returns:
        An :class:`Outputs`; its ``gene_ids`` are those given, so that two models' positions can be compared.
    """
    own = gene_ids if tokens is None else tokens[gene_ids]
    seen = own.ne(model.config.pad_token_id)
    out = model(
        own,
        values,
        attention_mask=seen,
        masked=masked,
        drug_ids=drug_ids if model.chem_encoder is not None else None,
        output_hidden_states=bool({"hidden", "pooled"} & needs),
        output_expression="expression" in needs and model.expression_decoder is not None,
        output_mvc="mvc" in needs and model.mvc_decoder is not None,
        cell_only=not _ALL_POSITIONS & needs,
    )
    return Outputs(
        cell=out.pooler_output,
        genes=out.last_hidden_state,
        hidden=out.hidden_states,
        expression=out.expression,
        mvc=out.mvc,
        gene_ids=gene_ids,
        seen=seen,
        masked=masked,
    )


def forward_flops(model, cells, length, needs):
    """Floating-point operations of one forward pass: 2 per weight and token, and the attention scores and their use.

    The gene table is looked up, not multiplied, so it does not count.

    Args:
        model: A ``Tx1Model``.
        cells: Cells of the batch.
        length: Tokens of each.
        needs: As in :func:`forward_model`.
    """
    config = model.config
    weights = sum(p.numel() for name, p in model.named_parameters() if "gene_encoder.embedding" not in name)
    attention = 4 * config.hidden_size * length
    cell = length * (2 * weights + config.num_hidden_layers * attention)
    if config.pooling == "cls" and not _ALL_POSITIONS & needs:
        # The last block has one query a cell, and every map of it runs once: those to keys and values on the query.
        block = 2 * sum(p.numel() for p in model.transformer_encoder.layers[-1].parameters())
        cell += block + config.num_attention_heads * attention - length * (block + attention)
    return cells * cell
