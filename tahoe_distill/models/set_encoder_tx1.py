"""The encoder without attention: gene vectors moved by their bins, pooled, and a small network behind them.

Each gene is read once and on its own, so the cost grows with the genes and no context bounds them.

Shapes: C cells, G genes (positions), D width of a gene vector, K factors of a bin, P statistics that are means of gene
vectors, R coordinates that are paired, F all statistics of a cell, M width of the head, E width of a cell embedding.
"""

import torch
from torch import Tensor, nn

from .configuration_tx1 import Tx1Config


class SetValues(nn.Module):
    """How a bin moves a gene's vector: ``gene * scale(bin) + shift(bin)`` (FiLM), both mixed from a few factors.

    The first factor is fixed: it lets a gene count the more, the higher its bin, before anything is learned.

    Args:
        config: Every dimension.
    """

    def __init__(self, config: Tx1Config):
        super().__init__()
        self.top = config.num_bins - 1
        film = config.set_values == "film"
        self.factors = nn.Embedding(config.num_bins, config.set_value_rank) if film else None
        learned = config.set_value_rank if film else 2
        self.scale = _zero_at_first(nn.Linear(learned, config.hidden_size, bias=False))
        self.shift = _zero_at_first(nn.Linear(learned, config.hidden_size, bias=False))

    def forward(self, bins: Tensor) -> Tensor:
        """(C, G) bins -> (C, G, K) factors, the fixed one first."""
        bins = bins.clamp(0, self.top)
        if self.factors is None:
            share = (bins / self.top).unsqueeze(-1)
            return torch.cat([share + 0.5, torch.ones_like(share), share], dim=-1)
        # Put together for the few bins and looked up once: a cell has thousands of genes.
        share = torch.arange(self.top + 1, dtype=bins.dtype, device=bins.device).unsqueeze(-1) / self.top
        return nn.functional.embedding(bins.long(), torch.cat([share + 0.5, self.factors.weight], dim=-1))

    def scales(self) -> Tensor:
        """(K, D): what each factor multiplies a gene vector by."""
        return torch.cat([torch.ones_like(self.scale.weight[:, :1]), self.scale.weight], dim=1).T

    def shifts(self) -> Tensor:
        """(K, D): what each factor adds to it."""
        return torch.cat([torch.zeros_like(self.shift.weight[:, :1]), self.shift.weight], dim=1).T


class SetHead(nn.Module):
    """Statistics of a cell to its embedding, (C, F) -> (C, E): a linear map, and residual blocks beside it.

    Args:
        config: Every dimension.
        statistics: F.
        activation: Between the linear maps.
    """

    def __init__(self, config: Tx1Config, statistics: int, activation: nn.Module):
        super().__init__()
        width = config.intermediate_size
        self.linear = nn.Linear(statistics, config.whole_embedding_size)
        self.norm = nn.LayerNorm(statistics, eps=config.layer_norm_eps)
        self.in_proj = nn.Linear(statistics, width)
        self.blocks = nn.ModuleList(SetBlock(config, activation) for _ in range(config.num_hidden_layers))
        self.out_proj = nn.Linear(width, config.whole_embedding_size)

    def forward(self, statistics: Tensor) -> Tensor:
        statistics = self.norm(statistics)
        x = self.in_proj(statistics)
        for block in self.blocks:
            x = block(x)
        return self.linear(statistics) + self.out_proj(x)


class SetBlock(nn.Module):
    """Pre-norm residual block, (C, M) -> (C, M).

    Args:
        config: Every dimension.
        activation: Between its linear maps.
    """

    def __init__(self, config: Tx1Config, activation: nn.Module):
        super().__init__()
        width = config.intermediate_size
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(width, width)
        self.down_proj = nn.Linear(width, width)
        self.down_proj.is_residual = True  # type: ignore[assignment]
        self.activation = activation
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.down_proj(self.activation(self.up_proj(self.norm(x)))))


