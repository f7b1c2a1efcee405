"""What a model says besides the cell embedding: mean gene embeddings and the attention of the pooled position."""

import torch
from torch import nn


class GeneMeans:
    """Sums of gene embeddings over the cells of a window.

    Args:
        model: A ``Tx1Model``.
    """

    def __init__(self, model):
        config = model.config
        weight = next(model.parameters())
        self._sums = torch.zeros(config.vocab_size, config.hidden_size, dtype=torch.float32, device=weight.device)
        self._counts = torch.zeros(config.vocab_size, dtype=torch.int64, device=weight.device)

    def add(self, gene_ids, embeddings):
        """Add a batch: (C, G) tokens and their (C, G, D) embeddings; padding lands on its own token."""
        flat = gene_ids.flatten()
        self._sums.index_add_(0, flat, embeddings.flatten(0, 1).float())
        self._counts.index_add_(0, flat, torch.ones_like(flat))

    def get(self):
        """Tokens that were seen (T,), their float32 sums (T, D) and int64 counts (T,)."""
        tokens = self._counts.nonzero().squeeze(1)
        return tokens.cpu().numpy(), self._sums[tokens].cpu().numpy(), self._counts[tokens].cpu().numpy()


def cls_attention(model, hidden_states, attention_mask, blocks):
    """Attention that position 0 pays to each position, averaged over heads and ``blocks``.

    The same numbers as ``output_attentions=True`` has in row 0, without the (G, G) tables of all blocks, which take
    hundreds of megabytes a cell at a context of 1,024.

    Args:
        model: A ``Tx1Model``.
        hidden_states: Inputs of the blocks, (C, G, D) each, as the model returns them.
        attention_mask: (C, G) nonzero at tokens, or ``None``.
        blocks: Numbers of the blocks to average over.

    Returns:
        (C, G) weights; each row sums to 1.
    """
    total = 0.0
    for number in blocks:
        block = model.transformer_encoder.layers[number]
        attention = block.self_attn
        h = block.norm1(hidden_states[number])
        C, G, D = h.shape
        H = attention.config.num_attention_heads
        weight, bias = attention.Wqkv.weight, attention.Wqkv.bias
        q = nn.functional.linear(h[:, 0], weight[:D], bias[:D]).view(C, H, 1, D // H)
        k = nn.functional.linear(h, weight[D : 2 * D], bias[D : 2 * D]).view(C, G, H, D // H).transpose(1, 2)
        scores = (q @ k.transpose(2, 3))[:, :, 0] * attention.scaling
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask.bool()[:, None], torch.finfo(scores.dtype).min)
        total = total + scores.softmax(dim=-1, dtype=torch.float32).mean(dim=1)
    return total / len(blocks)
