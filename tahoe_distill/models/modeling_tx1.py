"""The Tahoe-x1 model in plain PyTorch: a set transformer over (gene, expression) pairs.

A student may have the encoder of ``set_encoder_tx1.py`` in place of the transformer; all else is the same.

Shapes: C cells, G genes (positions), D width, H heads, K width of a head, E width of a cell embedding.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput

from .configuration_tx1 import Tx1Config
from .packing_tx1 import Packing, PaddedFlex, flex
from .set_encoder_tx1 import SetEncoder

# Tokens of a batch, padding included. A CPU wants activations that stay near its caches, a GPU wants to be filled.
CPU_TOKENS = 4096
GPU_TOKENS = 262144
# The set encoder keeps little for a token, and its batches would be too small to be worth their calls.
CPU_SET_TOKENS = 32768

# Cells that are read, tokenised and sorted by length together.
CPU_WINDOW = 1024
GPU_WINDOW = 4096

_ACTIVATIONS = ("gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh")


def _activation(name: str) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(_ACTIVATIONS)}")
    return nn.LeakyReLU() if name == "leaky_relu" else ACT2FN[name]


@dataclass
class Tx1ModelOutput(ModelOutput):
    """What a :class:`Tx1Model` returns.

    Args:
        last_hidden_state: (C, G, D) gene embeddings in context, of a set encoder the gene vectors as their bins have
            moved them; ``None`` with ``cell_only``.
        pooler_output: (C, E) cell embeddings.
        hidden_states: Input of the first block and output of each block, (C, G, D) each, when asked for; the last
            one has been through the final LayerNorm.
        attentions: (C, H, G, G) attention weights of each block, when asked for.
        expression: (C, G) expression predicted by the expression head, when asked for.
        mvc: (C, G) expression predicted from the cell embedding, when asked for.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    expression: Tensor | None = None
    mvc: Tensor | None = None


def attention_weights(scores: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Softmax of (…, G) scores over what is seen, in float32 or better; ``attention_mask`` is True where seen."""
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention with its weights, for inspection; ``attention_mask`` is (C, 1, 1 or G, G), True where seen."""
    weights = attention_weights(query @ key.transpose(2, 3) * scaling, attention_mask).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


def attention_pattern(attention_mask: Tensor, masked: Tensor | None, *, padded: bool | None = None) -> Tensor | None:
    """Which position sees which, as a boolean (C, 1, 1 or G, G); ``None`` when all see all.

    Args:
        attention_mask: (C, G) True at tokens, False at padding.
        masked: (C, G) True at masked genes where the masked-attention rule holds, else ``None``.
        padded: Whether there is padding; ``None`` to look, which makes the host wait for the device.
    """
    if masked is None:
        # The mask cannot be read back while a graph is traced, so the graph always carries it.
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if padded is None and not traced:
            padded = not bool(attention_mask.all())
        return attention_mask[:, None, None, :] if padded or traced else None
    seen_by_all = (attention_mask & ~masked)[:, None, :]
    itself = torch.eye(attention_mask.shape[1], dtype=torch.bool, device=attention_mask.device)
    return (seen_by_all | (itself & masked[:, :, None]))[:, None]


class Tx1GeneEncoder(nn.Module):
    """Gene table (C, G) -> (C, G, D), optionally factorised."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        width = config.gene_rank or config.hidden_size
        self.embedding = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.expand = None if config.gene_rank is None else nn.Linear(width, config.hidden_size, bias=False)
        self.enc_norm = nn.LayerNorm(config.hidden_size) if config.gene_norm else None

    def forward(self, gene_ids: Tensor) -> Tensor:
        x = self.embedding(gene_ids)
        if self.expand is not None:
            x = self.expand(x)
        return x if self.enc_norm is None else self.enc_norm(x)


class Tx1ExpressionEncoder(nn.Module):
    """Binned expression (C, G) -> (C, G, D)."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        self.linear1 = nn.Linear(1, config.hidden_size)
        self.linear2 = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size) if config.value_norm else None
        self.activation = _activation(config.value_act)
        self.dropout = nn.Dropout(config.value_dropout)
        self.max_value = config.max_value

    def forward(self, expression: Tensor) -> Tensor:
        x = expression.clamp(max=self.max_value).unsqueeze(-1)
        x = self.linear2(self.activation(self.linear1(x)))
        return self.dropout(x if self.norm is None else self.norm(x))


