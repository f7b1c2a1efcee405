"""The ways to run a cell encoder: plain PyTorch, compiled, int8, ONNX Runtime. One door, one function each."""

import copy

import torch
from torch import nn

from tahoe_distill.embedding.encoder import CellEncoder


def build_backend(name, model, processor, normalize=True):
    """A callable from keyword tensors (``gene_ids``, ``expression_bins``, …) to (C, E) embeddings.

    Args:
        name: One of ``BACKENDS``.
        model: A ``Tx1Model`` in eval mode on its device.
        processor: Its ``Tx1Processor``.
        normalize: Divide each embedding by its length.
    """
    return _BACKENDS[name](CellEncoder(model, normalize, processor.do_binning))


def _compiled(encoder):
    return torch.compile(encoder, dynamic=True)


def quantize_encoder(encoder):
    """A copy of ``encoder`` whose linear maps over all genes have int8 weights and activations.

    Dynamic quantisation (CPU): weights per channel beforehand, activations per batch. The maps that run once a cell
    stay in float32, as they cost nothing and every embedding passes through them.
    """
    encoder = copy.deepcopy(encoder)
    blocks = list(encoder.model.transformer_encoder.layers)
    whole = blocks if encoder.model.config.pooling != "cls" else blocks[:-1]
    per_channel = torch.ao.quantization.per_channel_dynamic_qconfig
    for block in whole:
        names = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        torch.ao.quantization.quantize_dynamic(block, {name: per_channel for name in names}, inplace=True)
    return encoder


def _onnx(encoder):
    from tahoe_distill.embedding.onnx import OnnxEncoder

    return OnnxEncoder.from_encoder(encoder)


def _onnx_int8(encoder):
    from tahoe_distill.embedding.onnx import OnnxEncoder

    return OnnxEncoder.from_encoder(encoder, quantize=True)


_BACKENDS = {
    "torch": lambda encoder: encoder,
    "compile": _compiled,
    "int8": quantize_encoder,
    "onnx": _onnx,
    "onnx-int8": _onnx_int8,
}
