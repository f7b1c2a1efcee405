"""Encoded cells in, vectors out, batch by batch."""

import contextlib
import copy

import numpy as np
import torch

from .batches import CPU_TOKENS, GPU_TOKENS, plan_batches


class Engine:
    """A model made ready on a device, and the way cells go through it.

    Args:
        model: A ``Tx1Model``; moved when it is ``ours`` to move, else copied if it must change.
        processor: Its ``Tx1Processor``.
        device: A ``torch.device``.
        dtype: A ``torch.dtype`` of the weights.
        batch_size: Cells of a batch at most, or ``"auto"``.
        ours: Whether the model was loaded for this engine alone.
    """

    def __init__(self, model, processor, device, dtype, batch_size="auto", ours=False):
        weight = next(model.parameters())
        if weight.device != device or weight.dtype != dtype:
            model = (model if ours else copy.deepcopy(model)).to(device=device, dtype=dtype)
        self.model = model
        self.processor = processor
        self.device = device
        self.batch_size = batch_size
        self.tokens = GPU_TOKENS if device.type == "cuda" else CPU_TOKENS

    def batches(self, cells, drug_ids=None):
        """Yield ``(numbers, batch)``: which of ``cells``, and their tensors on the device.

        Args:
            cells: ``(tokens, values)`` pairs as ``Tx1Processor.encode_rows`` gives.
            drug_ids: (C,) drug numbers, for a model with a drug token.
        """
        lengths = [len(tokens) for tokens, _ in cells]
        # Upstream's mean counts padding, so a cell's vector would depend on its company.
        alone = self.model.config.pooling == "avg-pool"
        for numbers in plan_batches(lengths, self.batch_size, self.tokens, same_length=alone):
            drugs = None if drug_ids is None else drug_ids[numbers]
            batch = self.processor.pad([cells[number] for number in numbers], drugs)
            if lengths[numbers[0]] == lengths[numbers[-1]]:
                batch.pop("attention_mask")
            yield numbers, {name: tensor.to(self.device) for name, tensor in batch.items()}

    @contextlib.contextmanager
    def inference(self):
        """Eval mode and no gradients; the model's mode is put back afterwards."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)


def run_cells(engine, compute, cells, drug_ids=None, on_batch=None):
    """Vectors of cells in their own order.

    Args:
        engine: An :class:`Engine`.
        compute: Batch of keyword tensors to (C, E) vectors.
        cells: ``(tokens, values)`` pairs.
        drug_ids: (C,) drug numbers, for a model with a drug token.
        on_batch: Called with the number of cells done.

    Returns:
        (C, E) float32 array.
    """
    vectors = np.empty((len(cells), engine.model.config.embedding_size), dtype=np.float32)
    with engine.inference():
        for numbers, batch in engine.batches(cells, drug_ids):
            vectors[numbers] = compute(**batch).float().cpu().numpy()
            if on_batch is not None:
                on_batch(len(numbers))
    return vectors
