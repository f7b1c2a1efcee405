"""Encoded cells in, vectors out, window by window; and what the windows of a run add up to."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.embedding.backends import build_backend
from tahoe_distill.embedding.options import Options, choose_dtype
from tahoe_distill.models import GeneSums, Tx1Model, Tx1Processor
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.processing_tx1 import Cell

log = logging.getLogger(__name__)

# Batches of fixed shape: lengths are rounded up to multiples, and a batch has so many cells or tokens at most.
_STEP, _MOST, _TOKENS = 64, 32, 8192


@dataclass
class WindowResult:
    """What a window of cells became.

    Args:
        vectors: (C, E) float32 cell embeddings in the order of the cells.
        genes: ``(tokens, sums, counts)`` of the gene embeddings, when asked for.
        attention: One ``(tokens, weights)`` a cell, when asked for.
    """

    vectors: np.ndarray
    genes: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    attention: list[tuple[np.ndarray, np.ndarray]] | None = None


class Engine:
    """A model made ready on a device.

    Args:
        model: A ``Tx1Model``; where it must move or change precision it is copied, unless it is ``owned``.
        processor: Its ``Tx1Processor``.
        options: The options of the run.
        device: Where to compute.
        owned: Whether the model was loaded for this engine alone.
    """

    def __init__(
        self,
        model: Tx1Model,
        processor: Tx1Processor,
        options: Options,
        *,
        device: torch.device,
        owned: bool = False,
    ):
        dtype, weight = choose_dtype(options.dtype, device), next(model.parameters())
        here = weight.device.type == device.type and device.index in (None, weight.device.index)
        if not here or weight.dtype != dtype:
            model = (model if owned else copy.deepcopy(model)).to(device=device, dtype=dtype)
        self.model = model
        self.processor = processor
        self.options = options
        self.device = device
        self.blocks = options.blocks(model.config.num_hidden_layers)
        with inference(model):
            self.backend = build_backend(options.backend, model, processor, normalize=options.normalize)

    def window(
        self, cells: list[Cell], drug_ids: np.ndarray | None = None, on_batch: Callable[[int], object] | None = None
    ) -> WindowResult:
        """Embed the cells of one window.

        Args:
            cells: ``(tokens, values)`` pairs as ``Tx1Processor.encode_rows`` gives.
            drug_ids: (C,) drug numbers, for a model with a drug token.
            on_batch: Called with the number of cells done after each batch.
        """
        result = WindowResult(np.empty((len(cells), self.model.config.embedding_size), dtype=np.float32))
        sums = GeneSums(self.model) if self.options.genes else None
        rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        with inference(self.model):
            for numbers, batch in self.batches(cells, drug_ids):
                if sums is None and not self.blocks:
                    vectors = self.backend(**batch)
                else:
                    vectors = self._inspect(numbers, batch, sums, rows)
                result.vectors[numbers] = vectors[: len(numbers)].float().cpu().numpy()
                if on_batch is not None:
                    on_batch(len(numbers))
        result.genes = None if sums is None else sums.get()
        result.attention = [rows[number] for number in range(len(cells))] if self.blocks else None
        return result

    def batches(
        self, cells: list[Cell], drug_ids: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Yield the numbers of the cells of each batch, and their tensors on the device."""
        if self.options.fixed_shapes:
            return self._fixed_batches(cells, drug_ids)
        return self.model.batches(self.processor, cells, drug_ids=drug_ids, batch_size=self.options.batch_size)

    def _fixed_batches(self, cells, drug_ids):
        """As :meth:`batches`, in shapes that no cell's company has a say in; what is short of one is filled up."""
        lengths = np.array([len(tokens) for tokens, _ in cells], dtype=np.int64)
        # avg-pool counts padding, so there is none.
        step = 1 if self.model.config.pooling == "avg-pool" else _STEP
        widths = -(-lengths // step) * step
        for width in np.unique(widths).tolist():
            count = max(1, min(_MOST, _TOKENS // width))
            there = np.flatnonzero(widths == width)
            for start in range(0, len(there), count):
                numbers = there[start : start + count]
                filled = np.resize(numbers, count)
                drugs = None if drug_ids is None else np.asarray(drug_ids)[filled]
                batch = self.processor.pad([cells[number] for number in filled], drugs)
                yield numbers, {name: self._widened(name, tensor, width) for name, tensor in batch.items()}

    def _widened(self, name, tensor, width):
        """A tensor of a batch on the device, (C, G) ones with padding up to ``width``."""
        tensor = tensor.to(self.device)
        fill = {"gene_ids": self.processor.vocab["<pad>"], "expression_bins": self.processor.pad_value}
        missing = width - tensor.shape[1] if tensor.ndim == 2 else 0
        return torch.nn.functional.pad(tensor, (0, missing), value=fill.get(name, 0)) if missing else tensor

    def _inspect(self, numbers, batch, sums, rows):
        """Cell embeddings by the whole model, which also says what genes and attention are."""
        output = self.model(**batch, output_hidden_states=bool(self.blocks))
        if sums is not None:
            sums.add(batch["gene_ids"], output.last_hidden_state)
        if self.blocks:
            weights = self.model.cls_attention(output.hidden_states, batch.get("attention_mask"), self.blocks)
            for number, tokens, row in zip(numbers, batch["gene_ids"].cpu().numpy(), weights.float().cpu().numpy()):
                rows[int(number)] = (tokens, row)
        cell = output.pooler_output.float()
        return torch.nn.functional.normalize(cell, dim=1) if self.options.normalize else cell


class Totals:
    """What the windows of a run add up to beside their vectors.

    Args:
        processor: The ``Tx1Processor`` that encodes the cells.
        genes: Gene sums so far, ``{token: [sum, count]}`` in float64; ``None`` where they are not wanted.
        cells_empty: Cells without a gene of the vocabulary so far.
        cells_at_context: Cells that fill the context so far.
    """

    def __init__(
        self,
        processor: Tx1Processor,
        genes: dict[int, list] | None = None,
        *,
        cells_empty: int = 0,
        cells_at_context: int = 0,
    ):
        self._special = len(processor.special_tokens)
        self._context = processor.max_length
        self.genes = genes
        self.counts = {"cells_empty": cells_empty, "cells_at_context": cells_at_context}

    def add(self, cells: list[Cell], result: WindowResult) -> None:
        """Count the encoded cells of a window, and add its gene sums."""
        lengths = np.array([len(tokens) for tokens, _ in cells])
        self.counts["cells_empty"] += int((lengths == self._special).sum())
        self.counts["cells_at_context"] += int((lengths == self._context).sum())
        if self.genes is None or result.genes is None:
            return
        for token, vector, count in zip(*result.genes):
            entry = self.genes.setdefault(int(token), [0.0, 0])
            entry[0] = entry[0] + vector.astype(np.float64)
            entry[1] += int(count)

    def warn(self) -> None:
        """Say how many cells were empty, if any."""
        if self.counts["cells_empty"]:
            log.warning(
                "%d cells express no gene of the vocabulary; they all got the vector of an empty cell",
                self.counts["cells_empty"],
            )

    def gene_table(self, tokens: np.ndarray, width: int) -> np.ndarray | None:
        """(n_vars, D) float32 mean embedding of the gene of each column, NaN where no cell expresses it."""
        if self.genes is None:
            return None
        table = np.full((len(tokens), width), np.nan, dtype=np.float32)
        for column, token in enumerate(tokens.tolist()):
            if token in self.genes:
                vector, count = self.genes[token]
                table[column] = vector / count
        return table
