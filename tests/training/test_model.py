"""The ComposerModel: a teacher that stays out of the way, losses, metrics."""

import json

import pytest
import torch

from tahoe_distill.training.model import TahoeDistillModel


@pytest.fixture
def vocab_path(tmp_path, small_vocab):
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(small_vocab.tokens))
    return str(path)


@pytest.fixture
def distill(small_teacher, student_spec):
    return TahoeDistillModel(student=student_spec, teacher=str(small_teacher), objectives={"cosine": 1.0, "mse": 0.5})


def test_teacher_is_in_no_checkpoint_and_no_parameter_list(distill):
    teacher = {id(parameter) for parameter in distill.teacher.model.parameters()}
    assert not teacher & {id(parameter) for parameter in distill.parameters()}
    assert not any("teacher" in name for name in distill.state_dict() if name != "teacher_fingerprint")


def test_teacher_stays_in_eval_mode_without_gradients(distill, batch):
    distill.train()
    assert not any(module.training for module in distill.teacher.model.modules())
    distill.loss(distill(batch), batch)["total"].backward()
    assert all(parameter.grad is None for parameter in distill.teacher.model.parameters())


def test_every_trainable_parameter_gets_a_gradient(distill, batch):
    distill.train()
    distill.loss(distill(batch), batch)["total"].backward()
    missing = [name for name, p in distill.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_loss_is_the_weighted_sum_of_its_terms(distill, batch):
    losses = distill.loss(distill(batch), batch)
    torch.testing.assert_close(losses["total"], losses["cosine"] + 0.5 * losses["mse"])
    torch.testing.assert_close(losses["student_teacher_cosine"], 1 - losses["cosine"].detach())


def test_student_answers_in_the_teachers_space(distill, batch):
    outputs = distill(batch)
    assert outputs["student"].cell.shape == outputs["teacher"].cell.shape == (4, 16)


def test_teacher_sees_the_whole_cell(distill, batch):
    seen = distill(batch)["teacher"].cell
    whole = distill.teacher.model(batch["gene"], batch["expr_target"]).pooler_output
    torch.testing.assert_close(seen, whole)


def test_pretraining_without_a_teacher(vocab_path, student_spec, batch):
    model = TahoeDistillModel(
        student=student_spec, teacher=None, vocab=vocab_path, objectives={"expression": {"alpha": 0.0}}
    )
    outputs = model(batch)
    loss = model.loss(outputs, batch)["total"]
    outputs, mask = outputs["student"], batch["gen_mask"]
    target = batch["expr_target"]
    expected = ((outputs.expression - target)[mask] ** 2).mean() + ((outputs.mvc - target)[mask] ** 2).mean()
    torch.testing.assert_close(loss, expected / 2)
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_metrics_agree_with_the_loss(distill, batch):
    distill.eval()
    outputs = distill.eval_forward(batch)
    metrics = distill.get_metrics(is_train=False)
    for metric in metrics.values():
        distill.update_metric(batch, outputs, metric)
    losses = distill.loss(outputs, batch)
    torch.testing.assert_close(metrics["loss"].compute(), losses["total"].detach())
    torch.testing.assert_close(metrics["cosine"].compute(), losses["student_teacher_cosine"])
    assert -1 <= metrics["centered_cosine"].compute() <= 1


def test_a_checkpoint_of_another_teacher_is_refused(distill, batch):
    distill.teacher_fingerprint.add_(1)
    with pytest.raises(ValueError, match="the checkpoint was trained with a teacher of fingerprint"):
        distill(batch)


def test_student_view_is_used_where_the_batch_has_one(distill, batch):
    narrow = {f"student_{name}": batch[name][:, :5] for name in ("gene", "expr", "expr_target", "gen_mask")}
    outputs = distill({**batch, **narrow})
    assert outputs["student"].genes.shape[1] == 5
    assert outputs["teacher"].genes.shape[1] == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teacher": {"source": "x", "szie": "70m"}}, "model.teacher has no option 'szie': did you mean 'size'"),
        ({"teacher": None}, "without a teacher model.vocab must name"),
        ({"student": {"hiden_size": 8}}, "model.student has no option 'hiden_size': did you mean 'hidden_size'"),
        ({"student": "tiny"}, "the student is 128 wide, its teacher 16: .* model.student.allow_wider: true"),
        ({"student": {"preset": "tiny", "allow_wider": 1.5}}, "allow_wider must be true or false; found 1.5"),
        ({"objectivs": {}}, "model has no option 'objectivs': did you mean 'objectives'"),
        ({"student": "huge"}, "unknown student preset 'huge'"),
        ({"objectives": {"cosin": 1.0}}, "cosin"),
        ({"vocab": "vocab.json"}, "model.vocab is the teacher's"),
    ],
)
def test_wrong_settings_are_refused_by_name(small_teacher, student_spec, arguments, message):
    with pytest.raises(ValueError, match=message):
        TahoeDistillModel(**{"student": student_spec, "teacher": str(small_teacher), **arguments})


def test_a_wider_student_is_taken_where_it_is_meant(small_teacher):
    student = {"preset": "tiny", "allow_wider": True}
    assert TahoeDistillModel(student, str(small_teacher)).student.config.hidden_size == 128


def test_flops_count_three_passes_of_the_student_and_one_of_the_teacher(distill, batch):
    def forward(model):
        config = model.config
        table = model.gene_encoder.embedding.weight.numel()
        weights = model.num_parameters() - table
        return 4 * 9 * (2 * weights + 4 * config.num_hidden_layers * config.hidden_size * 9)

    assert distill.flops_per_batch(batch) == 3 * forward(distill.student) + forward(distill.teacher.model)


def test_the_students_processor_carries_the_symbols_of_the_shards(distill):
    processor = distill.make_processor({"TP53": "ENSG00000000007"})
    assert processor.vocab.gene_tokens(["TP53", "ENSG00000000007", "nothing"]).tolist() == [9, 9, -1]
    assert processor.max_length == 32


def test_the_students_processor_carries_the_human_symbols_of_its_genes(distill):
    own = distill.make_processor({"TNMD": "ENSG00000000001"}).vocab
    assert own.gene_tokens(["TSPAN6", "TNMD"]).tolist() == [5, 3] and set(own.symbols.values()) <= set(own.tokens)
