"""The ways to run a cell encoder: plain PyTorch, compiled, int8, ONNX Runtime. One door, one function each."""

import copy
import inspect
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from tahoe_distill.lazy import how_to_install
from tahoe_distill.models import CellEncoder, Tx1Model, Tx1Processor

OPSET = 17


def build_backend(
    name: str, model: Tx1Model, processor: Tx1Processor, *, normalize: bool = True
) -> Callable[..., Tensor]:
    """A callable from keyword tensors (``gene_ids``, ``expression_bins``, …) to (C, E) embeddings.

    Args:
        name: One of ``BACKENDS``.
        model: A ``Tx1Model`` in eval mode on its device.
        processor: Its ``Tx1Processor``.
        normalize: Divide each embedding by its length.
    """
    return _BACKENDS[name](CellEncoder(model, normalize, processor.do_binning))


def check_backend(name: str) -> None:
    """Refuse a backend whose packages are not installed, before any work.

    Raises:
        ImportError: With what to install.
    """
    for package in ("onnx", "onnxruntime") if name.startswith("onnx") else ():
        _need(package)


def export_onnx(
    model: Tx1Model,
    processor: Tx1Processor,
    path: str | os.PathLike[str],
    *,
    normalize: bool = True,
    quantize: bool = False,
) -> None:
    """Write a student as an ONNX graph from tokens to pooled and normalised cell embeddings, without the heads.

    Inputs are ``gene_ids`` (C, G) int64, ``expression_bins`` (C, G) float32, ``attention_mask`` (C, G) int64 and, for a
    model with a drug token, ``drug_ids`` (C,) int64; the output ``embedding`` is (C, E) float32. C and G are free.

    Args:
        model: A ``Tx1Model``.
        processor: Its ``Tx1Processor``.
        path: File to write.
        normalize: Divide each embedding by its length inside the graph.
        quantize: Store the linear maps in int8 (dynamic quantisation).

    Raises:
        ImportError: When onnx (and, for ``quantize``, onnxruntime) is not installed.
    """
    _write_onnx(CellEncoder(model, normalize, processor.do_binning), path, quantize)


class OnnxEncoder:
    """A cell encoder that runs in ONNX Runtime on the CPU.

    Args:
        path: File that :func:`export_onnx` wrote.

    Raises:
        ImportError: When onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        runtime = _need("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 3
        self._session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        self._names = [entry.name for entry in self._session.get_inputs()]

    @classmethod
    def from_encoder(cls, encoder: CellEncoder, quantize: bool = False) -> "OnnxEncoder":
        """Export ``encoder`` to a temporary file and load it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "encoder.onnx"
            _write_onnx(encoder, path, quantize)
            return cls(path)

    def __call__(
        self,
        gene_ids: Tensor,
        expression_bins: Tensor,
        attention_mask: Tensor | None = None,
        drug_ids: Tensor | None = None,
    ) -> Tensor:
        """(C, G) tokens and values to (C, E) embeddings, as :class:`CellEncoder`."""
        if attention_mask is None:
            attention_mask = torch.ones_like(gene_ids)
        given = {"gene_ids": gene_ids, "expression_bins": expression_bins, "attention_mask": attention_mask}
        if drug_ids is not None:
            given["drug_ids"] = drug_ids
        feed = {name: np.ascontiguousarray(given[name].numpy()) for name in self._names}
        return torch.from_numpy(self._session.run(None, feed)[0])


def quantize_encoder(encoder: CellEncoder) -> CellEncoder:
    """A copy of ``encoder`` whose linear maps over all genes have int8 weights and activations.

    Dynamic quantisation (CPU): weights per channel beforehand, activations per batch. The maps that run once a cell
    stay in float32, as they cost nothing and every embedding passes through them; an encoder without attention has no
    others, so there it is they that are quantised.
    """
    encoder = copy.deepcopy(encoder)
    model = encoder.model
    if model.gene_set_encoder is not None:
        whole = [model.gene_set_encoder.head]
    else:
        blocks = list(model.transformer_encoder.layers)
        whole = blocks if model.config.pooling != "cls" else blocks[:-1]
    per_channel = torch.ao.quantization.per_channel_dynamic_qconfig
    for block in whole:
        names = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        torch.ao.quantization.quantize_dynamic(block, {name: per_channel for name in names}, inplace=True)
    return encoder


_BACKENDS = {
    "torch": lambda encoder: encoder,
    "compile": lambda encoder: torch.compile(encoder, dynamic=True),
    "int8": quantize_encoder,
    "onnx": OnnxEncoder.from_encoder,
    "onnx-int8": lambda encoder: OnnxEncoder.from_encoder(encoder, quantize=True),
}


def _write_onnx(encoder, path, quantize):
    """Write a :class:`CellEncoder` on the CPU as an ONNX file."""
    _need("onnx")
    path = Path(path)
    target = path.with_name(f"{path.stem}.float.onnx") if quantize else path
    inputs, names, axes = _example(encoder)
    # Newer PyTorch traces with dynamo unless told otherwise; the traced graph is what ONNX Runtime was tested with.
    known = inspect.signature(torch.onnx.export).parameters
    tracer = {"dynamo": False} if "dynamo" in known else {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder, inputs, str(target), input_names=names, output_names=["embedding"], dynamic_axes=axes,
            opset_version=OPSET, **tracer,
        )  # fmt: skip
    if quantize:
        _quantize(target, path)
        target.unlink()


def _example(encoder):
    """Inputs to trace with: two cells of different length, so that masking is in the graph."""
    config = encoder.model.config
    genes = torch.full((2, 5), config.cls_token_id, dtype=torch.int64)
    genes[1, 3:] = config.pad_token_id
    bins = torch.ones(2, 5)
    inputs, names = (
        [genes, bins, genes.ne(config.pad_token_id).long()],
        ["gene_ids", "expression_bins", "attention_mask"],
    )
    axes = {name: {0: "cells", 1: "genes"} for name in names}
    if config.num_drugs:
        inputs.append(torch.zeros(2, dtype=torch.int64))
        names.append("drug_ids")
        axes["drug_ids"] = {0: "cells"}
    return tuple(inputs), names, {**axes, "embedding": {0: "cells"}}


def _quantize(source, target):
    _need("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    # The quantiser recommends a preprocessing step through the root logger at every call.
    root.setLevel(logging.ERROR)
    try:
        # Seven bits: eight saturate the 16-bit sums of CPUs without VNNI.
        quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        root.setLevel(level)


def _need(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed; it comes with {how_to_install('onnx')}") from error
