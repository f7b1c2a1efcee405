"""Students: presets, inherited settings, carrying on from an export."""

import pytest

from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.training.student import build_student, student_config
from tahoe_distill.training.student_spec import PRESETS

TEACHER = Tx1Config(vocab_size=43, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, context_length=32)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_take_the_teachers_tokens_and_space(preset):
    config = student_config(preset, TEACHER)
    assert (config.vocab_size, config.context_length, config.embedding_size) == (43, 32, 16)


def test_projection_can_be_left_out():
    assert student_config({"preset": "tiny", "projection_dim": None}, TEACHER).embedding_size == 128


@pytest.mark.parametrize(
    ("preset", "millions", "outside"),
    [("tiny", 8.90, 0.87), ("small", 19.42, 3.36), ("medium", 27.54, 19.51)],
)
def test_preset_parameters_against_the_70m_teacher(preset, millions, outside):
    config = student_config(preset, Tx1Config())
    config.expression_head_layers, config.mvc_head = None, False
    model = Tx1Model(config)
    table = model.gene_encoder.embedding.weight.numel()
    assert model.num_parameters() / 1e6 == pytest.approx(millions, abs=0.01)
    assert (model.num_parameters() - table) / 1e6 == pytest.approx(outside, abs=0.01)


def test_heads_without_objective_are_left_out_and_the_unused_flag_frozen():
    student = build_student("tiny", student_config("tiny", TEACHER), needs={"cell"}, sees_masks=False)
    assert student.expression_decoder is None
    assert student.mvc_decoder is None
    assert not student.flag_encoder.weight.requires_grad


def test_carries_on_from_an_export(tmp_path, small_vocab):
    first = build_student("tiny", student_config("tiny", TEACHER), {"cell"}, False)
    write_model_folder(first, Tx1Processor(small_vocab, max_length=32), tmp_path / "hf")
    spec = {"path": str(tmp_path / "hf")}
    second = build_student(spec, student_config(spec, TEACHER), {"cell"}, False)
    assert all((second.state_dict()[name] == tensor).all() for name, tensor in first.state_dict().items())


def test_an_export_of_another_vocabulary_is_refused(tmp_path, small_vocab):
    first = Tx1Model(Tx1Config(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    write_model_folder(first, Tx1Processor(small_vocab), tmp_path / "hf")
    with pytest.raises(ValueError, match="has 50 tokens, the teacher 43"):
        student_config({"path": str(tmp_path / "hf")}, TEACHER)


def test_a_folder_that_is_no_student_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        student_config({"path": str(tmp_path)}, TEACHER)
