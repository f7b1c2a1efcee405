"""Pruned vocabularies: which tokens stay, under which numbers, and what is refused."""

import json

import numpy as np
import pytest
import torch
from streaming import MDSWriter

from tahoe_distill.data import ShardError, prepare_shards
from tahoe_distill.models import GeneVocab
from tahoe_distill.training.pruning import pruned_vocabulary, teacher_tokens, token_lookup

GENE = "ENSG{:011d}".format


@pytest.fixture
def vocab():
    """Special tokens among the genes, and numbers that are not in the order of the file."""
    tokens = {GENE(4): 5, "<pad>": 1, GENE(1): 0, "<cls>": 4, GENE(2): 2, GENE(3): 3, "<eoc>": 6}
    return GeneVocab(tokens, {"TP53": GENE(2), "CD4": GENE(3)})


@pytest.fixture(scope="module")
def few_cells(small_cells, tmp_path_factory):
    """Cells that express every other gene of the small vocabulary, as a file."""
    cells = small_cells.copy()
    cells.X = cells.X.multiply(np.arange(cells.n_vars) % 2 == 0).tocsr()
    path = tmp_path_factory.mktemp("few") / "cells.h5ad"
    cells.write_h5ad(path)
    return path


def prepared(few_cells, small_vocab, out, **options):
    prepare_shards([few_cells], out, small_vocab, val_fraction=0, **options)
    return out / "train"


@pytest.mark.parametrize("options", [{}, {"format": "tahoe"}, {"compression": "zstd:1", "chunk_cells": 20}])
def test_special_tokens_and_the_genes_of_the_shards_stay(few_cells, small_vocab, tmp_path, options):
    folder = prepared(few_cells, small_vocab, tmp_path / "set", **options)
    genes = [GENE(number) for number in range(1, 41, 2)]
    expected = ["<pad>", "<cls>", "<eoc>", *genes]
    assert pruned_vocabulary(folder, small_vocab).tokens == {token: place for place, token in enumerate(expected)}


def test_order_is_kept_and_numbers_start_at_zero(vocab, tmp_path):
    path = tmp_path / "genes.json"
    path.write_text(json.dumps([GENE(4), GENE(2)]))
    pruned = pruned_vocabulary(path, vocab)
    assert pruned.tokens == {"<pad>": 0, GENE(2): 1, "<cls>": 2, GENE(4): 3, "<eoc>": 4}
    assert pruned.symbols == {"TP53": GENE(2)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("genes.txt", f"{GENE(2)}\n{GENE(4)}.7\n\n"),
        ("genes.txt", f"TP53\n{GENE(4)}\nunknown\n"),
        ("vocab.json", json.dumps({"<pad>": 0, "<cls>": 1, GENE(2): 7, GENE(4): 8})),
    ],
)
def test_genes_from_a_file(vocab, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert set(pruned_vocabulary(path, vocab).tokens) == {"<pad>", "<cls>", "<eoc>", GENE(2), GENE(4)}


def test_unknown_genes_are_told(vocab, tmp_path, caplog):
    (tmp_path / "genes.txt").write_text(f"{GENE(2)} nothing")
    pruned_vocabulary(tmp_path / "genes.txt", vocab)
    assert "1 genes are not in the vocabulary, such as nothing" in caplog.text


def test_lookup_leads_from_the_teachers_tokens_to_the_students(vocab):
    student = GeneVocab({"<pad>": 0, GENE(2): 1, "<cls>": 2, GENE(4): 3, "<eoc>": 4})
    lookup = token_lookup(vocab, student)
    assert lookup.dtype == torch.int64
    assert lookup.tolist() == [0, 0, 1, 0, 2, 3, 4]
    assert teacher_tokens(vocab, student).tolist() == [1, 2, 4, 5, 6]


def test_lookup_of_a_student_with_gaps_in_its_numbers(vocab):
    assert token_lookup(vocab, GeneVocab({GENE(4): 9, "<pad>": 3, "<cls>": 5})).tolist() == [3, 3, 3, 3, 5, 9, 3]


def test_a_student_that_knows_more_than_its_teacher_is_refused(vocab):
    student = GeneVocab({"<pad>": 0, "<cls>": 1, GENE(8): 2, GENE(9): 3})
    with pytest.raises(ValueError, match=f"the student knows 2 tokens that its teacher lacks \\({GENE(8)}, {GENE(9)}"):
        token_lookup(vocab, student)


def test_shards_of_another_vocabulary_are_refused(few_cells, small_vocab, vocab, tmp_path):
    folder = prepared(few_cells, small_vocab, tmp_path / "set")
    with pytest.raises(ValueError, match="the shards hold gene 7, which the vocabulary of 7 tokens does not have"):
        pruned_vocabulary(folder, vocab)


def test_what_is_no_folder_of_shards_is_refused(few_cells, small_vocab, tmp_path):
    folder = prepared(few_cells, small_vocab, tmp_path / "set").parent
    with pytest.raises(FileNotFoundError, match="has no index.json, so it is no folder of MDS shards; name one of tra"):
        pruned_vocabulary(folder, small_vocab)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="prepare them first"):
        pruned_vocabulary(tmp_path / "empty", small_vocab)
    with pytest.raises(FileNotFoundError, match="s3://bucket/cells does not exist; expected a local folder"):
        pruned_vocabulary("s3://bucket/cells", small_vocab)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no gene"),
        ('["<cls>", "x"]', "holds no gene"),
        ("7", "JSON list of gene ids, found a int"),
        ("{", "in JSON"),
    ],
)
def test_files_without_genes_are_refused(vocab, tmp_path, content, message):
    (tmp_path / "genes.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        pruned_vocabulary(tmp_path / "genes.json", vocab)


def test_damaged_shards_and_others_are_refused(few_cells, small_vocab, tmp_path):
    folder = prepared(few_cells, small_vocab, tmp_path / "set")
    shard = next(folder.rglob("*.mds"))
    data = bytearray(shard.read_bytes())
    data[-40] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ShardError, match="the shard is damaged"):
        pruned_vocabulary(folder, small_vocab)
    with MDSWriter(out=str(tmp_path / "text"), columns={"text": "str"}) as writer:
        writer.write({"text": "a"})
    with pytest.raises(ShardError, match="has no column 'genes', found text"):
        pruned_vocabulary(tmp_path / "text", small_vocab)


def test_a_shard_is_never_unpickled(small_vocab, tmp_path):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    with MDSWriter(out=str(tmp_path / "trap"), columns={"genes": "pkl"}) as writer:
        writer.write({"genes": Trap()})
    with pytest.raises(ShardError, match="refused a pickle that asks for"):
        pruned_vocabulary(tmp_path / "trap", small_vocab)
    assert not marker.exists()
