"""Running a model on what it sees of a batch: no more outputs than are needed, and the frozen teacher's among them."""

from collections.abc import Mapping
from typing import Any

import torch
from composer.utils import dist
from torch import Tensor

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.data.batch import CellView, teacher_view
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.models import SetEncoder, Tx1Model
from tahoe_distill.objectives import ObjectiveSet, Outputs
from tahoe_distill.teacher import Teacher
from tahoe_distill.training.sharding import shard_frozen

# Fields of Outputs that every position of the last block goes into; without them it is run for the cell alone.
_ALL_POSITIONS = frozenset({"genes", "hidden", "pooled", "expression"})


def forward_model(
    model: Tx1Model, view: CellView, *, needs: frozenset[str], sees_masks: bool, tokens: Tensor | None = None
) -> Outputs:
    """A model's outputs to a batch of cells.

    Args:
        model: Teacher or student.
        view: What it sees; drugs are left out where it has no drug token.
        needs: Fields of :class:`Outputs` that are wanted beside ``cell``.
        sees_masks: Whether masked genes are hidden from it; otherwise it sees whole cells.
        tokens: (V,) int64, the model's own token for each of the view's, where it has a smaller vocabulary; genes that
            lead to its padding token are not seen.

    Returns:
        An :class:`Outputs`; its ``gene_ids`` are those of the view, so that two models' positions can be compared.
    """
    own = view.gene_ids if tokens is None else tokens[view.gene_ids]
    seen = own.ne(model.config.pad_token_id)
    masked = view.masked if sees_masks else None
    padded, packed = _padding(model, view, pruned=tokens is not None)
    out = model(
        own,
        view.shown if sees_masks else view.target,
        attention_mask=seen,
        masked=masked,
        drug_ids=view.drug_ids if model.chem_encoder is not None else None,
        output_hidden_states=bool({"hidden", "pooled"} & needs),
        output_expression="expression" in needs and model.expression_decoder is not None,
        output_mvc="mvc" in needs and model.mvc_decoder is not None,
        cell_only=not _ALL_POSITIONS & needs,
        padded=padded,
        packed=packed,
    )
    return Outputs(
        cell=out.pooler_output,
        genes=out.last_hidden_state,
        hidden=out.hidden_states,
        expression=out.expression,
        mvc=out.mvc,
        gene_ids=view.gene_ids,
        seen=seen,
        masked=masked,
        target=view.target,
        index=view.index,
    )


# The lengths change with each batch: traced, each batch would be compiled anew.
@torch.compiler.disable
def _padding(model: Tx1Model, view: CellView, *, pruned: bool) -> tuple[bool | None, list[int] | None]:
    """Whether there is padding, ``None`` where it is not known; and the tokens of cells to compute without it.

    Genes that a student does not know lie anywhere in a row and count as padding, so its cells are not packed. Nor are
    those of a model without attention, whose work does not grow with padding by more than its pooling.
    """
    if view.lengths is None:
        return None, None
    if pruned:
        return True, None
    packed = list(view.lengths) if view.packed and model.gene_set_encoder is None else None
    return min(view.lengths) < view.gene_ids.shape[1], packed


def forward_flops(model: Tx1Model, cells: int, length: int, *, needs: frozenset[str]) -> int:
    """Floating-point operations of one forward pass: 2 per weight and token, and the attention scores and their use.

    The gene table is looked up, not multiplied, so it does not count.

    Args:
        model: A ``Tx1Model``.
        cells: Cells of the batch.
        length: Tokens of each.
        needs: As in :func:`forward_model`.
    """
    config = model.config
    if model.gene_set_encoder is not None:
        return cells * _set_flops(model.gene_set_encoder, length)
    weights = sum(p.numel() for name, p in model.named_parameters() if "gene_encoder.embedding" not in name)
    attention = 4 * config.hidden_size * length
    cell = length * (2 * weights + config.num_hidden_layers * attention)
    if config.pooling == "cls" and not _ALL_POSITIONS & needs:
        # The last block has one query a cell, and every map of it runs once: those to keys and values on the query.
        block = 2 * sum(p.numel() for p in model.transformer_encoder.layers[-1].parameters())
        cell += block + config.num_attention_heads * attention - length * (block + attention)
    return cells * cell


def _set_flops(encoder: SetEncoder, length: int) -> int:
    """Each gene goes into each statistic once for each factor of its bin; the head runs once a cell."""
    config, factors = encoder.config, 1 + encoder.values.scale.in_features
    a_gene = len(config.set_pools) * factors * config.hidden_size + 2 * (config.set_pair_rank or 0)
    return 2 * (length * a_gene + sum(p.numel() for p in encoder.head.parameters()))


class LiveTeacher:
    """The frozen model, run once a batch under inference mode; a ``TeacherProvider``.

    Args:
        loaded: What :func:`tahoe_distill.load_teacher` returned.
        shard: Share its weights out over the processes of a node at the first batch, instead of a copy in each.
    """

    def __init__(self, loaded: Teacher, *, shard: bool = False):
        self.fingerprint = loaded.fingerprint
        self.vocab = loaded.processor.vocab
        self.processor = loaded.processor
        self._network = loaded.model
        self._shard = shard
        self._sharded = False
        self.config = loaded.model.config
        self.embedding_size = loaded.model.config.embedding_size
        self.available = frozenset({"cell", "genes", "hidden", "expression", "mvc"})

    @property
    def model(self) -> Tx1Model | None:
        """Its weights; ``None`` once they are shared out, when no process has all of them."""
        return None if self._sharded else self._network

    def check(self, objectives: ObjectiveSet, *, sees_masks: bool) -> None:
        """Nothing to refuse: a live model has every output."""

    def check_loader(self, collator: Tx1Collator | CachedCollator, columns: list[str], *, where: str) -> None:
        """Nothing to refuse: a live model reads what the student reads."""

    def forward(self, batch: Mapping[str, Any], *, needs: frozenset[str], sees_masks: bool) -> Outputs:
        """The teacher's outputs to a batch, of whole cells or of masked ones."""
        view = teacher_view(batch)
        self._place(view.gene_ids.device)
        # Inference mode inside a compiled forward breaks torch 2.7's tracing; there it would save nothing either. Nor
        # can weights that were gathered in it be gathered again.
        plain = torch.compiler.is_compiling() or self._sharded
        with torch.no_grad() if plain else torch.inference_mode():
            return forward_model(self._network, view, needs=needs, sees_masks=sees_masks)

    @torch.compiler.disable
    def _place(self, device: torch.device) -> None:
        if self._shard and not self._sharded and dist.get_world_size() > 1:
            shard_frozen(self._network, device, local=dist.get_local_world_size())
            self._sharded = True
        elif self._network.device != device:
            self._network.to(device)

    def flops(self, cells: int, length: int, *, needs: frozenset[str]) -> int:
        """Floating-point operations of its part of a training step."""
        return forward_flops(self._network, cells, length, needs=needs)
