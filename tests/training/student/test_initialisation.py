"""A student's first weights: what is the teacher's, and that a reduced table is the best there is."""

import numpy as np
import pytest
import torch

from tahoe_distill.models import Tx1Config, Tx1Model
from tahoe_distill.training.student.initialisation import initialise_from_teacher, taken_layers, truncated_svd

SIZES = {"vocab_size": 43, "hidden_size": 16, "num_attention_heads": 2, "context_length": 32}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return Tx1Model(Tx1Config(**{**SIZES, "num_hidden_layers": 2, **changes})).eval()


@pytest.fixture
def teacher():
    """Unlike a fresh model: LayerNorms and biases that are not ones and zeros, and a table of falling strength."""
    model = make(seed=1, num_hidden_layers=6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.gene_encoder.embedding.weight.mul_(torch.linspace(3, 0.1, 16))
    return model.requires_grad_(False)


@pytest.fixture
def cells():
    genes = torch.randint(3, 43, (4, 9))
    genes[:, 0] = 1
    return genes, torch.randint(1, 51, (4, 9)).float()


def table(model):
    """(genes, width) the gene table as the model reads it, before its norm, padding left out."""
    encoder = model.gene_encoder
    rows = encoder.embedding.weight if encoder.expand is None else encoder.expand(encoder.embedding.weight)
    return rows[1:].detach()


def best(matrix, rank):
    """The best approximation of that rank, by NumPy's full SVD."""
    left, strength, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64), full_matrices=False)
    return left[:, :rank] * strength[:rank] @ right[:rank]


def cosines(rows):
    rows = torch.as_tensor(rows).double()
    return torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T


@pytest.mark.parametrize(
    ("layers", "teacher_layers", "expected"),
    [
        (4, 12, [2, 5, 8, 11]),
        (6, 12, [1, 3, 5, 7, 9, 11]),
        (8, 12, [1, 2, 3, 5, 7, 8, 9, 11]),
        (1, 12, [11]),
        (12, 12, list(range(12))),
        (3, 2, [0, 0, 1]),
    ],
)
def test_layers_are_evenly_spaced_and_end_with_the_last(layers, teacher_layers, expected):
    assert taken_layers(layers, teacher_layers) == expected


def test_a_student_of_all_blocks_is_its_teacher(teacher, cells):
    student = make(num_hidden_layers=6, projection_dim=16)
    report = initialise_from_teacher(student, teacher)
    wanted = {"output_expression": True, "output_mvc": True, "masked": torch.rand(4, 9) < 0.3}
    mine, theirs = student(*cells, **wanted), teacher(*cells, **wanted)
    for name in ("pooler_output", "last_hidden_state", "expression", "mvc"):
        torch.testing.assert_close(mine[name], theirs[name])
    assert "projection: the identity" in report
    assert not any("from scratch" in line for line in report)


def test_every_kth_block_is_taken(teacher):
    student = make(num_hidden_layers=3)
    report = initialise_from_teacher(student, teacher)
    for layer, source in enumerate((1, 3, 5)):
        theirs = teacher.transformer_encoder.layers[source].state_dict()
        mine = student.transformer_encoder.layers[layer].state_dict()
        assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    assert "blocks: the teacher's 1, 3, 5 of 0 to 5, and its last norm" in report


@pytest.mark.parametrize("change", [{"num_attention_heads": 4}, {"intermediate_size": 24}, {"use_glu": True}])
def test_other_blocks_stay_fresh_while_the_input_side_is_taken(teacher, change):
    fresh, student = make(num_hidden_layers=6, **change), make(num_hidden_layers=6, **change)
    report = initialise_from_teacher(student, teacher)
    for part in ("transformer_encoder", "expression_decoder", "mvc_decoder"):
        before = getattr(fresh, part).state_dict()
        assert all(torch.equal(getattr(student, part).state_dict()[name], x) for name, x in before.items())
    assert torch.equal(table(student), table(teacher))
    assert torch.equal(student.expression_encoder.linear1.weight, teacher.expression_encoder.linear1.weight)
    assert any(line.startswith(f"blocks and heads: from scratch, {next(iter(change))} is") for line in report)


def test_parts_of_other_settings_stay_fresh_and_are_named(teacher):
    student = make(value_act="gelu", expression_head_layers=2, mvc_head=False)
    report = initialise_from_teacher(student, teacher)
    assert "the teacher's mask flag; from scratch: expression encoder (value_act is gelu, the teacher's relu)" in report
    assert "expression_decoder: from scratch, expression_head_layers is 2, the teacher's 1" in report
    assert not any("mvc" in line for line in report)