class SetEncoder(nn.Module):
    """Gene vectors and bins to cell embeddings.

    All means are over a cell's genes, so their size does not depend on how many were read; special tokens and padding
    count nothing. No moved gene vector is formed for them: with few factors, ``sum of w * (gene * scale + shift)`` is a
    product of matrices over the genes, then one over the factors.

    Args:
        config: Every dimension.
        activation: Of the head.
    """

    def __init__(self, config: Tx1Config, activation: nn.Module):
        super().__init__()
        self.config = config
        self.values = SetValues(config)
        factors = 1 + self.values.scale.in_features
        attends = "attention" in config.set_pools
        self.gene_weight = _zero_at_first(nn.Embedding(config.vocab_size, 1)) if attends else None
        self.bin_weight = _zero_at_first(nn.Linear(factors, 1, bias=False)) if attends else None
        pairs = config.set_pair_rank or 0
        self.pair_weight = _zero_at_first(nn.Linear(factors, 1, bias=False)) if pairs else None
        parts = len(config.set_pools) + (1 if config.num_drugs else 0)
        self.head = SetHead(config, parts * config.hidden_size + pairs, activation)

    def forward(
        self,
        gene_ids: Tensor,
        genes: Tensor,
        bins: Tensor,
        *,
        seen: Tensor,
        drug: Tensor | None = None,
        keep_genes: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Embed cells.

        Args:
            gene_ids: (C, G) int64 tokens.
            genes: (C, G, D) their vectors.
            bins: (C, G) expression.
            seen: (C, G) True at tokens, False at padding.
            drug: (C, D) encoded drugs, for a model with a drug token.
            keep_genes: Return the moved gene vectors too; an argument, since sharding hangs on the call of the module.

        Returns:
            (C, E) cell embeddings, and (C, G, D) gene vectors as their bins have moved them, or ``None``.
        """
        expressed = self._expressed(gene_ids, seen)
        statistics = self.statistics(gene_ids, genes, bins, expressed=expressed)
        cell = self.head(statistics if drug is None else torch.cat([statistics, drug], dim=1))
        return cell, self._moved(genes, bins) if keep_genes else None

    def statistics(self, gene_ids: Tensor, genes: Tensor, bins: Tensor, *, expressed: Tensor) -> Tensor:
        """The pooled statistics of cells, (C, F) without the drug; ``expressed`` (C, G) is True at genes."""
        factors = self.values(bins.to(genes.dtype))
        weights = torch.stack([self._weights(name, gene_ids, bins, factors, expressed) for name in self._pools], dim=1)
        # (C, P, K, G): each statistic's weight of a gene, times each factor of its bin.
        weighted = weights.unsqueeze(2) * factors.transpose(1, 2).unsqueeze(1)
        C, P, K, G = weighted.shape
        sums = (weighted.reshape(C, P * K, G) @ genes).view(C, P, K, -1)
        pooled = (sums * self.values.scales()).sum(dim=2) + weighted.sum(dim=3) @ self.values.shifts()
        if self.pair_weight is None:
            return pooled.flatten(1)
        return torch.cat([pooled.flatten(1), self._pairs(genes, factors, expressed)], dim=1)

    def _moved(self, genes, bins):
        factors = self.values(bins.to(genes.dtype))
        return genes * (factors @ self.values.scales()) + factors @ self.values.shifts()

    @property
    def _pools(self):
        return self.config.set_pools

    def _expressed(self, gene_ids, seen):
        """(C, G) True at genes."""
        config = self.config
        genes = seen & gene_ids.ne(config.cls_token_id)
        return genes if config.num_drugs is None else genes & gene_ids.ne(config.drug_token_id)

    def _weights(self, name, gene_ids, bins, factors, expressed):
        """(C, G) weights of a cell's genes that add up to 1, or to 0 where there is no gene to weigh."""
        if name == "attention":
            scores = (self.gene_weight(gene_ids) + self.bin_weight(factors)).squeeze(-1)
            scores = scores.masked_fill(~expressed, torch.finfo(scores.dtype).min)
            return scores.softmax(dim=1) * expressed
        if name == "top":
            expressed = expressed & bins.gt((1 - self.config.set_top_share) * self.values.top)
        weights = expressed.to(factors.dtype)
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=1)

    def _pairs(self, genes, factors, expressed):
        """(C, R): the mean over all pairs of genes of the product of their vectors, ``(sum)^2 - sum of squares``."""
        count = expressed.sum(dim=1, keepdim=True).to(genes.dtype)
        weights = (factors[..., :1] + self.pair_weight(factors)).squeeze(-1) * expressed
        vectors = genes[..., : self.config.set_pair_rank]
        total = (weights.unsqueeze(1) @ vectors).squeeze(1)
        squares = (weights.square().unsqueeze(1) @ vectors.square()).squeeze(1)
        return (total.square() - squares) / (count * (count - 1)).clamp(min=1)


def _zero_at_first(module):
    """Mark a module whose weights start at zero."""
    module.starts_at_zero = True
    return module


__all__ = ["SetBlock", "SetEncoder", "SetHead", "SetValues"]
