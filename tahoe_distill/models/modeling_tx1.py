"""The Tahoe-x1 model in plain PyTorch: a set transformer over (gene, expression) pairs.

Shapes: C cells, G genes (positions), D width, H heads, K width of a head, E width of a cell embedding.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput

from .configuration_tx1 import Tx1Config

_ACTIVATIONS = ("gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh")


def _activation(name):
    if name not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(_ACTIVATIONS)}")
    return nn.LeakyReLU() if name == "leaky_relu" else ACT2FN[name]


@dataclass
class Tx1ModelOutput(ModelOutput):
    """What a :class:`Tx1Model` returns.

    Args:
        last_hidden_state: (C, G, D) gene embeddings in context.
        pooler_output: (C, E) cell embeddings.
        hidden_states: Input of the first block and output of each block, (C, G, D) each, when asked for; the last
            one has been through the final LayerNorm.
        attentions: (C, H, G, G) attention weights of each block, when asked for.
        expression: (C, G) expression predicted by the expression head, when asked for.
        mvc: (C, G) expression predicted from the cell embedding, when asked for.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
    expression: torch.FloatTensor | None = None
    mvc: torch.FloatTensor | None = None


def eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Attention with its weights, for inspection; ``attention_mask`` is (C, 1, 1 or G, G), True where seen."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    precision = torch.promote_types(scores.dtype, torch.float32)
    weights = nn.functional.softmax(scores, dim=-1, dtype=precision).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


def attention_pattern(attention_mask, masked):
    """Which position sees which, as a boolean (C, 1, 1 or G, G); ``None`` when all see all.

    Args:
        attention_mask: (C, G) True at tokens, False at padding.
        masked: (C, G) True at masked genes where the masked-attention rule holds, else ``None``.
    """
    if masked is None:
        # Reading the mask costs a synchronisation and cannot be traced, so a traced graph always carries it.
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return None if not traced and bool(attention_mask.all()) else attention_mask[:, None, None, :]
    seen_by_all = (attention_mask & ~masked)[:, None, :]
    itself = torch.eye(attention_mask.shape[1], dtype=torch.bool, device=attention_mask.device)
    return (seen_by_all | (itself & masked[:, :, None]))[:, None]


class Tx1GeneEncoder(nn.Module):
    """Gene table (C, G) -> (C, G, D), optionally factorised."""

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size if config.gene_rank is None else config.gene_rank
        self.embedding = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.expand = None if config.gene_rank is None else nn.Linear(width, config.hidden_size, bias=False)
        self.enc_norm = nn.LayerNorm(config.hidden_size) if config.gene_norm else None

    def forward(self, gene_ids):
        x = self.embedding(gene_ids)
        if self.expand is not None:
            x = self.expand(x)
        return x if self.enc_norm is None else self.enc_norm(x)


class Tx1ExpressionEncoder(nn.Module):
    """Binned expression (C, G) -> (C, G, D)."""

    def __init__(self, config):
        super().__init__()
        self.linear1 = nn.Linear(1, config.hidden_size)
        self.linear2 = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size) if config.value_norm else None
        self.activation = _activation(config.value_act)
        self.dropout = nn.Dropout(config.value_dropout)
        self.max_value = config.max_value

    def forward(self, expression):
        x = expression.clamp(max=self.max_value).unsqueeze(-1)
        x = self.linear2(self.activation(self.linear1(x)))
        return self.dropout(x if self.norm is None else self.norm(x))


