"""Students: presets, inherited settings, first weights, carrying on from an export."""

import pytest
import torch

from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.objectives import Shapes, build_objectives
from tahoe_distill.training.student.build import (
    build_student,
    check_encoder,
    check_width,
    student_config,
)
from tahoe_distill.training.student.spec import PRESETS, StudentSpec
from tahoe_distill.training.student.vocabulary import student_vocabulary

TEACHER = Tx1Config(vocab_size=43, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, context_length=32)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_take_the_teachers_tokens_and_space(preset):
    config = student_config(preset, TEACHER)
    # Without attention a cell's genes are all read at serving.
    context = 43 if config.encoder == "set" else 32
    assert (config.vocab_size, config.context_length, config.embedding_size) == (43, context, 16)


def test_projection_can_be_left_out():
    assert student_config({"preset": "tiny", "projection_dim": None}, TEACHER).embedding_size == 128


@pytest.mark.parametrize(
    ("preset", "millions", "outside"),
    [
        ("tiny", 8.90, 0.87),
        ("small", 19.42, 3.36),
        ("medium", 27.54, 19.51),
        ("static-tiny", 2.13, 0.12),
        ("static-small", 4.23, 0.21),
        ("static-medium", 8.71, 0.68),
    ],
)
def test_preset_parameters_against_the_70m_teacher(preset, millions, outside):
    config = student_config(preset, Tx1Config())
    config.expression_head_layers, config.mvc_head = None, False
    model = Tx1Model(config)
    table = model.gene_encoder.embedding.weight.numel()
    assert model.num_parameters() / 1e6 == pytest.approx(millions, abs=0.01)
    assert (model.num_parameters() - table) / 1e6 == pytest.approx(outside, abs=0.01)


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 3.44), ("small", 8.48), ("medium", 22.07)])
def test_preset_parameters_of_twenty_thousand_genes(preset, millions):
    # The 70m's vocabulary has ten special tokens, and pruning keeps them.
    special = ["<pad>", "<cls>", *(f"<junk{number}>" for number in range(8))]
    tokens = [*special, *(f"ENSG{number:011d}" for number in range(20_000))]
    vocab = GeneVocab({token: number for number, token in enumerate(tokens)})
    config = student_config(preset, Tx1Config(), vocab=vocab)
    config.expression_head_layers, config.mvc_head = None, False
    assert Tx1Model(config).num_parameters() / 1e6 == pytest.approx(millions, abs=0.01)


def test_heads_without_objective_are_left_out_and_the_unused_flag_frozen():
    student = build_student("tiny", student_config("tiny", TEACHER), needs={"cell"}, sees_masks=False)
    assert student.expression_decoder is None
    assert student.mvc_decoder is None
    assert not student.flag_encoder.weight.requires_grad


def objective_set(**spec):
    shapes = {"student_width": 8, "student_embedding": 16, "student_layers": 1, "teacher_width": 16}
    return build_objectives(spec, Shapes(**shapes, teacher_embedding=16, teacher_layers=2))


@pytest.mark.parametrize(
    ("spec", "need"),
    [
        ({"hidden": {"layer_map": [[1, 1]]}}, "hidden"),
        ({"expression": {"heads": ["mvc"]}}, "mvc"),
        ({"expression": 1.0}, "expression"),
    ],
)
def test_objectives_on_layers_and_heads_are_refused_without_attention(spec, need):
    config = student_config({"preset": "static-tiny"}, TEACHER)
    (name,) = spec
    with pytest.raises(ValueError, match=f"objectives.{name} needs the student's '{need}', and a student with encoder"):
        check_encoder(config, objective_set(**spec), sees_masks=False)
    check_encoder(student_config("tiny", TEACHER), objective_set(**spec), sees_masks=False)


def test_objectives_on_cells_and_genes_are_taken_without_attention():
    config = student_config({"preset": "static-tiny"}, TEACHER)
    check_encoder(config, objective_set(cosine=1.0, relational=1.0, gene=1.0), sees_masks=False)
    with pytest.raises(ValueError, match="student_sees_masks is on, and a student with encoder: set reads whole cells"):
        check_encoder(config, objective_set(cosine=1.0), sees_masks=True)


def test_gene_vectors_may_be_wider_than_the_teacher():
    check_width(StudentSpec.read("static-tiny"), student_config("static-tiny", TEACHER), TEACHER)


