"""The shortest computation of a cell embedding: the model without all that the embedding does not depend on.

Shapes: C cells, G genes (positions), D width, H heads, K width of a head, E width of a cell embedding.
"""

import torch
from torch import nn

from tahoe_distill.models.modeling_tx1 import attention_pattern


class CellEncoder(nn.Module):
    """Tokens in, cell embeddings out; equal to ``Tx1Model.pooler_output`` but for rounding.

    Three savings over the model: binned values are looked up in a table of what the expression encoder says about each
    bin; where the cell embedding is the ``<cls>`` position, the last block computes that position alone, with its key
    and value maps moved from the genes to the one query (``q · (W h) = (q W) · h``); and no head is run.

    Args:
        model: A ``Tx1Model``. Not changed, except that it is put into eval mode.
        normalize: Divide each embedding by its length, as the published Tahoe embeddings are.
        binned: Whether expression values are bins (``Tx1Processor.do_binning``).
    """

    def __init__(self, model, normalize=True, binned=True):
        super().__init__()
        self.model = model.eval()
        self.normalize = normalize
        values = None
        if binned:
            bins = torch.arange(model.config.num_bins, dtype=torch.float32)
            bins[0] = model.config.pad_value
            weight = model.expression_encoder.linear1.weight
            with torch.no_grad():
                values = model.expression_encoder(bins.to(weight.device, weight.dtype).unsqueeze(0))[0]
        self.register_buffer("values", values, persistent=False)
        # The ONNX exporter puts a module back into the mode it found it in, parts included.
        self.eval()

    @property
    def embedding_size(self):
        """Width E of a cell embedding."""
        return self.model.config.embedding_size

    def forward(self, gene_ids, expression_bins, attention_mask=None, drug_ids=None):
        """Embed a batch.

        Args:
            gene_ids: (C, G) int64 tokens.
            expression_bins: (C, G) expression values.
            attention_mask: (C, G) nonzero at tokens; ``None`` when there is no padding.
            drug_ids: (C,) drug numbers, for a model with a drug token.

        Returns:
            (C, E) float32 embeddings.
        """
        if self._needs_whole_model(attention_mask):
            cell = self.model(gene_ids, expression_bins, attention_mask=attention_mask, drug_ids=drug_ids).pooler_output
        else:
            cell = self._cls(gene_ids, expression_bins, attention_mask, drug_ids)
        cell = cell.float()
        return nn.functional.normalize(cell, dim=1) if self.normalize else cell

    def _needs_whole_model(self, attention_mask):
        config = self.model.config
        return config.pooling != "cls" or config._attn_implementation == "flash_attention_2"

    def _cls(self, gene_ids, expression_bins, attention_mask, drug_ids):
        """(C, E) embeddings from the ``<cls>`` position alone."""
        model = self.model
        x = self._embed(gene_ids, expression_bins, drug_ids)
        mask = None if attention_mask is None else attention_pattern(attention_mask.bool(), None)
        *blocks, last = model.transformer_encoder.layers
        for block in blocks:
            x, _ = block(x, mask, "sdpa")
        cell = model.transformer_encoder.norm(self._last_block(last, x, mask))
        return cell if model.projection is None else model.projection(cell)

    def _embed(self, gene_ids, expression_bins, drug_ids):
        """(C, G, D) input of the first block."""
        model = self.model
        genes = model.gene_encoder(gene_ids)
        if self.values is None:
            return model._embed(genes, expression_bins, None, drug_ids)
        x = genes + nn.functional.embedding(expression_bins.clamp(min=0).long(), self.values)
        if model.chem_encoder is not None:
            x = torch.cat([x[:, :1], model.chem_encoder(drug_ids).unsqueeze(1), x[:, 2:]], dim=1)
        return x

    def _last_block(self, block, x, mask):
        """(C, G, D) input of the last block to (C, D), its output at the first position."""
        attention = block.self_attn
        h = block.norm1(x)
        D = h.shape[-1]
        H = attention.config.num_attention_heads
        weight, bias = attention.Wqkv.weight, attention.Wqkv.bias
        q = nn.functional.linear(h[:, 0], weight[:D], bias[:D]).view(-1, H, D // H)
        # The key bias adds the same to every score of a query, so softmax does not see it.
        query = torch.einsum("chk,hkd->chd", q, weight[D : 2 * D].view(H, D // H, D))
        scores = query @ h.transpose(1, 2) * attention.scaling
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], torch.finfo(scores.dtype).min)
        context = scores.softmax(dim=-1, dtype=torch.float32).to(h.dtype) @ h
        attended = torch.einsum("chd,hkd->chk", context, weight[2 * D :].view(H, D // H, D)).flatten(1) + bias[2 * D :]
        x = x[:, 0] + attention.out_proj(attended)
        return x + block._feed_forward(block.norm2(x))