class Tx1ChemEncoder(nn.Module):
    """Drug number (C,) -> (C, D), through its fingerprint."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.num_drugs, config.drug_fingerprint_dim, padding_idx=0)
        self.fc = nn.Linear(config.drug_fingerprint_dim, config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.activation = _activation(config.drug_act)

    def forward(self, drug_ids):
        return self.norm(self.proj(self.activation(self.fc(self.embedding(drug_ids)))))


class Tx1Attention(nn.Module):
    """Self-attention without positions or causality."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj.is_residual = True

    def forward(self, x, attention_mask, implementation, answering=None):
        """(C, G, D) -> (C, G, D) and the weights (C, H, G, G), or ``None`` unless eager.

        ``answering`` (C, G, 1) is False at positions that get a zero answer, whatever they see.
        """
        C, G, _ = x.shape
        q, k, v = (
            t.view(C, G, self.config.num_attention_heads, self.head_dim).transpose(1, 2)
            for t in self.Wqkv(x).chunk(3, dim=-1)
        )
        attend = eager_attention if implementation == "eager" else ALL_ATTENTION_FUNCTIONS[implementation]
        out, weights = attend(self, q, k, v, attention_mask, scaling=self.scaling, dropout=0.0, is_causal=False)
        out = out.reshape(C, G, -1)
        return self.out_proj(out if answering is None else out * answering), weights