def test_a_factorised_table_is_the_best_of_its_rank(teacher):
    student = make(gene_rank=5)
    initialise_from_teacher(student, teacher)
    np.testing.assert_allclose(table(student), best(table(teacher), 5), atol=2e-5)
    assert torch.equal(student.gene_encoder.enc_norm.bias, teacher.gene_encoder.enc_norm.bias)


def test_a_narrower_table_keeps_the_angles_of_the_best_one_at_the_size_of_a_fresh_table(teacher):
    student = make(hidden_size=6)
    report = initialise_from_teacher(student, teacher)
    torch.testing.assert_close(cosines(table(student)), cosines(best(table(teacher), 6)), atol=1e-5, rtol=0)
    assert table(student).square().mean().sqrt() == pytest.approx(1.0)
    assert report[-1] == "all else: from scratch, the widths differ (6, the teacher has 16)"


def test_a_narrower_factorised_table_expands_from_scratch(teacher):
    fresh, student = make(hidden_size=8, gene_rank=4), make(hidden_size=8, gene_rank=4)
    initialise_from_teacher(student, teacher)
    rows = student.gene_encoder.embedding.weight[1:].detach()
    torch.testing.assert_close(cosines(rows), cosines(best(table(teacher), 4)), atol=1e-5, rtol=0)
    assert torch.equal(student.gene_encoder.expand.weight, fresh.gene_encoder.expand.weight)


def test_a_teacher_with_a_factorised_table_is_read_whole(cells):
    teacher, student = make(seed=1, gene_rank=5), make()
    initialise_from_teacher(student, teacher)
    torch.testing.assert_close(student(*cells).pooler_output, teacher(*cells).pooler_output)


def test_a_wider_student_keeps_its_fresh_table(teacher):
    fresh, student = make(hidden_size=32), make(hidden_size=32)
    report = initialise_from_teacher(student, teacher)
    assert torch.equal(table(student), table(fresh))
    assert report[0] == "gene table: from scratch, 32 columns cannot be made of the teacher's 16"


def test_a_pruned_student_takes_its_own_rows(teacher):
    tokens = torch.tensor([0, 1, 7, 30, 42])
    student = make(vocab_size=5)
    initialise_from_teacher(student, teacher, tokens)
    assert torch.equal(table(student), teacher.gene_encoder.embedding.weight[tokens[1:]])


@pytest.mark.parametrize("tokens", [None, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2, 3, 43])])
def test_rows_without_a_token_of_the_teacher_are_refused(teacher, tokens):
    with pytest.raises(ValueError, match="the student's gene table has 5 rows"):
        initialise_from_teacher(make(vocab_size=5), teacher, tokens)


@pytest.mark.parametrize("changes", [{}, {"hidden_size": 6}, {"gene_rank": 5}])
def test_padding_keeps_its_row_and_randomness_its_place(teacher, changes):
    student = make(**changes)
    pad = student.gene_encoder.embedding.weight[0].clone()
    before = torch.get_rng_state()
    initialise_from_teacher(student, teacher)
    assert torch.equal(student.gene_encoder.embedding.weight[0], pad)
    assert torch.equal(torch.get_rng_state(), before)
    again = make(**changes)
    initialise_from_teacher(again, teacher)
    assert all(torch.equal(again.state_dict()[name], x) for name, x in student.state_dict().items())


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 6}, {"hidden_size": 6}, {"gene_rank": 5}])
def test_a_bfloat16_teacher_gives_a_float32_student(teacher, changes):
    student, rounded = make(**changes), make(**changes)
    initialise_from_teacher(student, teacher.bfloat16())
    assert all(parameter.dtype == torch.float32 for parameter in student.parameters())
    initialise_from_teacher(rounded, teacher.float())
    assert all(torch.equal(rounded.state_dict()[name], x) for name, x in student.state_dict().items())


def test_everything_stays_trainable(teacher):
    student = make(num_hidden_layers=6, projection_dim=16)
    initialise_from_teacher(student, teacher)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_a_table_in_many_pieces_is_the_same(monkeypatch):
    matrix = torch.randn(50, 7)
    whole = truncated_svd(matrix, 3)
    monkeypatch.setattr("tahoe_distill.training.student.initialisation._ROWS", 8)
    for mine, theirs in zip(truncated_svd(matrix, 3), whole):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
