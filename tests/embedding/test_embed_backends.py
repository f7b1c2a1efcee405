"""Other ways to compute: ONNX Runtime, int8; parity and close calls."""

import builtins

import numpy as np
import pytest

from tahoe_distill.embedding import embed, embed_file, export_onnx
from tahoe_distill.embedding.backends import OnnxEncoder
from tests.helpers.tiny_student import tiny_pair


def cosine(a, b):
    return ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()


def test_int8_is_close(adata, pair, reference):
    found = embed(adata, pair, backend="int8", copy=True).obsm["X_tx1"]
    assert cosine(found, reference) > 0.995 and np.abs(found - reference).max() > 1e-6


SET = {"encoder": "set", "set_pools": ["mean", "attention", "top"], "set_pair_rank": 4}
OTHERS = [{}, {"pooling": "mean", "projection_dim": 7}, {"drug": True}, SET, {**SET, "drug": True}]


@pytest.mark.parametrize("settings", OTHERS)
def test_onnx_has_parity(settings, adata, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pair = tiny_pair(**settings)
    options = {"drug_key": "drug"} if settings.get("drug") else {}
    expected = embed(adata, pair, copy=True, **options).obsm["X_tx1"]
    found = embed(adata, pair, backend="onnx", copy=True, batch_size=5, **options).obsm["X_tx1"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("backend", ["int8", "onnx-int8"])
def test_int8_is_close_without_attention(backend, adata):
    if backend == "onnx-int8":
        pytest.importorskip("onnxruntime")
    pair = tiny_pair(**SET)
    expected = embed(adata, pair, copy=True).obsm["X_tx1"]
    found = embed(adata, pair, backend=backend, copy=True).obsm["X_tx1"]
    assert cosine(found, expected) > 0.99 and np.abs(found - expected).max() > 1e-6


def test_no_backend_changes_the_mode_of_the_model(adata, pair):
    for backend in ("int8", "onnx"):
        embed(adata, pair, backend=backend, copy=True)
        assert not any(module.training for module in pair[0].modules())


def test_onnx_file_has_no_heads(adata, pair, reference, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "student.onnx"
    export_onnx(*pair, path)
    graph = onnx.load(path).graph
    assert [entry.name for entry in graph.input] == ["gene_ids", "expression_bins", "attention_mask"]
    assert [entry.name for entry in graph.output] == ["embedding"]
    assert not [entry.name for entry in graph.initializer if "decoder" in entry.name]
    np.testing.assert_allclose(OnnxEncoder(path)(**pair[1](adata)).numpy(), reference, atol=1e-6)


def test_onnx_int8_is_close(adata, pair, reference):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert cosine(embed(adata, pair, backend="onnx-int8", copy=True).obsm["X_tx1"], reference) > 0.99


def test_missing_onnx_names_the_extra_and_leaves_nothing(adata, pair, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        relative = arguments[3] if len(arguments) > 3 else keywords.get("level", 0)
        if name in ("onnx", "onnxruntime") and not relative:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"\.\[onnx\]"):
        embed(adata, pair, backend="onnx")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ImportError, match=r"\.\[onnx\]"):
        embed_file(tmp_path / "cells.h5ad", pair, tmp_path / "out.h5ad", backend="onnx-int8")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]