class Tx1Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config):
        super().__init__()
        d, m = config.hidden_size, config.intermediate_size
        self.norm1 = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.self_attn = Tx1Attention(config)
        self.norm2 = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(d, m)
        self.gate_proj = nn.Linear(d, m) if config.use_glu else None
        self.down_proj = nn.Linear(m, d)
        self.down_proj.is_residual = True
        self.activation = _activation(config.hidden_act)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x, attention_mask, implementation, answering=None):
        """(C, G, D) -> (C, G, D) and the attention weights, if any."""
        attended, weights = self.self_attn(self.norm1(x), attention_mask, implementation, answering)
        x = x + self.dropout(attended)
        return x + self.dropout(self._feed_forward(self.norm2(x))), weights

    def _feed_forward(self, x):
        if self.gate_proj is None:
            return self.down_proj(self.activation(self.up_proj(x)))
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Tx1Encoder(nn.Module):
    """The blocks and the LayerNorm after them."""

    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(Tx1Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False

    def forward(self, x, attention_mask, implementation, answering=None, keep_hidden=False):
        """(C, G, D) -> output (C, G, D), hidden states or ``None``, attention weights of each block."""
        hidden, attentions = [x], []
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x, weights = self._gradient_checkpointing_func(
                    layer.__call__, x, attention_mask, implementation, answering
                )
            else:
                x, weights = layer(x, attention_mask, implementation, answering)
            hidden.append(x if keep_hidden else None)
            attentions.append(weights)
        x = self.norm(x)
        return x, (*hidden[:-1], x) if keep_hidden else None, tuple(attentions)


class Tx1ExpressionHead(nn.Module):
    """Predicts the expression of each gene from its embedding: (C, G, D) -> (C, G)."""

    def __init__(self, config):
        super().__init__()
        d = config.hidden_size
        self.linear_layers = nn.ModuleList(nn.Linear(d, d) for _ in range(config.expression_head_layers))
        self.out_proj = nn.Linear(d, 1)
        self.activation = _activation(config.expression_head_act)

    def forward(self, x):
        for layer in self.linear_layers:
            x = self.activation(layer(x))
        return self.out_proj(x).squeeze(-1)


class Tx1MvcHead(nn.Module):
    """Predicts the expression of each gene from the cell: (C, D) and (C, G, D) -> (C, G)."""

    def __init__(self, config):
        super().__init__()
        self.gene2query = nn.Linear(config.hidden_size, config.hidden_size)
        self.W = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.activation = _activation(config.mvc_query_act)
        self.scale = config.hidden_size**-0.5 if config.mvc_scaled else 1.0

    def forward(self, cell, genes):
        query = self.activation(self.gene2query(genes))
        return torch.bmm(self.W(query), cell.unsqueeze(2)).squeeze(2) * self.scale


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
    _supports_attention_backend = True

    def _init_weights(self, module):
        """Kaiming normal as Tahoe-x1; weights that write to the residual stream are divided by sqrt(2 * layers).

        Only ``nn.init`` functions touch the tensors: newer transformers shield loaded weights from these alone.
        """
        if isinstance(module, nn.Linear):
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

    def __init__(self, config):
        super().__init__(config)
        self.gene_encoder = Tx1GeneEncoder(config)
        self.flag_encoder = nn.Embedding(2, config.hidden_size)
        self.expression_encoder = Tx1ExpressionEncoder(config)
        self.chem_encoder = Tx1ChemEncoder(config) if config.num_drugs else None
        self.transformer_encoder = Tx1Encoder(config)
        self.expression_decoder = Tx1ExpressionHead(config) if config.expression_head_layers is not None else None
        self.mvc_decoder = Tx1MvcHead(config) if config.mvc_head else None
        self.projection = None
        if config.projection_dim is not None:
            self.projection = nn.Linear(config.hidden_size, config.projection_dim)
        self.post_init()

    def get_input_embeddings(self):
        return self.gene_encoder.embedding

    def set_input_embeddings(self, value):
        self.gene_encoder.embedding = value

    def forward(
        self,
        gene_ids,
        expression_bins,
        attention_mask=None,
        masked=None,
        drug_ids=None,
        pooling_weights=None,
        output_hidden_states=None,
        output_attentions=None,
        output_expression=False,
        output_mvc=False,
        return_dict=None,
    ):
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

        Returns:
            A :class:`Tx1ModelOutput`.

        Raises:
            ValueError: When shapes disagree, or something is asked for that this model does not have.
        """
        config = self.config
        self._check_inputs(gene_ids, expression_bins, drug_ids, output_expression, output_mvc)
        seen = gene_ids.ne(config.pad_token_id) if attention_mask is None else attention_mask.bool()
        masked = None if masked is None else masked.bool()
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states

        genes = self.gene_encoder(gene_ids)
        x = self._embed(genes, expression_bins, masked, drug_ids)
        implementation = self._implementation(output_attentions, masked)
        mask = seen
        if implementation != "flash_attention_2":
            mask = attention_pattern(seen, masked if config.masked_attention else None)
        # Upstream's mean counts padding, whose attention output flash-attn leaves at zero.
        answering = seen.unsqueeze(-1) if config.pooling == "avg-pool" else None
        x, hidden, attentions = self.transformer_encoder(x, mask, implementation, answering, output_hidden_states)

        cell = self._pool(x, seen, masked, expression_bins, pooling_weights)
        output = Tx1ModelOutput(
            last_hidden_state=x,
            pooler_output=cell if self.projection is None else self.projection(cell),
            hidden_states=hidden,
            attentions=attentions if output_attentions else None,
            expression=self.expression_decoder(x) if output_expression else None,
            mvc=self.mvc_decoder(cell, genes) if output_mvc else None,
        )
        return output.to_tuple() if return_dict is False else output

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

    def _implementation(self, output_attentions, masked):
        """Attention weights come from eager attention; flash-attn cannot express the masked-attention rule."""
        if output_attentions:
            return "eager"
        chosen = self.config._attn_implementation or "sdpa"
        if chosen == "flash_attention_2" and self.config.masked_attention and masked is not None:
            return "sdpa"
        return chosen

    def _embed(self, genes, expression_bins, masked, drug_ids):
        values = self.expression_encoder(expression_bins.to(self.expression_encoder.linear1.weight.dtype))
        if masked is None:
            x = genes + values
        else:
            flag = self.flag_encoder.weight[1]
            x = genes + torch.where(masked.unsqueeze(-1), flag, values)
        if self.chem_encoder is not None:
            x = torch.cat([x[:, :1], self.chem_encoder(drug_ids).unsqueeze(1), x[:, 2:]], dim=1)
        return x

    def _pool(self, x, seen, masked, expression_bins, weights):
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


Tx1Model.register_for_auto_class("AutoModel")

__all__ = ["Tx1Model", "Tx1ModelOutput", "Tx1PreTrainedModel", "attention_pattern"]
