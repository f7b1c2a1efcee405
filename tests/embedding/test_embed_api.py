"""`embed`: scanpy conventions, contents of every slot, bad input."""

import inspect
import logging

import anndata
import anndata.experimental
import numpy as np
import pytest
import torch
from scipy import sparse

import tahoe_distill
from tahoe_distill.embedding import TahoePreprocessor, decode, embed
from tahoe_distill.models import Tx1Config
from tests.helpers.tiny_student import SMALL, save_pair, tiny_cells, tiny_pair


def test_signature_follows_scanpy():
    parameters = inspect.signature(embed).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["adata", "model"]
    assert inspect.signature(embed).parameters["copy"].default is False
    assert tahoe_distill.embed is embed


def test_writes_normalised_vectors_of_the_plain_model(adata, student_dir, reference):
    before = adata.X.copy()
    assert embed(adata, student_dir) is None
    vectors = adata.obsm["X_tx1"]
    assert vectors.shape == (40, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, reference, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (before != adata.X).nnz == 0
    noted = adata.uns["X_tx1"]
    assert noted["model"] == str(student_dir) and noted["genes_matched"] == 60 and noted["genes_total"] == 70


def test_copy_leaves_the_input_alone(adata, pair):
    found = embed(adata, pair, key_added="other", copy=True)
    assert "other" in found.obsm and not adata.obsm and not adata.uns


def test_unnormalised_vectors_are_the_pooler_output(adata, pair):
    model, processor = pair
    with torch.no_grad():
        expected = model(**processor(adata)).pooler_output.numpy()
    np.testing.assert_allclose(embed(adata, pair, normalize=False, copy=True).obsm["X_tx1"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "csc", "integers", "view", "duplicate entries"])
def test_same_vectors_from_any_storage(kind, adata, pair, reference):
    if kind == "dense":
        adata.X = adata.X.toarray()
    elif kind == "csc":
        adata.X = adata.X.tocsc()
    elif kind == "integers":
        adata.X = adata.X.astype(np.int32)
    elif kind == "view":
        adata, reference = adata[5:25], reference[5:25]
    else:
        rows = sparse.vstack([adata.X / 2, adata.X / 2]).tocoo()
        adata.X = sparse.csr_matrix((rows.data, (rows.row % 40, rows.col)), shape=adata.shape)
    embed(adata, pair)
    np.testing.assert_allclose(adata.obsm["X_tx1"], reference, atol=1e-6)


def test_log1p_gives_the_vectors_of_counts(adata, pair, reference):
    """But for values at a bin's edge, where upstream's float32 quantiles round one way or the other."""
    adata.X = (adata.X.multiply(1e4 / adata.X.sum(1))).tocsr().log1p()
    embed(adata, pair)
    np.testing.assert_allclose(adata.obsm["X_tx1"], reference, atol=1e-3)


def test_layer_and_gene_key(adata, pair, reference):
    adata.layers["counts"] = adata.X
    adata.X = None
    adata.var["my_ids"] = [f"{name}.7" for name in adata.var_names]
    adata.var_names = [f"g{number}" for number in range(70)]
    embed(adata, pair, layer="counts", gene_key="my_ids")
    np.testing.assert_allclose(adata.obsm["X_tx1"], reference, atol=1e-6)


def test_model_of_the_caller_keeps_its_mode(adata, pair):
    model, processor = pair
    model.train()
    try:
        first, second = (embed(adata, (model, processor), copy=True).obsm["X_tx1"] for _ in range(2))
        assert model.training
    finally:
        model.eval()
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("pooling", ["cls", "avg-pool", "w-pool", "mean", "max"])
def test_every_pooling_is_independent_of_company(pooling, adata):
    pair = tiny_pair(pooling=pooling, projection_dim=12)
    alone = embed(adata, pair, batch_size=1, copy=True).obsm["X_tx1"]
    assert alone.shape == (40, 12)
    np.testing.assert_allclose(embed(adata, pair, batch_size=40, copy=True).obsm["X_tx1"], alone, atol=1e-6)


def test_gene_embeddings_are_means_over_cells(adata, pair):
    model, processor = pair
    embed(adata, pair, genes=True)
    sums, counts = np.zeros((70, 32)), np.zeros(70)
    tokens = processor.match(adata)
    column = {token: number for number, token in enumerate(tokens.tolist()) if token >= 0}
    for number in range(adata.n_obs):
        batch = processor(adata[number])
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state[0].numpy()
        for token, vector in zip(batch["gene_ids"][0].tolist(), hidden):
            if token in column:
                sums[column[token]] += vector
                counts[column[token]] += 1
    seen = counts > 0
    np.testing.assert_allclose(adata.varm["X_tx1"][seen], sums[seen] / counts[seen, None], atol=1e-5)
    assert np.isnan(adata.varm["X_tx1"][60:]).all()


@pytest.mark.parametrize("attentions", [-1, 0, "all"])
def test_attention_is_the_cls_row_of_the_eager_model(attentions, adata, pair):
    model, processor = pair
    embed(adata, pair, attentions=attentions)
    stored = adata.layers["X_tx1_attention"]
    assert sparse.issparse(stored) and stored.shape == adata.shape
    tokens = processor.match(adata).tolist()
    for number in (0, 7, 21):
        batch = processor(adata[number])
        with torch.no_grad():
            weights = torch.stack(model(**batch, output_attentions=True).attentions)[:, 0, :, 0].mean(1)
        weights = weights.mean(0) if attentions == "all" else weights[attentions]
        columns = [tokens.index(token) for token in batch["gene_ids"][0].tolist()[1:]]
        np.testing.assert_allclose(stored[number].toarray()[0, columns], weights[1:].numpy(), atol=1e-6)


def test_drugs_change_vectors_and_unknown_drugs_count_as_none(adata, caplog):
    pair = tiny_pair(drug=True)
    without = embed(adata, pair, copy=True).obsm["X_tx1"]
    with caplog.at_level(logging.WARNING):
        found = embed(adata, pair, drug_key="drug", copy=True).obsm["X_tx1"]
    assert "no such drug" in caplog.text
    np.testing.assert_allclose(found[1::2], without[1::2], atol=1e-6)
    assert np.abs(found[::2] - without[::2]).max(axis=1).min() > 1e-3
    model, processor = pair
    with torch.no_grad():
        expected = model(**processor(adata, drug_key="drug")).pooler_output
    np.testing.assert_allclose(found, torch.nn.functional.normalize(expected, dim=1).numpy(), atol=1e-6)


def test_empty_cells_get_a_vector_and_a_warning(adata, pair, caplog):
    adata.X[3] = 0
    with caplog.at_level(logging.WARNING):
        embed(adata, pair)
    assert "1 cells express no gene" in caplog.text
    assert adata.uns["X_tx1"]["cells_empty"] == 1 and np.isfinite(adata.obsm["X_tx1"]).all()


@pytest.mark.parametrize("head", ["mvc", "expression"])
@pytest.mark.parametrize("scaled", [False, True])
def test_decode_equals_the_heads_of_the_model(head, scaled, adata):
    model, processor = pair = tiny_pair(standard_scale_outputs=scaled, projection_dim=12)
    decode(adata, pair, head=head)
    stored = adata.layers["tx1_expression"]
    tokens = processor.match(adata).tolist()
    batch = processor(adata[4])
    with torch.no_grad():
        output = model(**batch, output_expression=True, output_mvc=True)
    expected = output[head][0, 1:].numpy()
    expected = (expected + 1) / 2 * 49 + 1 if scaled else expected
    row = stored[4].toarray()[0] if head == "expression" else stored[4]
    columns = [tokens.index(token) for token in batch["gene_ids"][0].tolist()[1:]]
    np.testing.assert_allclose(row[columns], expected, rtol=1e-4, atol=1e-4)
    if head == "mvc":
        assert np.isnan(stored[:, 60:]).all() and np.isfinite(stored[:, :60]).all()


def test_decode_without_the_head_names_what_there_is(adata):
    with pytest.raises(ValueError, match="no mvc head .it has: expression"):
        decode(adata, tiny_pair(mvc_head=False))
    with pytest.raises(ValueError, match="head must be one of"):
        decode(adata, tiny_pair(), head="other")


def test_preprocessor_gives_the_three_tensors(adata, pair, student_dir):
    model, processor = pair
    inputs = TahoePreprocessor(student_dir).process_adata(adata)
    assert set(inputs) == {"gene_ids", "expression_bins", "attention_mask"}
    for name, tensor in processor(adata).items():
        assert torch.equal(inputs[name], tensor)
    assert model(**inputs).pooler_output.shape == (40, 32)
    shorter = TahoePreprocessor(processor, max_length=10).process_adata(adata)
    assert shorter["gene_ids"].shape == (40, 10)
    assert TahoePreprocessor(student_dir / "vocab.json").processor.max_length == 1024
    assert TahoePreprocessor(processor.vocab, max_length=12).process_adata(adata)["gene_ids"].shape == (40, 12)
    with pytest.raises(ValueError, match="unknown settings max_len"):
        TahoePreprocessor(processor, max_len=3)


BAD = {
    "negative": (lambda a: a.X.data.__setitem__(5, -1), {}, "negative values"),
    "nan": (lambda a: a.X.data.__setitem__(5, np.nan), {}, "NaN"),
    "no overlap": (lambda a: setattr(a, "var_names", [f"x{i}_" for i in range(70)]), {}, "none of the 70 genes"),
    "mouse": (lambda a: setattr(a, "var_names", [f"ENSMUSG{i:011d}" for i in range(70)]), {}, "mouse Ensembl ids"),
    "symbols": (lambda a: setattr(a, "var_names", [f"CD{i}" for i in range(70)]), {}, "gene symbols"),
    "gene key": (lambda a: None, {"gene_key": "nowhere"}, "no column 'nowhere'"),
    "layer": (lambda a: None, {"layer": "nowhere"}, "layer 'nowhere' is not there"),
    "batch size": (lambda a: None, {"batch_size": 0}, "batch_size must be"),
    "device": (lambda a: None, {"device": "abacus"}, "device 'abacus' is unknown"),
    "half on cpu": (lambda a: None, {"dtype": "bfloat16", "device": "cpu"}, "slower than float32 on a CPU"),
    "dtype": (lambda a: None, {"dtype": "int3"}, "dtype 'int3' is unknown"),
    "backend": (lambda a: None, {"backend": "abacus"}, "backend 'abacus' is unknown"),
    "genes by int8": (lambda a: None, {"backend": "int8", "genes": True}, "cell embeddings alone"),
    "attention": (lambda a: None, {"attentions": 9}, "attentions must lie in -2"),
    "drug": (lambda a: None, {"drug_key": "drug"}, "no drug token"),
    "window": (lambda a: None, {"window": 0}, "window must be"),
    "workers": (lambda a: None, {"workers": -1}, "workers must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained_and_nothing_is_written(case, adata, pair):
    spoil, options, message = BAD[case]
    spoil(adata)
    with pytest.raises(ValueError, match=message):
        embed(adata, pair, **options)
    assert not adata.obsm and not adata.uns


def test_no_cells_at_all(pair):
    with pytest.raises(ValueError, match="expected cells, found none"):
        embed(tiny_cells()[:0].copy(), pair)


def test_cuda_without_a_gpu(adata, pair, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU"):
        embed(adata, pair, device="cuda")


def test_backed_cells_are_embedded(adata, pair, reference, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    embed(backed, pair)
    np.testing.assert_allclose(backed.obsm["X_tx1"], reference, atol=1e-6)
    with pytest.raises(ValueError, match="backed"):
        embed(backed, pair, copy=True)


def test_lazily_opened_cells_are_embedded(adata, pair, reference, tmp_path):
    read_lazy = getattr(anndata.experimental, "read_lazy", None) or pytest.skip("anndata reads lazily from 0.12 on")
    pytest.importorskip("xarray", reason="anndata opens files lazily with xarray")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    lazy = read_lazy(tmp_path / "cells.h5ad")
    embed(lazy, pair)
    np.testing.assert_allclose(lazy.obsm["X_tx1"], reference, atol=1e-6)


def test_the_rna_of_several_modalities_is_embedded(adata, pair, reference):
    mudata = pytest.importorskip("mudata", reason="needs the package mudata")
    several = mudata.MuData({"rna": adata, "prot": anndata.AnnData(np.ones((adata.n_obs, 2)), obs=adata.obs[[]])})
    embed(several, pair)
    np.testing.assert_allclose(several["rna"].obsm["X_tx1"], reference, atol=1e-6)
    with pytest.raises(ValueError, match="a modality 'rna', found 'prot'; pass one of them"):
        embed(mudata.MuData({"prot": several["prot"]}), pair)


def test_factorised_gene_table(adata, tmp_path):
    folder = save_pair(tiny_pair(gene_rank=4), tmp_path)
    embed(adata, folder)
    assert adata.obsm["X_tx1"].shape == (40, SMALL["hidden_size"])


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean", "projection_dim": 40}, {"encoder": "set"}])
@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_smaller_vectors_are_the_first_coordinates(settings, backend, adata):
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    pair = tiny_pair(**settings)
    whole = embed(adata, pair, normalize=False, copy=True).obsm["X_tx1"]
    found = embed(adata, pair, dim=6, backend=backend, copy=True)
    expected = whole[:, :6] / np.linalg.norm(whole[:, :6], axis=1, keepdims=True)
    np.testing.assert_allclose(found.obsm["X_tx1"], expected, atol=5e-6)
    assert found.uns["X_tx1"]["dim"] == 6
    # The caller's model is as it was.
    assert pair[0].config.truncate_dim is None


def test_a_model_is_told_its_size_in_its_configuration(adata, student_dir, tmp_path):
    from transformers import AutoModel

    whole = embed(adata, student_dir, normalize=False, copy=True).obsm["X_tx1"]
    model, processor = AutoModel.from_pretrained(student_dir, truncate_dim=6).eval(), tiny_pair()[1]
    np.testing.assert_allclose(model.embed(processor, adata, normalize=False), whole[:, :6], atol=1e-6)
    save_pair((model, processor), tmp_path / "small")
    found = embed(adata, tmp_path / "small", normalize=False, copy=True).obsm["X_tx1"]
    np.testing.assert_allclose(found, whole[:, :6], atol=1e-6)
    # No weight is lost.
    found = embed(adata, tmp_path / "small", normalize=False, dim=32, copy=True).obsm["X_tx1"]
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("dim", [0, 33])
def test_sizes_that_a_model_has_not_are_refused(dim, adata, pair):
    with pytest.raises(ValueError, match=rf"dim must lie in 1 … 32, the width .*; found {dim}"):
        embed(adata, pair, dim=dim)
    with pytest.raises(ValueError, match=f"truncate_dim must lie in 1 … 32, the width .*; found {dim}"):
        Tx1Config(hidden_size=32, truncate_dim=dim)
