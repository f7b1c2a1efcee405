"""Configuration of a Tahoe-x1 model: a released teacher or a smaller student."""

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from transformers import PretrainedConfig

UPSTREAM_POOLINGS = ("cls", "avg-pool", "w-pool")
POOLINGS = (*UPSTREAM_POOLINGS, "mean", "max")
ENCODERS = ("transformer", "set")
SET_VALUES = ("film", "linear")
SET_POOLS = ("mean", "attention", "top")


def _know_own_package() -> None:
    """Tell Python of the package that this module is in, where an export's folder has a dot in its name.

    transformers 4.51 makes a module's name of the folder's, ``tx1-v1.0.configuration_tx1``, and runs the file under it;
    Python then looks for a package ``tx1-v1`` to import the files beside it, which it does not find. transformers loads
    this file before the others.
    """
    if __package__ and __package__ not in sys.modules:
        package = ModuleType(__package__)
        package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
        sys.modules[__package__] = package


_know_own_package()


class Tx1Config(PretrainedConfig):
    """Every dimension of a :class:`Tx1Model`, teacher or student alike.

    Args:
        vocab_size: Rows of the gene table, special tokens included.
        hidden_size: Width ``d`` of the model; with ``encoder: set`` that of a gene's vector.
        num_hidden_layers: Transformer blocks; with ``encoder: set`` residual blocks of the head.
        num_attention_heads: Attention heads; must divide ``hidden_size``.
        intermediate_size: Width of the feed-forward layers, with ``encoder: set`` of the head; ``None`` means
            ``4 * hidden_size``.
        hidden_act: Activation of the feed-forward layers (``relu``, ``gelu``, ``silu``, …).
        use_glu: Gate the feed-forward layer: ``down(act(gate(x)) * up(x))``.
        hidden_dropout: Dropout after attention and after the feed-forward layer.
        layer_norm_eps: Epsilon of every LayerNorm of the blocks.
        gene_norm: LayerNorm after the gene table.
        gene_rank: Rank of a factorised gene table (``vocab x r`` times ``r x d``); ``None`` for a plain one.
        value_act: Activation of the expression encoder.
        value_norm: LayerNorm after the expression encoder.
        value_dropout: Dropout of the expression encoder.
        max_value: Expression values are clipped to this before they are encoded.
        pooling: How a cell embedding is made from the positions: ``cls``, ``avg-pool`` (upstream's mean, padding
            counted), ``w-pool`` (weighted, L2-normalised), ``mean`` or ``max`` (padding excluded).
        projection_dim: Width of the cell embedding when a linear map follows the pooling, so that a student's
            embedding lies in its teacher's space; ``None`` leaves the model's own width.
        masked_attention: The pretraining rule of the 70m and 1b releases: a masked gene is seen by itself alone.
        expression_head_layers: Hidden layers of the expression head; ``None`` for no head.
        expression_head_act: Activation between them.
        mvc_head: Whether the model has the cell-to-expression (MVC) head.
        mvc_query_act: Activation of the MVC query.
        mvc_scaled: Divide the MVC inner product by ``sqrt(d)``.
        standard_scale_outputs: The heads predict bins scaled to [-1, 1] instead of 1 … ``num_bins - 1``.
        num_drugs: Rows of the drug table; ``None`` for a model without a drug token.
        drug_fingerprint_dim: Width of a drug fingerprint.
        drug_act: Activation of the chemical encoder.
        num_bins: Expression bins, the zero bin included.
        pad_value: Expression value of padding and of special tokens.
        pad_token_id: Token of padding.
        cls_token_id: Token put before the genes of a cell.
        drug_token_id: Token of the drug, at position 1, where ``num_drugs`` is set.
        context_length: Longest sequence, special tokens included (``max_length`` means text generation elsewhere).
        initializer_range: Standard deviation of fresh linear weights; ``None`` for Kaiming normal (as Tahoe-x1).
        truncate_dim: Coordinates of a cell embedding that are given, the first ones; ``None`` for all. No weight
            depends on it, so it may be changed at any time.
        encoder: ``transformer``, or ``set`` for a student without attention (``set_encoder_tx1.py``).
        set_values: How a bin moves a gene's vector: ``film`` (a scale and a shift for each bin) or ``linear`` (both
            grow with the bin).
        set_value_rank: Factors of ``film``: each bin's scale and shift are mixed from so many.
        set_pools: Statistics of a cell's gene vectors, of ``mean``, ``attention`` (the mean by a learned weight of gene
            and bin) and ``top`` (the mean over the top share of the bins), each at most once.
        set_top_share: That share, 0 … 1.
        set_pair_rank: Coordinates of the gene vectors whose products over all pairs of genes are a statistic too (a
            factorisation machine); ``None`` for none.

    Raises:
        ValueError: When a value is out of its range; the message names it.
    """

    model_type = "tx1"

    def __init__(
        self,
        vocab_size: int = 62720,
        hidden_size: int = 512,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 8,
        intermediate_size: int | None = None,
        hidden_act: str = "relu",
        use_glu: bool = False,
        hidden_dropout: float = 0.0,
        layer_norm_eps: float = 1e-5,
        gene_norm: bool = True,
        gene_rank: int | None = None,
        value_act: str = "relu",
        value_norm: bool = True,
        value_dropout: float = 0.1,
        max_value: float = 512.0,
        pooling: str = "cls",
        projection_dim: int | None = None,
        masked_attention: bool = False,
        expression_head_layers: int | None = 1,
        expression_head_act: str = "leaky_relu",
        mvc_head: bool = True,
        mvc_query_act: str = "sigmoid",
        mvc_scaled: bool = True,
        standard_scale_outputs: bool = False,
        num_drugs: int | None = None,
        drug_fingerprint_dim: int | None = None,
        drug_act: str = "leaky_relu",
        num_bins: int = 51,
        pad_value: float = -2.0,
        pad_token_id: int = 0,
        cls_token_id: int = 1,
        drug_token_id: int | None = None,
        context_length: int = 1024,
        initializer_range: float | None = None,
        truncate_dim: int | None = None,
        encoder: str = "transformer",
        set_values: str = "film",
        set_value_rank: int = 3,
        set_pools: Sequence[str] = ("attention",),
        set_top_share: float = 0.2,
        set_pair_rank: int | None = None,
        **kwargs: Any,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = 4 * hidden_size if intermediate_size is None else intermediate_size
        self.hidden_act = hidden_act
        self.use_glu = use_glu
        self.hidden_dropout = hidden_dropout
        self.layer_norm_eps = layer_norm_eps
        self.gene_norm = gene_norm
        self.gene_rank = gene_rank
        self.value_act = value_act
        self.value_norm = value_norm
        self.value_dropout = value_dropout
        self.max_value = max_value
        self.pooling = pooling
        self.projection_dim = projection_dim
        self.masked_attention = masked_attention
        self.expression_head_layers = expression_head_layers
        self.expression_head_act = expression_head_act
        self.mvc_head = mvc_head
        self.mvc_query_act = mvc_query_act
        self.mvc_scaled = mvc_scaled
        self.standard_scale_outputs = standard_scale_outputs
        self.num_drugs = num_drugs
        self.drug_fingerprint_dim = drug_fingerprint_dim
        self.drug_act = drug_act
        self.num_bins = num_bins
        self.pad_value = pad_value
        self.cls_token_id = cls_token_id
        self.drug_token_id = drug_token_id
        self.context_length = context_length
        self.initializer_range = initializer_range
        self.truncate_dim = truncate_dim
        self.encoder = encoder
        if encoder == "set":
            # What these heads predict from is what a transformer makes of each gene.
            self.expression_head_layers, self.mvc_head = None, False
        self.set_values = set_values
        self.set_value_rank = set_value_rank
        self.set_pools = list(set_pools)
        self.set_top_share = set_top_share
        self.set_pair_rank = set_pair_rank
        self._check()
        super().__init__(pad_token_id=pad_token_id, **kwargs)

    @property
    def embedding_size(self) -> int:
        """Width ``e`` of a cell embedding, as it is given."""
        return self.whole_embedding_size if self.truncate_dim is None else self.truncate_dim

    @property
    def whole_embedding_size(self) -> int:
        """Its width before any truncation."""
        return self.hidden_size if self.projection_dim is None else self.projection_dim

    def _check(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        for name in (*sizes, "num_bins", "context_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, found {value!r}")
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}; found {self.encoder!r}")
        if self.encoder == "set":
            self._check_set()
        elif self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; found {self.pooling!r}")
        if self.gene_rank is not None and not 0 < self.gene_rank <= self.hidden_size:
            raise ValueError(f"gene_rank must lie in 1 … hidden_size ({self.hidden_size}), found {self.gene_rank}")
        if self.truncate_dim is not None and not 0 < self.truncate_dim <= self.whole_embedding_size:
            raise ValueError(
                f"truncate_dim must lie in 1 … {self.whole_embedding_size}, the width of a cell embedding; found "
                f"{self.truncate_dim}"
            )
        if self.num_bins < 3:
            raise ValueError(f"num_bins must be at least 3, found {self.num_bins}")
        if self.num_drugs is not None and not self.drug_fingerprint_dim:
            raise ValueError("num_drugs is set, so drug_fingerprint_dim must be set too")

    def _check_set(self) -> None:
        pools = self.set_pools
        if self.set_values not in SET_VALUES:
            raise ValueError(f"set_values must be one of {', '.join(SET_VALUES)}; found {self.set_values!r}")
        if not pools or len(set(pools)) != len(pools) or not set(pools) <= set(SET_POOLS):
            raise ValueError(f"set_pools must be of {', '.join(SET_POOLS)}, each at most once; found {pools}")
        if not 0 < self.set_top_share <= 1:
            raise ValueError(f"set_top_share must lie in 0 … 1, above 0; found {self.set_top_share}")
        if self.set_value_rank < 1:
            raise ValueError(f"set_value_rank must be a positive integer, found {self.set_value_rank!r}")
        if self.set_pair_rank is not None and not 0 < self.set_pair_rank <= self.hidden_size:
            raise ValueError(
                f"set_pair_rank must lie in 1 … hidden_size ({self.hidden_size}), found {self.set_pair_rank}"
            )


Tx1Config.register_for_auto_class()

__all__ = ["ENCODERS", "POOLINGS", "SET_POOLS", "SET_VALUES", "UPSTREAM_POOLINGS", "Tx1Config"]
