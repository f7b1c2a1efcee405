"""Pruned vocabularies: which tokens stay, under which numbers, what a student of one sees, and what is refused."""

import json

import numpy as np
import pytest
import torch
from streaming import MDSWriter

from tahoe_distill.data import ShardError, prepare_shards
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import GeneVocab, Tx1Model, Tx1Processor
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.student.pruning import teacher_tokens, token_lookup
from tahoe_distill.training.student.vocabulary import pruned_vocabulary
from tests.helpers.in_process import train

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


@pytest.fixture
def half(tmp_path):
    """File of every other gene of the small vocabulary."""
    path = tmp_path / "half.json"
    path.write_text(json.dumps([GENE(number) for number in range(1, 41, 2)]))
    return str(path)


@pytest.fixture
def distill(small_teacher, student_spec, half):
    """A model around a pruned student."""

    def build(objectives=None, **settings):
        student = {**student_spec, "genes": half, **settings}
        return TahoeDistillModel(student, str(small_teacher), objectives).eval()

    return build


def test_unknown_genes_are_unseen_and_positions_stay_paired(distill, batch):
    model = distill()
    outputs = model(batch)["student"]
    known = batch["gene"].lt(3) | (batch["gene"] % 2 == 1)
    assert torch.equal(outputs.seen, known & batch["gene"].ne(0))
    assert torch.equal(outputs.gene_ids, batch["gene"])
    for cell, seen in enumerate(outputs.seen):
        own = model.student_tokens[batch["gene"][cell, seen]]
        alone = model.student(own[None], batch["expr_target"][cell, seen][None])
        torch.testing.assert_close(outputs.cell[cell], alone.pooler_output[0])
    assert model.student.config.vocab_size == 23


def test_gradients_reach_all_that_is_trained_by_every_kind_of_objective(distill, batch):
    objectives = {"cosine": 1.0, "gene": 1.0, "hidden": {"layer_map": [[1, 2]]}, "expression": {"alpha": 0.5}}
    model = distill(objectives, init="teacher", gene_rank=4).train()
    losses = model.loss(model(batch), batch)
    losses["total"].backward()
    assert all(loss > 0 for name, loss in losses.items() if name != "student_teacher_cosine")
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_pruned_student_starts_with_its_rows_of_the_teachers_table(distill):
    model = distill(init="teacher", hidden_size=16)
    theirs = model.teacher.model.gene_encoder.embedding.weight
    rows = [1, 2, *range(3, 43, 2)]
    assert torch.equal(model.student.gene_encoder.embedding.weight[1:], theirs[rows])


def test_an_export_knows_its_own_genes_alone(distill, tmp_path):
    model = distill()
    processor = model.make_processor({"KEPT": GENE(1), "PRUNED": GENE(2)})
    write_model_folder(model.student, processor, tmp_path / "hf")
    loaded = Tx1Processor.from_pretrained(tmp_path / "hf")
    assert loaded.vocab.tokens == model.student_vocab.tokens
    assert loaded.vocab.symbols["KEPT"] == GENE(1) and "PRUNED" not in loaded.vocab.symbols
    assert set(loaded.vocab.symbols.values()) <= set(loaded.vocab.tokens)
    exported = Tx1Model.from_pretrained(tmp_path / "hf").eval()
    batch = loaded.pad([loaded.encode(loaded.vocab.gene_tokens([GENE(1), GENE(5)]), [4.0, 2.0])])
    torch.testing.assert_close(exported(**batch).pooler_output, model.student(**batch).pooler_output)


def test_carries_on_from_a_pruned_export_under_the_same_teacher(distill, small_teacher, batch, tmp_path):
    first = distill()
    write_model_folder(first.student, first.make_processor(), tmp_path / "hf")
    second = TahoeDistillModel({"path": str(tmp_path / "hf")}, str(small_teacher)).eval()
    torch.testing.assert_close(second(batch)["student"].cell, first(batch)["student"].cell)
    assert second.make_processor().vocab.tokens == first.student_vocab.tokens


def test_carries_on_only_where_the_teacher_knows_all_genes(distill, small_teacher, tmp_path):
    first = distill()
    write_model_folder(first.student, first.make_processor(), tmp_path / "hf")
    tokens = {token.replace(GENE(7), "ENSG9"): number for token, number in first.student_vocab.tokens.items()}
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps(tokens))
    with pytest.raises(ValueError, match=r"the student knows 1 tokens that its teacher lacks \(ENSG9\)"):
        TahoeDistillModel({"path": str(tmp_path / "hf")}, str(small_teacher))
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps({**tokens, "ENSG8": 23}))
    with pytest.raises(ValueError, match="has 23 tokens, its vocab.json 24; the folder is not as it was exported"):
        TahoeDistillModel({"path": str(tmp_path / "hf")}, str(small_teacher))


def test_a_checkpoint_of_other_genes_is_refused(distill, batch):
    model = distill()
    assert "student_tokens" in model.state_dict()
    model.student_tokens[5] += 1
    with pytest.raises(ValueError, match="trained with other genes than model.student.genes names now"):
        model(batch)


def test_pretrains_a_pruned_model_without_a_teacher(student_spec, half, batch, small_vocab, tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps(small_vocab.tokens))
    student = {**student_spec, "genes": half}
    model = TahoeDistillModel(student, None, {"expression": {"alpha": 0.0}}, vocab=str(tmp_path / "vocab.json"))
    model.loss(model(batch), batch)["total"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert model.student.config.vocab_size == 23


def test_genes_that_are_all_of_them_change_nothing(distill, small_vocab, tmp_path):
    (tmp_path / "all.json").write_text(json.dumps(small_vocab.tokens))
    model = distill(genes=str(tmp_path / "all.json"))
    assert model.student_tokens is None
    assert "student_tokens" not in model.state_dict()


def test_a_whole_run_exports_a_pruned_student_that_started_from_its_teacher(
    run_config, few_cells, small_vocab, tmp_path
):
    folder = str(prepared(few_cells, small_vocab, tmp_path / "set"))
    student = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "init": "teacher"}
    run_config["model"]["student"] = {**student, "genes": folder}
    run_config["train_loader"]["dataset"]["local"] = folder
    # The evaluation cells have genes that the student does not know.
    train(run_config, tmp_path / "run.yaml", "max_duration=2ba")
    assert len(Tx1Processor.from_pretrained(tmp_path / "hf").vocab) == 23
    assert Tx1Model.from_pretrained(tmp_path / "hf").config.vocab_size == 23
