"""ONNX: tokens in, pooled and normalised embedding out; no heads. Export, quantise, run."""

import inspect
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from tahoe_distill.embedding.encoder import CellEncoder

OPSET = 17


def export_onnx(model, processor, path, *, normalize=True, quantize=False):
    """Write a student as an ONNX graph from tokens to cell embeddings.

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
    write_onnx(CellEncoder(model, normalize, processor.do_binning), path, quantize)


def write_onnx(encoder, path, quantize=False):
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


class OnnxEncoder:
    """A cell encoder that runs in ONNX Runtime on the CPU.

    Args:
        path: File that :func:`export_onnx` wrote.

    Raises:
        ImportError: When onnxruntime is not installed.
    """

    def __init__(self, path):
        runtime = _need("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 3
        self._session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        self._names = [entry.name for entry in self._session.get_inputs()]

    @classmethod
    def from_encoder(cls, encoder, quantize=False):
        """Export ``encoder`` to a temporary file and load it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "encoder.onnx"
            write_onnx(encoder, path, quantize)
            return cls(path)

    def __call__(self, gene_ids, expression_bins, attention_mask=None, drug_ids=None):
        """(C, G) tokens and values to (C, E) embeddings, as :class:`CellEncoder`."""
        if attention_mask is None:
            attention_mask = torch.ones_like(gene_ids)
        given = {"gene_ids": gene_ids, "expression_bins": expression_bins, "attention_mask": attention_mask}
        given["drug_ids"] = drug_ids
        feed = {name: np.ascontiguousarray(given[name].numpy()) for name in self._names}
        return torch.from_numpy(self._session.run(None, feed)[0])


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


def _need(name):
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed; it comes with pip install 'tahoe-distill[onnx]'") from error
