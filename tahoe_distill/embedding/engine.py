"""Encoded cells in, vectors out, window by window."""

import contextlib
import copy
from dataclasses import dataclass

import numpy as np
import torch

from tahoe_distill.embedding.backends import build_backend
from tahoe_distill.embedding.batches import CPU_TOKENS, GPU_TOKENS, plan_batches
from tahoe_distill.embedding.devices import choose_dtype
from tahoe_distill.embedding.inspection import GeneMeans, cls_attention


@dataclass
class WindowResult:
    """What a window of cells became.

    Args:
        vectors: (C, E) float32 cell embeddings in the order of the cells.
        genes: ``(tokens, sums, counts)`` of the gene embeddings, when asked for.
        attention: One ``(tokens, weights)`` a cell, when asked for.
    """

    vectors: np.ndarray
    genes: tuple | None = None
    attention: list | None = None


class Engine:
    """A model made ready on a device.

    Args:
        model: A ``Tx1Model``; where it must move or change precision it is copied, unless it is ``owned``.
        processor: Its ``Tx1Processor``.
        options: An :class:`~tahoe_distill.embedding.options.Options`.
        device: A ``torch.device``.
        owned: Whether the model was loaded for this engine alone.
    """

    def __init__(self, model, processor, options, device, owned=False):
        dtype, weight = choose_dtype(options.dtype, device), next(model.parameters())
        here = weight.device.type == device.type and device.index in (None, weight.device.index)
        if not here or weight.dtype != dtype:
            model = (model if owned else copy.deepcopy(model)).to(device=device, dtype=dtype)
        self.model = model
        self.processor = processor
        self.options = options
        self.device = device
        self.tokens = GPU_TOKENS if device.type == "cuda" else CPU_TOKENS
        self.blocks = options.blocks(model.config.num_hidden_layers)
        with self.inference():
            self.backend = build_backend(options.backend, model, processor, options.normalize)

    def window(self, cells, drug_ids=None, on_batch=None):
        """Embed the cells of one window.

        Args:
            cells: ``(tokens, values)`` pairs as ``Tx1Processor.encode_rows`` gives.
            drug_ids: (C,) drug numbers, for a model with a drug token.
            on_batch: Called with the number of cells done after each batch.

        Returns:
            A :class:`WindowResult`.
        """
        result = WindowResult(np.empty((len(cells), self.model.config.embedding_size), dtype=np.float32))
        means = GeneMeans(self.model) if self.options.genes else None
        result.attention = [None] * len(cells) if self.blocks else None
        with self.inference():
            for numbers, batch in self.batches(cells, drug_ids):
                if means is None and not self.blocks:
                    vectors = self.backend(**batch)
                else:
                    vectors = self._inspect(numbers, batch, means, result)
                result.vectors[numbers] = vectors.float().cpu().numpy()
                if on_batch is not None:
                    on_batch(len(numbers))
        result.genes = None if means is None else means.get()
        return result

    def batches(self, cells, drug_ids):
        """Yield the numbers of the cells of each batch, and their tensors on the device."""
        lengths = np.array([len(tokens) for tokens, _ in cells])
        # Upstream's mean counts padding, so a cell's vector would depend on its company.
        alone = self.model.config.pooling == "avg-pool"
        for numbers in plan_batches(lengths, self.options.batch_size, self.tokens, same_length=alone):
            drugs = None if drug_ids is None else drug_ids[numbers]
            batch = self.processor.pad([cells[number] for number in numbers], drugs)
            if lengths[numbers[0]] == lengths[numbers[-1]]:
                batch.pop("attention_mask")
            yield numbers, {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _inspect(self, numbers, batch, means, result):
        """Cell embeddings by the whole model, which also says what genes and attention are."""
        output = self.model(**batch, output_hidden_states=bool(self.blocks))
        if means is not None:
            means.add(batch["gene_ids"], output.last_hidden_state)
        if self.blocks:
            weights = cls_attention(self.model, output.hidden_states, batch.get("attention_mask"), self.blocks)
            for number, tokens, row in zip(numbers, batch["gene_ids"].cpu().numpy(), weights.float().cpu().numpy()):
                result.attention[number] = (tokens, row)
        cell = output.pooler_output.float()
        return torch.nn.functional.normalize(cell, dim=1) if self.options.normalize else cell

    @contextlib.contextmanager
    def inference(self):
        """Eval mode without gradients; the model's mode is put back afterwards."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)
