"""What the loaders do not give is told before the first batch, by name and with the way out."""

import pytest
from torch.utils.data import DataLoader

from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.dataloader import read_sections
from tahoe_distill.training.model import TahoeDistillModel


@pytest.fixture
def loader(run_config):
    def build(**collator):
        dataset = {**run_config["train_loader"]["dataset"], "shuffle": False}
        cells, collate = read_sections(dataset, {"max_length": 32, "do_mlm": False, **collator}, 8)
        return DataLoader(cells, batch_size=8, collate_fn=collate)

    return build


@pytest.fixture
def model(student_spec, small_teacher):
    def build(**objectives):
        return TahoeDistillModel(student_spec, str(small_teacher), objectives or {"cosine": 1.0})

    return build


def test_loaders_that_give_everything_pass(model, loader):
    objectives = {"expression": 1.0, "classification": {"column": "id", "num_classes": 60}}
    given = loader(do_mlm=True, reserve_keys=["id"])
    check_loaders(model(**objectives), given, {"eval_loader": given})


@pytest.mark.parametrize(
    ("objectives", "collator", "message"),
    [
        ({"expression": 1.0}, {}, "model.objectives.expression predicts masked genes, and train_loader masks none"),
        (
            {"classification": {"column": "id", "num_classes": 60}},
            {},
            "reads the column 'id', which train_loader does not pass on: add it to train_loader.collator.reserve_keys",
        ),
        (
            {"classification": {"column": "drug", "num_classes": 3}},
            {},
            "reads the column 'drug', which the shards of train_loader do not have .*: prepare them with --keep drug",
        ),
        ({"cosine": 1.0}, {"num_bins": 21}, "train_loader.collator.num_bins is 21, the model's is 51"),
    ],
)
def test_what_is_missing_is_named(model, loader, objectives, collator, message):
    with pytest.raises(ValueError, match=message):
        check_loaders(model(**objectives), loader(**collator), {})


def test_an_evaluation_is_checked_too(model, loader):
    with pytest.raises(ValueError, match="eval_loader masks none"):
        check_loaders(model(expression=1.0), loader(do_mlm=True), {"eval_loader": loader()})


def test_another_vocabulary_is_refused(model, loader, small_vocab):
    given = loader()
    given.collate_fn.vocab = type(small_vocab)({**small_vocab.tokens, "ENSG99999999999": len(small_vocab)})
    with pytest.raises(ValueError, match=r"another vocabulary \(44 tokens\) than the model \(43 tokens\)"):
        check_loaders(model(), given, {})


def test_other_loaders_are_left_alone(model, batch):
    check_loaders(model(expression=1.0), DataLoader([batch], batch_size=None), {})