class Tx1ChemEncoder(nn.Module):
    """Drug number (C,) -> (C, D), through its fingerprint."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        if config.num_drugs is None or config.drug_fingerprint_dim is None:
            raise ValueError(
                f"a drug token needs num_drugs and drug_fingerprint_dim; found {config.num_drugs} and "
                f"{config.drug_fingerprint_dim}"
            )
        self.embedding = nn.Embedding(config.num_drugs, config.drug_fingerprint_dim, padding_idx=0)
        self.fc = nn.Linear(config.drug_fingerprint_dim, config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.activation = _activation(config.drug_act)

    def forward(self, drug_ids: Tensor) -> Tensor:
        return self.norm(self.proj(self.activation(self.fc(self.embedding(drug_ids)))))


class Tx1Attention(nn.Module):
    """Self-attention without positions or causality."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj.is_residual = True  # type: ignore[assignment]

    def forward(
        self, x: Tensor, attention_mask: Any, implementation: str, query_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(C, G, D) -> (C, G, D) and the weights (C, H, G, G), or ``None`` unless eager.

        ``attention_mask`` is what the implementation reads; with a :class:`Packing`, ``x`` is its row (1, T, D).
        ``query_mask`` (C, G, 1) is False at positions that get a zero answer, whatever they see.
        """
        C, G, _ = x.shape
        q, k, v = (
            t.view(C, G, self.config.num_attention_heads, self.head_dim).transpose(1, 2)
            for t in self.Wqkv(x).chunk(3, dim=-1)
        )
        out, weights = self._attend((q, k, v), attention_mask, implementation)
        out = out.reshape(C, G, -1)
        return self.out_proj(out if query_mask is None else out * query_mask), weights

    def _attend(self, qkv, attention_mask, implementation):
        if isinstance(attention_mask, (Packing, PaddedFlex)):
            return attention_mask.attend(self, qkv, implementation, scaling=self.scaling), None
        if implementation == "flex_attention":
            return flex(qkv, attention_mask, scaling=self.scaling), None
        attend = eager_attention if implementation == "eager" else ALL_ATTENTION_FUNCTIONS[implementation]
        return attend(self, *qkv, attention_mask, scaling=self.scaling, dropout=0.0, is_causal=False)

    def first(self, x: Tensor, attention_mask: Any) -> Tensor:
        """What :meth:`forward` answers at the first position: (C, G, D) -> (C, D), equal but for rounding.

        One query a cell needs no keys and values: their maps move from the genes to the query and to its answer,
        ``q · (W h) = (q W) · h``. The key bias adds the same to every score of a query, so softmax does not see it.
        """
        if isinstance(attention_mask, (Packing, PaddedFlex)):
            # One query a cell: its keys lie in a padded table anyway.
            x, attention_mask = attention_mask.unpack(x), attention_mask.seen_first
        q_weight, k_weight, v_weight = self._weights_by_head()
        _, _, v_bias = self.Wqkv.bias.chunk(3)
        query = torch.einsum("chk,hkd->chd", self._first_query(x, q_weight), k_weight)
        weights = attention_weights(query @ x.transpose(1, 2) * self.scaling, _first_row(attention_mask))
        context = weights.to(x.dtype) @ x
        return self.out_proj(torch.einsum("chd,hkd->chk", context, v_weight).flatten(1) + v_bias)

    def first_weights(self, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Row 0 of the attention weights: (C, G, D) -> (C, H, G), in float32 or better."""
        C, G, D = x.shape
        q_weight, k_weight, _ = self._weights_by_head()
        _, k_bias, _ = self.Wqkv.bias.chunk(3)
        q = self._first_query(x, q_weight).unsqueeze(2)
        k = nn.functional.linear(x, k_weight.reshape(D, D), k_bias).view(C, G, -1, self.head_dim).transpose(1, 2)
        return attention_weights((q @ k.transpose(2, 3))[:, :, 0] * self.scaling, _first_row(attention_mask))

    def _weights_by_head(self):
        """The maps to queries, keys and values, (H, K, D) each."""
        heads = self.config.num_attention_heads
        return self.Wqkv.weight.view(3, heads, self.head_dim, -1).unbind(0)

    def _first_query(self, x, weight):
        """(C, G, D) -> (C, H, K): the first position's query."""
        bias, _, _ = self.Wqkv.bias.chunk(3)
        return nn.functional.linear(x[:, 0], weight.flatten(0, 1), bias).view(-1, *weight.shape[:2])


def _first_row(attention_mask):
    """What the first position sees, (C, 1, G), of a (C, 1, 1 or G, G) pattern or flash-attn's (C, G)."""
    if attention_mask is None:
        return None
    return attention_mask[:, None] if attention_mask.dim() == 2 else attention_mask[:, 0, :1]


class Tx1Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        d, m = config.hidden_size, config.intermediate_size
        self.norm1 = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.self_attn = Tx1Attention(config)
        self.norm2 = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(d, m)
        self.gate_proj = nn.Linear(d, m) if config.use_glu else None
        self.down_proj = nn.Linear(m, d)
        self.down_proj.is_residual = True  # type: ignore[assignment]
        self.activation = _activation(config.hidden_act)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        x: Tensor,
        attention_mask: Any,
        implementation: str,
        query_mask: Tensor | None = None,
        first_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(C, G, D) -> (C, G, D) and the attention weights, if any; (C, D) of the first position with ``first_only``.

        An argument and not a method of its own: sharding and recomputation hang on the call of the block.
        """
        h, weights = self.norm1(x), None
        if first_only:
            x = attention_mask.first(x) if isinstance(attention_mask, Packing) else x[:, 0]
            attended = self.self_attn.first(h, attention_mask)
        else:
            attended, weights = self.self_attn(h, attention_mask, implementation, query_mask)
        x = x + self.dropout(attended)
        return x + self.dropout(self._feed_forward(self.norm2(x))), weights

    def _feed_forward(self, x):
        if self.gate_proj is None:
            return self.down_proj(self.activation(self.up_proj(x)))
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Tx1Encoder(nn.Module):
    """The blocks and the LayerNorm after them."""

    # Set by gradient_checkpointing_enable.
    _gradient_checkpointing_func: Callable[..., Any]

    def __init__(self, config: Tx1Config):
        super().__init__()
        self.layers = nn.ModuleList(Tx1Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False

    def forward(
        self,
        x: Tensor,
        attention_mask: Any,
        implementation: str,
        query_mask: Tensor | None = None,
        keep_hidden: bool = False,
        first_only: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor | None, ...]]:
        """(C, G, D) -> output (C, G, D), hidden states or ``None``, attention weights of each block.

        With ``first_only`` the last block, and so the output (C, D), is that of the first position alone.
        """
        hidden: list[Tensor] = [x]
        attentions: list[Tensor | None] = []
        for layer in self.layers:
            arguments = (x, attention_mask, implementation, query_mask, first_only and layer is self.layers[-1])
            if self.gradient_checkpointing and self.training:
                x, weights = self._gradient_checkpointing_func(layer.__call__, *arguments)
            else:
                x, weights = layer(*arguments)
            if keep_hidden:
                hidden.append(x)
            attentions.append(weights)
        x = self.norm(x)
        return x, (*hidden[:-1], x) if keep_hidden else None, tuple(attentions)


class Tx1ExpressionHead(nn.Module):
    """Predicts the expression of each gene from its embedding: (C, G, D) -> (C, G)."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        d = config.hidden_size
        self.linear_layers = nn.ModuleList(nn.Linear(d, d) for _ in range(config.expression_head_layers or 0))
        self.out_proj = nn.Linear(d, 1)
        self.activation = _activation(config.expression_head_act)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.linear_layers:
            x = self.activation(layer(x))
        return self.out_proj(x).squeeze(-1)


class Tx1MvcHead(nn.Module):
    """Predicts the expression of each gene from the cell: (C, D) and (C, G, D) -> (C, G)."""

    def __init__(self, config: Tx1Config):
        super().__init__()
        self.gene2query = nn.Linear(config.hidden_size, config.hidden_size)
        self.W = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.activation = _activation(config.mvc_query_act)
        self.scale = config.hidden_size**-0.5 if config.mvc_scaled else 1.0

    def forward(self, cell: Tensor, genes: Tensor) -> Tensor:
        return torch.bmm(self.keys(genes), cell.unsqueeze(2)).squeeze(2) * self.scale

    def keys(self, genes: Tensor) -> Tensor:
        """What a cell is compared with: (…, D) gene encodings -> (…, D)."""
        return self.W(self.activation(self.gene2query(genes)))


class Tx1PreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by Tahoe-x1 models."""

    config_class = Tx1Config
    base_model_prefix = "tx1"
    main_input_name = "gene_ids"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Tx1Block"]
    _supports_sdpa = True
    _supports_flash_attn_2 = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module):
        """Kaiming normal as Tahoe-x1; weights that write to the residual stream are divided by sqrt(2 * layers).

        Only ``nn.init`` functions touch the tensors: newer transformers shield loaded weights from these alone.
        """
        if getattr(module, "starts_at_zero", False):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            std = self.config.initializer_range or (2 / module.in_features) ** 0.5
            if getattr(module, "is_residual", False):
                std /= (2 * self.config.num_hidden_layers) ** 0.5
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range or 1.0)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class Tx1Model(Tx1PreTrainedModel):
    """Cells in, embeddings out. Teacher and student are both this class.

    Args:
        config: Every dimension.

    Examples:
        >>> config = Tx1Config(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> output = Tx1Model(config).eval()(torch.tensor([[1, 4, 5]]), torch.tensor([[-2.0, 3.0, 1.0]]))
        >>> tuple(output.pooler_output.shape)
        (1, 8)
    """

    # What a classifier has beside the model, which may be loaded without it.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\."]

    def __init__(self, config: Tx1Config):
        super().__init__(config)
        attends = config.encoder == "transformer"
        self.gene_encoder = Tx1GeneEncoder(config)
        self.flag_encoder: Any = nn.Embedding(2, config.hidden_size) if attends else None
        self.expression_encoder: Any = Tx1ExpressionEncoder(config) if attends else None
        self.chem_encoder = Tx1ChemEncoder(config) if config.num_drugs else None
        self.transformer_encoder: Any = Tx1Encoder(config) if attends else None
        self.gene_set_encoder = None if attends else SetEncoder(config, _activation(config.hidden_act))
        self.expression_decoder = Tx1ExpressionHead(config) if config.expression_head_layers is not None else None
        self.mvc_decoder = Tx1MvcHead(config) if config.mvc_head else None
        self.projection = None
        if attends and config.projection_dim is not None:
            self.projection = nn.Linear(config.hidden_size, config.projection_dim)
        self.post_init()

    @property
    def gene_table_size(self) -> int:
        """Parameters of the tables with a row for each token: what grows with the vocabulary and is looked up."""
        rows = self.config.vocab_size
        tables = (x for x in self.modules() if isinstance(x, nn.Embedding) and x.num_embeddings == rows)
        return sum(table.weight.numel() for table in tables)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.gene_encoder.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.gene_encoder.embedding = value

    def forward(
        self,
        gene_ids: Tensor,
        expression_bins: Tensor,
        attention_mask: Tensor | None = None,
        masked: Tensor | None = None,
        drug_ids: Tensor | None = None,
        pooling_weights: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_expression: bool = False,
        output_mvc: bool = False,
        return_dict: bool | None = None,
        cell_only: bool = False,
        padded: bool | None = None,
        packed: Sequence[int] | None = None,
    ) -> Tx1ModelOutput | tuple:
        """Embed a batch of cells.

        Args:
            gene_ids: (C, G) int64 tokens, ``<cls>`` first, then ``<drug>`` where the model has it, then genes.
            expression_bins: (C, G) binned expression, ``pad_value`` at special tokens and padding.
            attention_mask: (C, G) nonzero at tokens, zero at padding; by default the padding token tells.
            masked: (C, G) True at genes whose expression is hidden from the model; by default none.
            drug_ids: (C,) drug numbers, for a model with a drug token (0: no drug known).
            pooling_weights: (C, G) weights for ``w-pool``; by default the binned expression of the seen genes.
            output_hidden_states: Return the hidden states too.
            output_attentions: Return the attention weights too; this call then computes attention eagerly.
            output_expression: Return the expression head's predictions too.
            output_mvc: Return the MVC head's predictions too.
            return_dict: ``False`` for a plain tuple.
            cell_only: Return no more than ``pooler_output`` (and ``mvc``), by the shortest computation: with ``cls``
                pooling the last block is run for the first position alone. The numbers and their gradients are those
                of the whole computation but for rounding.
            padded: Whether any cell is padded, where the caller knows; otherwise the mask is read back from the
                device, for which the host waits.
            packed: Tokens of each cell, to compute without padding: each cell's tokens must come first in its row.
                Outputs are those of the padded computation but for rounding, and zero at padding.

        Returns:
            A :class:`Tx1ModelOutput`.

        Raises:
            ValueError: When shapes disagree, or something is asked for that this model or ``cell_only`` does not have.
        """
        config = self.config
        self._check_inputs(gene_ids, expression_bins, drug_ids, output_expression, output_mvc)
        if self.gene_set_encoder is not None:
            asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
            _check_set(masked=masked, packed=packed, **asked)
        if cell_only:
            _check_cell_only(
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
                output_expression=output_expression,
            )
            output_hidden_states = output_attentions = False
        seen = gene_ids.ne(config.pad_token_id) if attention_mask is None else attention_mask.bool()
        masked = None if masked is None else masked.bool()
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states

        if self.gene_set_encoder is not None:
            genes = self.gene_encoder(gene_ids)
            output = self._embed_sets(gene_ids, genes, expression_bins, seen, drug_ids, cell_only)
            return output.to_tuple() if return_dict is False else output
        packing = None if packed is None else self._packing(seen, masked, packed, output_attentions)
        pack = _as_it_is if packing is None else packing.pack
        genes = self.gene_encoder(pack(gene_ids))
        hidden_genes = None if masked is None else pack(masked)
        x = self._block_input(genes, self.encode_values(pack(expression_bins)), hidden_genes, drug_ids, packing)
        first_only = cell_only and config.pooling == "cls"
        x, hidden, attentions = self._run_blocks(
            x, seen, masked, output_hidden_states, output_attentions, first_only, padded=padded, packing=packing
        )
        if packing is not None:
            x = x if first_only else packing.unpack(x)
            hidden = None if hidden is None else tuple(packing.unpack(layer) for layer in hidden)
            genes = packing.unpack(genes) if output_mvc else genes
        cell = x if first_only else self.pool(x, seen, expression_bins, masked=masked, weights=pooling_weights)
        expression_head = self.expression_decoder if output_expression else None
        mvc_head = self.mvc_decoder if output_mvc else None
        output = Tx1ModelOutput(
            last_hidden_state=None if cell_only else x,
            pooler_output=self.project(cell),
            hidden_states=hidden,
            attentions=attentions if output_attentions else None,
            expression=None if expression_head is None else expression_head(x),
            mvc=None if mvc_head is None else mvc_head(cell, genes),
        )
        return output.to_tuple() if return_dict is False else output

    def embed(
        self,
        processor: Any,
        adata: Any,
        *,
        layer: str | None = None,
        gene_key: str | None = None,
        drug_key: str | None = None,
        normalize: bool = True,
        batch_tokens: int | None = None,
    ) -> np.ndarray:
        """Embed all cells of an AnnData, where this model is and in its precision.

        Cells of like length are computed together, without gradients and without what their embeddings do not depend
        on; the same cell gets the same vector whatever its company, but for rounding. Each module is left in the mode,
        training or evaluation, that it was found in.

        Args:
            processor: The model's :class:`Tx1Processor`.
            adata: Cells by genes, in memory or backed; raw counts or log1p of them.
            layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
            gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
            drug_key: Column of ``obs`` with drug names, for a model with a drug token.
            normalize: Divide each vector by its length, as the published Tahoe embeddings are.
            batch_tokens: Tokens computed at once; ``None`` for what suits the device.

        Returns:
            (n_obs, E) float32 cell embeddings.

        Raises:
            ValueError: When the processor contradicts the model, no gene is known, or a count is negative, NaN or
                infinite.

        Examples:
            >>> adata.obsm["X_tx1"] = model.embed(processor, adata)  # doctest: +SKIP
        """
        processor.check_model(self.config)
        matrix, tokens, drugs = processor.read(adata, layer=layer, gene_key=gene_key, drug_key=drug_key)
        size = GPU_WINDOW if self.device.type == "cuda" else CPU_WINDOW
        vectors = np.empty((adata.n_obs, self.config.embedding_size), dtype=np.float32)
        with inference(self):
            encoder = CellEncoder(self, normalize, processor.do_binning)
            for start in range(0, adata.n_obs, size):
                window = slice(start, start + size)
                cells = processor.encode_rows(matrix[window], tokens)
                drug_ids = None if drugs is None else drugs[window]
                for numbers, batch in self.batches(processor, cells, drug_ids=drug_ids, tokens=batch_tokens):
                    vectors[start + numbers] = encoder(**batch).cpu().numpy()
        return vectors

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch, padding included, that suit the device."""
        if self.device.type == "cuda":
            return GPU_TOKENS
        return CPU_TOKENS if self.gene_set_encoder is None else CPU_SET_TOKENS

    def batches(
        self,
        processor: Any,
        cells: list[tuple[np.ndarray, np.ndarray]],
        *,
        drug_ids: Sequence[int] | np.ndarray | None = None,
        batch_size: int | str = "auto",
        tokens: int | None = None,
    ) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Encoded cells as batches that this model bears, on its device.

        Args:
            processor: The model's :class:`Tx1Processor`.
            cells: ``(tokens, values)`` pairs as ``Tx1Processor.encode_rows`` gives.
            drug_ids: (C,) drug numbers, for a model with a drug token.
            batch_size: Cells of a batch at most; ``"auto"`` leaves it to ``tokens``.
            tokens: Tokens of a batch at most, padding included; ``None`` for what suits the device.

        Yields:
            The numbers of a batch's cells, and its tensors, as ``Tx1Processor.batches`` gives them.
        """
        # Upstream's mean counts padding, so a cell's vector would depend on its company.
        alone = self.config.pooling == "avg-pool"
        plan = {"batch_size": batch_size, "tokens": tokens or self.batch_tokens, "same_length": alone}
        for numbers, batch in processor.batches(cells, drug_ids, **plan):
            yield numbers, {name: tensor.to(self.device) for name, tensor in batch.items()}

    def encode_values(self, expression_bins: Tensor) -> Tensor:
        """Expression values as the blocks read them, any (C, G) -> (C, G, D)."""
        return self.expression_encoder(expression_bins.to(self.expression_encoder.linear1.weight.dtype))

    def pool(
        self,
        x: Tensor,
        seen: Tensor,
        expression_bins: Tensor,
        *,
        masked: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The cell behind its gene embeddings, before any projection.

        Args:
            x: (C, G, D) gene embeddings in context, as in ``last_hidden_state``.
            seen: (C, G) True at tokens, False at padding.
            expression_bins: (C, G) binned expression, which weights the genes in ``w-pool``.
            masked: (C, G) True at genes whose expression was hidden, which then weigh nothing.
            weights: (C, G) other weights for ``w-pool``.

        Returns:
            (C, D) cells.
        """
        style = self.config.pooling
        if style == "cls":
            return x[:, 0]
        if style == "avg-pool":
            return x.mean(dim=1)
        if style == "max":
            return x.masked_fill(~seen.unsqueeze(-1), torch.finfo(x.dtype).min).amax(dim=1)
        if style == "mean":
            weights = seen.to(x.dtype)
            return (x * weights.unsqueeze(-1)).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1)
        if weights is None:
            weights = expression_bins.clamp(min=0) * seen
            if masked is not None:
                weights = weights * ~masked
        pooled = (x * weights.to(x.dtype).unsqueeze(-1)).sum(dim=1)
        return nn.functional.normalize(pooled, dim=1)

    def project(self, cell: Tensor) -> Tensor:
        """Cells as :meth:`pool` gives them, (C, D), to cell embeddings (C, E)."""
        cell = cell if self.projection is None else self.projection(cell)
        return cell if self.config.truncate_dim is None else cell[:, : self.config.truncate_dim]

    def cls_attention(
        self, hidden_states: tuple[Tensor, ...], attention_mask: Tensor | None, blocks: Iterable[int]
    ) -> Tensor:
        """Attention that the first position pays to each position, averaged over heads and ``blocks``.

        The numbers that ``output_attentions=True`` has in row 0, without the (G, G) tables of all blocks, which take
        hundreds of megabytes a cell at a context of 1,024. For batches in which nothing is masked.

        Args:
            hidden_states: Inputs of the blocks, (C, G, D) each, as :meth:`forward` returns them.
            attention_mask: (C, G) nonzero at tokens, or ``None`` when there is no padding.
            blocks: Numbers of the blocks to average over, negative ones from the last.

        Returns:
            (C, G) weights; each row sums to 1.
        """
        mask = None if attention_mask is None else attention_mask.bool()
        rows = []
        for number in blocks:
            # A negative number counts blocks, of which there is one fewer than of hidden states.
            number = number % self.config.num_hidden_layers
            block = self.transformer_encoder.layers[number]
            rows.append(block.self_attn.first_weights(block.norm1(hidden_states[number]), mask).mean(dim=1))
        return sum(rows) / len(rows)

    def mvc_keys(self, gene_ids: Tensor) -> Tensor:
        """What the MVC head compares cells with, for genes (N,): (N, D), to be computed once for many cells.

        Raises:
            ValueError: When this model has no MVC head.
        """
        return self._mvc_head().keys(self.gene_encoder(gene_ids))

    def decode_cells(self, cell: Tensor, keys: Tensor) -> Tensor:
        """The expression of any genes that the MVC head expects of cells, expressed in them or not.

        Args:
            cell: (C, D) cells, as :meth:`pool` gives them.
            keys: (N, D) genes, as :meth:`mvc_keys` gives them.

        Returns:
            (C, N) float32, in bins.
        """
        return self.in_bins((cell @ keys.T).float() * self._mvc_head().scale)

    def in_bins(self, predicted: Tensor) -> Tensor:
        """Predictions of either head in bins, 1 … ``num_bins - 1``, where the model was trained to scale them."""
        config = self.config
        return (predicted + 1) / 2 * (config.num_bins - 2) + 1 if config.standard_scale_outputs else predicted

    def _check_inputs(self, gene_ids, expression_bins, drug_ids, output_expression, output_mvc):
        if gene_ids.shape != expression_bins.shape or gene_ids.dim() != 2:
            raise ValueError(
                f"gene_ids and expression_bins must both be (cells, genes); found {tuple(gene_ids.shape)} and "
                f"{tuple(expression_bins.shape)}"
            )
        if (drug_ids is None) != (self.chem_encoder is None):
            raise ValueError(
                "this model has a drug token: pass drug_ids (0 for no drug)"
                if drug_ids is None
                else "this model has no drug token: leave drug_ids out, or load the teacher with use_chem=True"
            )
        if output_expression and self.expression_decoder is None:
            raise ValueError("output_expression was asked for, but this model has no expression head")
        if output_mvc and self.mvc_decoder is None:
            raise ValueError("output_mvc was asked for, but this model has no MVC head")

    def _mvc_head(self):
        if self.mvc_decoder is None:
            raise ValueError("expression can be decoded from cells by the MVC head alone, and this model has none")
        return self.mvc_decoder

    def _embed_sets(self, gene_ids, genes, expression_bins, seen, drug_ids, cell_only):
        """What :meth:`forward` returns of a model without attention."""
        drug = None if self.chem_encoder is None else self.chem_encoder(drug_ids)
        options = {"seen": seen, "drug": drug, "keep_genes": not cell_only}
        cell, moved = self.gene_set_encoder(gene_ids, genes, expression_bins, **options)
        return Tx1ModelOutput(last_hidden_state=moved, pooler_output=self.project(cell))

    def _run_blocks(
        self,
        x,
        seen,
        masked,
        keep_hidden=False,
        output_attentions=False,
        first_only=False,
        *,
        padded=None,
        packing=None,
    ):
        """From the input of the first block, (C, G, D) or the row of a packing, to what :class:`Tx1Encoder` returns.

        ``seen`` is ``None`` where there is no padding, which only poolings that do not read it may say.
        """
        rule = masked if self.config.masked_attention else None
        implementation = self._implementation(output_attentions, rule, packing)
        mask = seen
        if packing is not None:
            mask = packing
        elif seen is not None and implementation == "flex_attention":
            mask = PaddedFlex(seen, rule)
        elif seen is not None and implementation != "flash_attention_2":
            mask = attention_pattern(seen, rule, padded=padded)
        # Upstream's mean counts padding, whose attention output flash-attn leaves at zero.
        query_mask = seen.unsqueeze(-1) if self.config.pooling == "avg-pool" else None
        return self.transformer_encoder(x, mask, implementation, query_mask, keep_hidden, first_only)

    # Sizes that change with each batch would be compiled anew for each.
    @torch.compiler.disable
    def _packing(self, seen, masked, lengths, output_attentions):
        """Where the tokens lie in one row, and who sees whom there."""
        if self.config.pooling == "avg-pool":
            raise ValueError(
                "packed leaves padding out, and the mean of pooling avg-pool counts it: leave packed out, or use mean"
            )
        if output_attentions:
            raise ValueError("packed cells have no table of attention weights: leave packed or output_attentions out")
        return Packing(seen, lengths, masked if self.config.masked_attention else None)

    def _implementation(self, output_attentions, rule, packing=None):
        """Attention weights come from eager attention; flash-attn cannot express the masked-attention rule."""
        if output_attentions:
            return "eager"
        chosen = self.config._attn_implementation or "sdpa"
        # A packing refuses: sdpa would take its cells one by one, which nobody wants of a GPU without knowing.
        if chosen == "flash_attention_2" and rule is not None and packing is None:
            return "sdpa"
        return chosen

    def _block_input(self, genes, values, masked, drug_ids, packing=None):
        """Input of the first block from encodings of genes and values, (C, G, D) each or the row of a packing."""
        if masked is None:
            x = genes + values
        else:
            flag = self.flag_encoder.weight[1]
            x = genes + torch.where(masked.unsqueeze(-1), flag, values)
        if self.chem_encoder is not None and packing is not None:
            x = packing.replace(x, 1, self.chem_encoder(drug_ids))
        elif self.chem_encoder is not None:
            x = torch.cat([x[:, :1], self.chem_encoder(drug_ids).unsqueeze(1), x[:, 2:]], dim=1)
        return x


def _as_it_is(x):
    return x


def _check_set(**asked):
    found = [name for name, value in asked.items() if value is not None and value is not False]
    if found:
        raise ValueError(
            f"{' and '.join(found)} was given or asked for, but a model with encoder set reads whole cells and has no "
            "layers to show; leave it out"
        )


def _check_cell_only(**asked):
    found = [name for name, value in asked.items() if value]
    if found:
        raise ValueError(
            f"cell_only gives pooler_output and mvc and nothing else, but {' and '.join(found)} was asked for too: "
            "leave that out, or cell_only"
        )


@contextlib.contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; the mode of each module is put back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class CellEncoder(nn.Module):
    """Tokens in, cell embeddings out; equal to ``Tx1Model.pooler_output`` but for rounding.

    The model with ``cell_only``, and one saving more that only inference can make: binned values are looked up in a
    table of what the expression encoder says about each bin.

    Args:
        model: A ``Tx1Model``. Not changed, except that it is put into eval mode.
        normalize: Divide each embedding by its length, as the published Tahoe embeddings are.
        binned: Whether expression values are bins (``Tx1Processor.do_binning``).
    """

    def __init__(self, model: Tx1Model, normalize: bool = True, binned: bool = True):
        super().__init__()
        self.model = model.eval()
        self.normalize = normalize
        if model.gene_set_encoder is not None and not binned:
            raise ValueError(
                "a model with encoder set reads bins, and its processor does not bin: set do_binning to true"
            )
        values = None
        if binned and model.gene_set_encoder is None:
            bins = torch.arange(model.config.num_bins, dtype=torch.float32)
            bins[0] = model.config.pad_value
            with torch.no_grad():
                values = model.encode_values(bins.to(model.device).unsqueeze(0))[0]
        self.register_buffer("values", values, persistent=False)
        # The ONNX exporter puts a module back into the mode it found it in, parts included.
        self.eval()

    @property
    def embedding_size(self) -> int:
        """Width E of a cell embedding."""
        return self.model.config.embedding_size

    def forward(
        self,
        gene_ids: Tensor,
        expression_bins: Tensor,
        attention_mask: Tensor | None = None,
        drug_ids: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch.

        Args:
            gene_ids: (C, G) int64 tokens.
            expression_bins: (C, G) expression values.
            attention_mask: (C, G) nonzero at tokens; ``None`` when there is no padding.
            drug_ids: (C,) drug numbers, for a model with a drug token.

        Returns:
            (C, E) float32 embeddings.
        """
        if self.model.gene_set_encoder is None and self.model.config.pooling == "cls":
            cell = self._first_position(gene_ids, expression_bins, attention_mask, drug_ids)
        else:
            inputs = {"attention_mask": attention_mask, "drug_ids": drug_ids}
            cell = self.model(gene_ids, expression_bins, **inputs, cell_only=True).pooler_output
        cell = cell.float()
        return nn.functional.normalize(cell, dim=1) if self.normalize else cell

    def _first_position(self, gene_ids, expression_bins, attention_mask, drug_ids):
        """(C, E) embeddings from the ``<cls>`` position alone."""
        model = self.model
        if self.values is None:
            values = model.encode_values(expression_bins)
        else:
            values = nn.functional.embedding(expression_bins.clamp(min=0).long(), self.values)
        x = model._block_input(model.gene_encoder(gene_ids), values, None, drug_ids)
        seen = None if attention_mask is None else attention_mask.bool()
        # Who gives a mask says that there is padding, and need not wait for it to be looked at.
        return model.project(model._run_blocks(x, seen, None, first_only=True, padded=True)[0])


class GeneSums:
    """Sums of gene embeddings over cells.

    Args:
        model: The ``Tx1Model`` that they come from.
    """

    def __init__(self, model: Tx1Model):
        shape = (model.config.vocab_size, model.config.hidden_size)
        self._sums = torch.zeros(shape, dtype=torch.float32, device=model.device)
        self._counts = torch.zeros(shape[0], dtype=torch.int64, device=model.device)

    def add(self, gene_ids: Tensor, embeddings: Tensor) -> None:
        """Add a batch: (C, G) tokens and their (C, G, D) embeddings; padding lands on its own token."""
        flat = gene_ids.flatten()
        self._sums.index_add_(0, flat, embeddings.flatten(0, 1).float())
        self._counts.index_add_(0, flat, torch.ones_like(flat))

    def get(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens that were seen (T,), their float32 sums (T, D) and int64 counts (T,)."""
        tokens = self._counts.nonzero().squeeze(1)
        return tokens.cpu().numpy(), self._sums[tokens].cpu().numpy(), self._counts[tokens].cpu().numpy()


Tx1Model.register_for_auto_class("AutoModel")

__all__ = [
    "CPU_TOKENS",
    "CPU_WINDOW",
    "GPU_TOKENS",
    "GPU_WINDOW",
    "CellEncoder",
    "GeneSums",
    "Tx1Block",
    "Tx1GeneEncoder",
    "Tx1Model",
    "Tx1ModelOutput",
    "Tx1PreTrainedModel",
    "attention_pattern",
    "inference",
]