def test_carries_on_from_an_export(tmp_path, small_vocab):
    first = build_student("tiny", student_config("tiny", TEACHER), {"cell"}, sees_masks=False)
    write_model_folder(first, Tx1Processor(small_vocab, max_length=32), tmp_path / "hf")
    spec = {"path": str(tmp_path / "hf")}
    second = build_student(spec, student_config(spec, TEACHER), {"cell"}, sees_masks=False)
    assert all((second.state_dict()[name] == tensor).all() for name, tensor in first.state_dict().items())


def test_an_export_of_another_vocabulary_is_refused(tmp_path, small_vocab):
    first = Tx1Model(Tx1Config(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    write_model_folder(first, Tx1Processor(small_vocab), tmp_path / "hf")
    with pytest.raises(ValueError, match="has 50 tokens, the teacher 43"):
        student_config({"path": str(tmp_path / "hf")}, TEACHER)


def test_a_folder_that_is_no_student_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        student_config({"path": str(tmp_path)}, TEACHER)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"init": "random"}, r"init must be scratch \(random weights\) or teacher .*; found 'random'"),
        ({"path": "x", "init": "teacher"}, "model.student.path loads a whole student; remove init"),
        ({"path": "x", "genes": "y", "preset": "tiny"}, "loads a whole student; remove genes, preset"),
        ({"vocab_size": 9}, "vocab_size is that of the vocabulary; .* genes: FOLDER_OF_SHARDS"),
        ({"intit": "teacher"}, "model.student has no option 'intit': did you mean 'init'"),
        (
            {"init_cells": "x", "preset": "static-tiny"},
            "init: teacher and encoder: set .* found init: scratch and .* set",
        ),
        ({"init_cells": "x", "init": "teacher"}, "found init: teacher and encoder: transformer"),
        ({"preset": "huge"}, "unknown student preset 'huge'; known are tiny, small, medium"),
    ],
)
def test_wrong_settings_are_refused_by_name(spec, message):
    with pytest.raises(ValueError, match=message):
        StudentSpec.read(spec)


def test_a_preset_can_be_changed_and_settings_left_empty():
    spec = StudentSpec.read({"preset": "tiny", "num_hidden_layers": 2, "init": None, "genes": None})
    assert spec.fields == {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert (spec.init, spec.genes, spec.drug_token) == ("scratch", None, False)
    assert StudentSpec.read(spec) is spec


def test_a_student_that_starts_from_its_teacher_reads_weights_as_the_teacher_does():
    teacher = Tx1Config(vocab_size=43, hidden_size=16, num_attention_heads=2, value_act="gelu", mvc_scaled=False)
    same = {"hidden_size": 16, "num_attention_heads": 2}
    assert student_config({**same, "init": "teacher"}, teacher).value_act == "gelu"
    assert student_config({**same, "init": "teacher"}, teacher).mvc_scaled is False
    assert student_config({**same, "init": "teacher", "value_act": "relu"}, teacher).value_act == "relu"
    assert student_config(same, teacher).value_act == "relu"
    assert student_config({"preset": "tiny", "init": "teacher"}, teacher).value_act == "relu"


def test_first_weights_are_the_teachers_where_asked_for():
    teacher = Tx1Model(TEACHER).requires_grad_(False)
    spec = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "init": "teacher"}
    config = student_config(spec, TEACHER)
    student = build_student(spec, config, {"cell"}, sees_masks=False, teacher=teacher)
    theirs = teacher.transformer_encoder.layers[1].state_dict()
    mine = student.transformer_encoder.layers[0].state_dict()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    assert not student.flag_encoder.weight.requires_grad


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preset": "tiny", "init": "teacher"}, "name one under model.teacher.source, or set init: scratch"),
        (
            {"preset": "tiny", "drug_token": True},
            "or carry on from an exported student that has them with path: FOLDER",
        ),
    ],
)
def test_what_needs_the_teachers_weights_is_refused_without_them(spec, message):
    with pytest.raises(ValueError, match=message):
        build_student(spec, Tx1Config(vocab_size=43), {"cell"}, sees_masks=False)


def test_vocabularies_are_the_teachers_unless_an_export_has_its_own(tmp_path, small_vocab):
    assert student_vocabulary("tiny", small_vocab) is small_vocab
    small_vocab.save(tmp_path)
    assert student_vocabulary({"path": str(tmp_path)}, small_vocab) is small_vocab
    other = GeneVocab({"<cls>": 0, "<pad>": 1})
    other.save(tmp_path)
    assert student_vocabulary({"path": str(tmp_path)}, small_vocab).tokens == other.tokens
    with pytest.raises(FileNotFoundError, match="has no vocab.json; expected an exported student"):
        student_vocabulary({"path": str(tmp_path / "nowhere")}, small_vocab)
