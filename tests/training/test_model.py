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


def test_the_student_embeds_in_the_teachers_space(distill, batch):
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


def evaluated(model, batch):
    """Name to value of each metric of a model after one batch."""
    model.eval()
    outputs, metrics = model.eval_forward(batch), model.get_metrics(is_train=False)
    for metric in metrics.values():
        model.update_metric(batch, outputs, metric)
    return outputs, {name: metric.compute() for name, metric in metrics.items()}


def test_metrics_agree_with_the_loss(distill, batch):
    outputs, metrics = evaluated(distill, batch)
    assert set(metrics) == {
        *("loss", "cosine_loss", "mse_loss", "cosine", "centered_cosine", "knn_overlap", "normalized_mse")
    }
    losses = outputs["losses"]
    torch.testing.assert_close(metrics["loss"], losses["total"].detach())
    torch.testing.assert_close(metrics["cosine"], losses["student_teacher_cosine"])
    torch.testing.assert_close(metrics["normalized_mse"], losses["mse"].detach())
    assert -1 <= metrics["centered_cosine"] <= 1
    # Each of four cells has the three others for neighbours, in both spaces.
    assert metrics["knn_overlap"] == 1.0


def test_spaces_of_different_widths_share_neighbours_only(small_teacher, student_spec, batch):
    spec = {**student_spec, "projection_dim": None}
    _, metrics = evaluated(TahoeDistillModel(spec, str(small_teacher), {"relational": 1.0}), batch)
    assert set(metrics) == {"loss", "relational_loss", "knn_overlap"}


def test_five_dimensions_are_trained_by_a_learned_map(small_teacher, student_spec, batch):
    objectives = {"cosine": {"center": True}, "mse": 1.0}
    model = TahoeDistillModel({**student_spec, "projection_dim": 5}, str(small_teacher), objectives)
    outputs, metrics = evaluated(model, batch)
    assert outputs["student"].cell.shape == (4, 5)
    assert set(metrics) == {"loss", "cosine_loss", "mse_loss", "knn_overlap"}
    model.train().loss(model(batch), batch)["total"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert model.objectives.objectives["cosine"].map.weight.shape == (16, 5)
    assert not any("map" in name for name in model.student.state_dict())


@pytest.mark.parametrize("heads", [["expression"], ["mvc"], ["mvc", "expression"]], ids=str)
def test_predictions_are_measured_at_the_masked_genes_the_student_sees(vocab_path, student_spec, batch, heads):
    objectives = {"expression": {"alpha": 0.0, "heads": heads}}
    model = TahoeDistillModel(student_spec, None, objectives, vocab=vocab_path)
    view = {f"student_{name}": batch[name][:, :3] for name in ("gene", "expr", "expr_target", "gen_mask")}
    outputs, metrics = evaluated(model, {**batch, **view})
    assert set(metrics) == {"loss", "expression_loss", "masked_expression_mse", "masked_spearman"}
    predicted, target = getattr(outputs["student"], heads[0])[:, 2], batch["expr_target"][:, 2]
    torch.testing.assert_close(metrics["masked_expression_mse"], (predicted - target).square().mean())
    # One masked gene has no rank correlation.
    assert metrics["masked_spearman"] == 0.0


def test_a_checkpoint_of_another_teacher_is_refused(distill, batch):
    distill.teacher_fingerprint.add_(1)
    with pytest.raises(ValueError, match="the checkpoint was trained with a teacher of fingerprint"):
        distill(batch)


def test_student_view_is_used_where_the_batch_has_one(distill, batch):
    narrow = {f"student_{name}": batch[name][:, :5] for name in ("gene", "expr", "expr_target", "gen_mask")}
    outputs = distill({**batch, **narrow})
    assert outputs["student"].seen.shape[1] == 5
    assert outputs["teacher"].seen.shape[1] == 9


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


def test_flops_count_three_passes_of_the_student_and_one_of_the_teacher(small_teacher, student_spec, batch):
    def whole(model):
        config = model.config
        table = model.gene_encoder.embedding.weight.numel()
        weights = model.num_parameters() - table
        return 4 * 9 * (2 * weights + 4 * config.num_hidden_layers * config.hidden_size * 9)

    def last_block(model, positions, keys):
        weights = sum(parameter.numel() for parameter in model.transformer_encoder.layers[-1].parameters())
        return 4 * (positions * 2 * weights + 4 * model.config.hidden_size * 9 * keys)

    def alone(model):
        return whole(model) - last_block(model, 9, 9) + last_block(model, 1, model.config.num_attention_heads)

    for objective, count in (("gene", whole), ("cosine", alone)):
        distill = TahoeDistillModel(student_spec, str(small_teacher), {objective: 1.0})
        assert distill.flops_per_batch(batch) == 3 * count(distill.student) + count(distill.teacher.model)


def step(distill, batch, needs):
    """Losses and gradients in double precision, both models computing more than the objectives need."""
    distill.needs, distill.objectives.teacher_needs = distill.needs | needs, distill.objectives.teacher_needs | needs
    torch.manual_seed(0)
    outputs = distill(batch)
    losses = distill.loss(outputs, batch)
    losses["total"].backward()
    return outputs, losses, {name: p.grad.clone() for name, p in distill.named_parameters() if p.grad is not None}


CELL_ALONE = {
    "cosine and mse": {"cosine": {"center": True}, "mse": 0.5},
    "relational": {"relational": 1.0},
    "mvc of masked genes": {"expression": {"heads": ["mvc"]}},
}
ALL_POSITIONS = {
    "gene": {"cosine": 1.0, "gene": 1.0},
    "hidden": {"cosine": 1.0, "hidden": {"layer_map": [[0, 0]]}},
    "hidden, coarse": {"hidden": {"layer_map": [[1, 2]], "grain": "coarse"}},
    "expression": {"expression": {"heads": ["expression"]}},
}


@pytest.mark.parametrize("case", CELL_ALONE)
def test_the_cell_alone_gives_the_losses_and_gradients_of_all_positions(case, small_teacher, student_spec, batch):
    runs = []
    for needs in (frozenset(), frozenset({"genes"})):
        torch.manual_seed(0)
        distill = TahoeDistillModel(student_spec, str(small_teacher), CELL_ALONE[case]).double().train()
        distill.teacher.model.double()
        runs.append(step(distill, batch, needs))
    (alone, losses, gradients), (whole, expected_losses, expected) = runs
    for who in ("student", "teacher"):
        assert alone[who].genes is None and whole[who].genes is not None
    assert gradients.keys() == expected.keys()
    for found, wanted in ((losses, expected_losses), (gradients, expected)):
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("case", ALL_POSITIONS)
def test_who_reads_all_positions_gets_them(case, small_teacher, student_spec, batch):
    distill = TahoeDistillModel(student_spec, str(small_teacher), ALL_POSITIONS[case])
    outputs = distill(batch)
    assert outputs["student"].genes is not None and outputs["teacher"].genes is not None
    distill.loss(outputs, batch)["total"].backward()


def test_the_students_processor_carries_the_symbols_of_the_shards(distill):
    processor = distill.make_processor({"TP53": "ENSG00000000007"})
    assert processor.vocab.gene_tokens(["TP53", "ENSG00000000007", "nothing"]).tolist() == [9, 9, -1]
    assert processor.max_length == 32


def test_the_students_processor_carries_the_human_symbols_of_its_genes(distill):
    own = distill.make_processor({"TNMD": "ENSG00000000001"}).vocab
    assert own.gene_tokens(["TSPAN6", "TNMD"]).tolist() == [5, 3] and set(own.symbols.values()) <= set(own.tokens)
