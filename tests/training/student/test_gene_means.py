"""A student's first gene vectors: the teacher's output for each gene, averaged, and reduced to what varies most."""

import numpy as np
import pytest
import torch

from tahoe_distill import load_teacher
from tahoe_distill.models import Tx1Config, Tx1Model
from tahoe_distill.training.student.gene_cells import gene_means
from tahoe_distill.training.student.gene_means import GeneMeans, place_genes, principal_components, table_means


def student(**changes):
    settings = {"vocab_size": 43, "hidden_size": 8, "num_hidden_layers": 1, "gene_norm": False, "encoder": "set"}
    return Tx1Model(Tx1Config(**{**settings, "initializer_range": 0.02, **changes}))


@pytest.fixture
def teacher(small_teacher):
    return load_teacher(small_teacher)


def test_outputs_are_averaged_over_the_cells_of_the_shards(teacher, shards, small_cells):
    found = gene_means(shards / "train", teacher.model, teacher.processor)
    # The shards hold a part of these cells; their sums say which, and all of them is what is compared.
    sums, counts = np.zeros((43, 16)), np.zeros(43)
    for folder in ("train", "val"):
        part = gene_means(shards / folder, teacher.model, teacher.processor)
        sums[part.tokens] += (part.means * part.weights.unsqueeze(1)).numpy()
        counts[part.tokens] += part.weights.numpy()
    expected, times = np.zeros((43, 16)), np.zeros(43)
    for row in range(small_cells.n_obs):
        batch = teacher.processor(small_cells[row])
        with torch.no_grad():
            output = teacher.model(**batch).last_hidden_state[0].numpy()
        np.add.at(expected, batch["gene_ids"][0].numpy(), output)
        np.add.at(times, batch["gene_ids"][0].numpy(), 1)
    assert times[1] == 60 and set(found.tokens.tolist()) <= set(range(3, 43))
    np.testing.assert_array_equal(counts[3:], times[3:])
    np.testing.assert_allclose(sums[3:], expected[3:], atol=1e-4)


def test_a_sample_is_spaced_evenly(teacher, shards):
    few = gene_means(shards / "train", teacher.model, teacher.processor, cells=3)
    again = gene_means(shards / "train", teacher.model, teacher.processor, cells=3)
    assert few.weights.max() <= 3 and torch.equal(few.means, again.means)


def test_embeddings_of_cells_stand_in_for_a_teacher(tmp_path, small_cells, small_vocab):
    from tahoe_distill.data import prepare_shards

    cells = small_cells.copy()
    cells.obsm["X_other"] = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    prepare_shards([tmp_path / "cells.h5ad"], tmp_path / "mds", small_vocab, teacher_key="X_other", val_fraction=0)
    found = gene_means(tmp_path / "mds/train", None, None)
    weights = np.log1p(cells.X.toarray())
    vectors = cells.obsm["X_other"] - cells.obsm["X_other"].mean(axis=0)
    expected = weights.T @ vectors / weights.sum(axis=0)[:, None]
    np.testing.assert_allclose(found.means, expected[found.tokens.numpy() - 3], atol=1e-5)
    np.testing.assert_allclose(found.weights, weights.sum(axis=0)[found.tokens.numpy() - 3], rtol=1e-5)


def test_cells_without_embeddings_are_refused(shards):
    with pytest.raises(ValueError, match="have none: name a split of the teacher cache"):
        gene_means(shards / "train", None, None)


def test_components_are_those_of_the_repeated_rows():
    values, times = torch.randn(12, 5), torch.randint(1, 4, (12,))
    found = principal_components(values, times.float(), 3)
    rows = values.repeat_interleave(times, dim=0).double()
    centre = rows.mean(dim=0)
    _, _, basis = torch.linalg.svd(rows - centre, full_matrices=False)
    expected = (values.double() - centre) @ basis[:3].T
    torch.testing.assert_close(found.abs(), expected.abs().float())


def test_genes_get_their_components_and_unseen_ones_nothing():
    model = student(hidden_size=6)
    before = model.gene_encoder.embedding.weight.detach().clone()
    found = GeneMeans(torch.tensor([4, 7, 9, 20]), torch.randn(4, 3), torch.ones(4))
    place_genes(model, found)
    table = model.gene_encoder.embedding.weight.detach()
    scores = principal_components(found.means, found.weights, 3)
    torch.testing.assert_close(table[found.tokens, :3], scores * 0.02 / scores.square().mean().sqrt())
    unseen = [token for token in range(43) if token not in found.tokens]
    assert table[unseen, :3].abs().max() == 0
    # Three columns cannot fill six: the others stay as they were.
    torch.testing.assert_close(table[:, 3:], before[:, 3:])


def test_a_pruned_student_gets_the_rows_of_its_genes():
    model = student(vocab_size=4, hidden_size=3)
    found = GeneMeans(torch.tensor([4, 7, 9]), torch.randn(3, 3), torch.tensor([1.0, 2.0, 3.0]))
    whole, tokens = student(hidden_size=3), torch.tensor([0, 9, 20, 4])
    place_genes(whole, found)
    place_genes(model, found, tokens)
    torch.testing.assert_close(model.gene_encoder.embedding.weight, whole.gene_encoder.embedding.weight[tokens])


def test_the_gene_table_is_what_the_teacher_reads(teacher):
    found = table_means(teacher.model)
    torch.testing.assert_close(found.means, teacher.model.gene_encoder(torch.arange(43)).detach())
