"""Cells of mixed length in one row without padding, and attention that stays within each of them.

Shapes: C cells, G positions of a padded row, T tokens of all cells, D width, H heads, K width of a head.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_BLOCK = 128


class Packing:
    """Where each token of a padded batch lies in one row of all its tokens; made once a batch, before the embeddings.

    What it holds on the device comes from ``seen``, sizes come from ``lengths``: nothing is read back.

    Args:
        seen: (C, G) True at tokens, which come first in each row.
        lengths: Tokens of each cell, 1 or more.
        masked: (C, G) True at masked genes where the masked-attention rule holds, else ``None``.

    Raises:
        ValueError: When the lengths are not those of such a batch.
    """

    def __init__(self, seen: Tensor, lengths: Sequence[int], masked: Tensor | None = None):
        cells, width = seen.shape
        if len(lengths) != cells or min(lengths) < 1 or max(lengths) > width:
            raise ValueError(
                f"packed needs the tokens of each of {cells} cells, between 1 and {width}; found {len(lengths)} "
                f"lengths between {min(lengths, default=0)} and {max(lengths, default=0)}"
            )
        self.lengths = [int(length) for length in lengths]
        self.shape, self.tokens = (cells, width), sum(self.lengths)
        counts = seen.sum(dim=1)
        # (C + 1,) cumulative lengths: where each cell starts.
        self.starts = nn.functional.pad(counts.cumsum(dim=0), (1, 0))
        numbers = torch.arange(cells, device=seen.device)
        # (T,) number of each token's cell, and its place in the flattened batch.
        self.cells = torch.repeat_interleave(numbers, counts, output_size=self.tokens)
        position = torch.arange(self.tokens, device=seen.device) - self.starts[self.cells]
        self.index = self.cells * width + position
        self.masked = None if masked is None else self.pack(masked)[0]
        self.seen_first = seen if masked is None else seen & ~masked

    def pack(self, x: Tensor) -> Tensor:
        """(C, G, …) -> (1, T, …), the tokens alone."""
        return x.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def unpack(self, x: Tensor) -> Tensor:
        """(1, T, …) -> (C, G, …), zero at padding."""
        (cells, width), rest = self.shape, x.shape[2:]
        return x.new_zeros(cells * width, *rest).index_copy(0, self.index, x[0]).view(cells, width, *rest)

    def first(self, x: Tensor) -> Tensor:
        """(1, T, D) -> (C, D), the first position of each cell."""
        return x[0].index_select(0, self.starts[:-1])

    def replace(self, x: Tensor, position: int, rows: Tensor) -> Tensor:
        """(1, T, D) with what stands at a position of each cell replaced by ``rows`` (C, D)."""
        return x.index_copy(1, self.starts[:-1] + position, rows.to(x.dtype).unsqueeze(0))

    # Its loops and sizes change with each batch: traced, each batch would be compiled anew.
    @torch.compiler.disable
    def attend(
        self, module: nn.Module, qkv: tuple[Tensor, Tensor, Tensor], implementation: str, *, scaling: float
    ) -> Tensor:
        """Attention of each cell's tokens to those of the same cell.

        Args:
            module: The attention layer, which flash-attn's caller looks at.
            qkv: Queries, keys and values, (1, H, T, K) each.
            implementation: ``sdpa``, ``eager``, ``flash_attention_2`` or ``flex_attention``.
            scaling: Factor of the scores.

        Returns:
            (1, T, H, K).

        Raises:
            ValueError: For a kernel that packs no cells, or cannot express the masked-attention rule.
        """
        if implementation == "flex_attention":
            return flex(qkv, self.block_mask, scaling=scaling)
        if implementation == "flash_attention_2":
            return self._flash(module, qkv, scaling)
        if implementation not in ("sdpa", "eager"):
            raise ValueError(
                f"attention by {implementation} packs no cells; expected sdpa, flash_attention_2 or flex_attention. "
                "Set attn_implementation to one of them, or packing: false"
            )
        on_gpu = qkv[0].device.type == "cuda"
        return self.nested(qkv, scaling) if on_gpu and self.masked is None else self._one_by_one(qkv, scaling)

    def _flash(self, module: nn.Module, qkv: tuple[Tensor, Tensor, Tensor], scaling: float) -> Tensor:
        if self.masked is not None:
            raise ValueError(
                "flash_attention_2 cannot express the masked-attention rule, by which a masked gene is seen by itself "
                "alone: for packed cells with masked genes set attn_implementation: flex_attention, or packing: false"
            )
        starts, longest = self.starts.to(torch.int32), max(self.lengths)
        lengths = {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": longest, "max_length_k": longest}
        # transformers 4.51 looks at the lengths only beside positions.
        options = {"scaling": scaling, "dropout": 0.0, "is_causal": False, "position_ids": self.index.unsqueeze(0)}
        out, _ = ALL_ATTENTION_FUNCTIONS["flash_attention_2"](module, *qkv, None, **options, **lengths)
        return out

    def nested(self, qkv: tuple[Tensor, Tensor, Tensor], scaling: float) -> Tensor:
        """Attention without the rule by nested tensors: PyTorch's own kernels for cumulative lengths on a GPU."""
        shortest, longest = min(self.lengths), max(self.lengths)
        starts = self.starts

        def cells(x: Tensor) -> Tensor:
            rows = x[0].transpose(0, 1).contiguous()
            jagged = torch.nested.nested_tensor_from_jagged(rows, starts, min_seqlen=shortest, max_seqlen=longest)
            return jagged.transpose(1, 2)

        query, key, value = map(cells, qkv)
        out = nn.functional.scaled_dot_product_attention(query, key, value, scale=scaling)
        return out.transpose(1, 2).values().unsqueeze(0)

    def _one_by_one(self, qkv: tuple[Tensor, Tensor, Tensor], scaling: float) -> Tensor:
        queries, keys, values = (x.split(self.lengths, dim=2) for x in qkv)
        outs = [
            nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
            for query, key, value, mask in zip(queries, keys, values, self._patterns)
        ]
        return torch.cat(outs, dim=2).transpose(1, 2)

    @functools.cached_property
    def _patterns(self) -> list[Tensor | None]:
        """Who sees whom in each cell, (n, n), where the rule holds."""
        if self.masked is None:
            return [None] * len(self.lengths)
        return [
            ~masked | torch.eye(masked.shape[0], dtype=torch.bool, device=masked.device)
            for masked in self.masked.split(self.lengths)
        ]

    @functools.cached_property
    def block_mask(self) -> Any:
        """Who sees whom, for flex attention: the blocks that a block's cells reach, without a table of T by T."""
        count = -(-self.tokens // _BLOCK)
        first = torch.arange(count, device=self.cells.device) * _BLOCK
        last = (first + _BLOCK - 1).clamp(max=self.tokens - 1)
        start = self.starts[self.cells[first]] // _BLOCK
        stop = (self.starts[self.cells[last] + 1] - 1) // _BLOCK
        blocks = (start[:, None] + torch.arange(count, device=start.device)).clamp(max=count - 1)
        return BlockMask.from_kv_blocks(
            (stop - start + 1).to(torch.int32)[None, None],
            blocks.to(torch.int32)[None, None],
            BLOCK_SIZE=_BLOCK,
            mask_mod=self._mask_mod(),
            seq_lengths=(self.tokens, self.tokens),
        )

    def _mask_mod(self) -> Callable[..., Tensor]:
        cells, masked = self.cells, self.masked

        def same_cell(_, __, query, key):
            return cells[query] == cells[key]

        def rule(_, __, query, key):
            return (cells[query] == cells[key]) & (~masked[key] | (query == key))

        return same_cell if masked is None else rule


class PaddedFlex:
    """A padded batch for flex attention, with the parts of :class:`Packing` that attention uses.

    Args:
        seen: (C, G) True at tokens.
        masked: (C, G) True at masked genes where the masked-attention rule holds, else ``None``.
    """

    def __init__(self, seen: Tensor, masked: Tensor | None):
        cells, width = seen.shape
        self.seen_first = by_all = seen if masked is None else seen & ~masked

        def visible(cell, _, query, key):
            return by_all[cell, key]

        def rule(cell, _, query, key):
            return by_all[cell, key] | ((query == key) & masked[cell, key])

        mask_mod = visible if masked is None else rule
        self.block_mask = create_block_mask(mask_mod, cells, None, width, width, device=str(seen.device))

    def attend(
        self, module: nn.Module, qkv: tuple[Tensor, Tensor, Tensor], implementation: str, *, scaling: float
    ) -> Tensor:
        """As :meth:`Packing.attend`: (C, H, G, K) each -> (C, G, H, K)."""
        return flex(qkv, self.block_mask, scaling=scaling)

    def unpack(self, x: Tensor) -> Tensor:
        """``x``, which is padded already."""
        return x


def flex(qkv: tuple[Tensor, Tensor, Tensor], block_mask: Any, *, scaling: float) -> Tensor:
    """Flex attention (C, H, G, K) -> (C, G, H, K); compiled on a GPU, where the kernel is made by the compiler."""
    attend: Any = _compiled_flex() if qkv[0].device.type == "cuda" else flex_attention
    return attend(*qkv, block_mask=block_mask, scale=scaling).transpose(1, 2)


@functools.cache
def _compiled_flex() -> Callable[..., Tensor]:
    compiled: Any = torch.compile(cast(Any, flex_attention))
    return compiled


__all__ = ["PaddedFlex", "Packing", "flex"]
