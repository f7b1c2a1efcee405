"""The card says what was recorded, and no more."""

import pytest
import yaml
from huggingface_hub import ModelCard

from tahoe_distill.hub.card import card_of_folder, write_card
from tahoe_distill.models import Tx1Config
from tests.helpers.recorded_run import RUN

CONFIG = Tx1Config(vocab_size=100, hidden_size=8, num_hidden_layers=3, num_attention_heads=2)


def head(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_card_carries_the_recorded_facts():
    card = write_card(CONFIG, RUN, {"eval/cosine": 0.91234})
    for part in (
        "# my-student",
        "`tx1-nano`",
        "| eval/cosine | 0.9123 |",
        '| cosine | `{"weight": 1.0}` |',
        '| training | `{"remote": "s3://cells/train"}` |',
        "| max_duration | `600ba` |",
        "| vocabulary | 100 tokens |",
        "{Tahoe Therapeutics}",
    ):
        assert part in card


def test_metadata_is_a_model_index():
    metadata = head(write_card(CONFIG, RUN, {"eval/cosine": 0.91234, "eval/loss": float("nan")}))
    assert metadata["license"] == "apache-2.0"
    assert metadata["model-index"] == [
        {
            "name": "my-student",
            "results": [
                {
                    "task": {"type": "feature-extraction", "name": "Cell embedding"},
                    "dataset": {"type": "eval", "name": "eval"},
                    "metrics": [{"type": "cosine", "name": "eval/cosine", "value": 0.91234}],
                }
            ],
        }
    ]


def test_the_hubs_own_reader_understands_the_metadata():
    results = ModelCard(write_card(CONFIG, RUN, {"eval/cosine": 0.5, "pbmc/eval/loss": 0.25})).data.eval_results
    found = [(result.dataset_name, result.metric_type, result.metric_value) for result in results]
    assert found == [("eval", "cosine", 0.5), ("pbmc/eval", "loss", 0.25)]


@pytest.mark.parametrize(
    ("teacher", "licence", "base"),
    [
        ({"source": "tahoebio/Tahoe-x1", "size": "70m"}, "apache-2.0", "tahoebio/Tahoe-x1"),
        ("tx1-nano", "apache-2.0", None),
        ("models/mine", "other", None),
        (None, "other", None),
    ],
)
def test_the_licence_is_claimed_only_where_it_is_known(teacher, licence, base):
    metadata = head(write_card(CONFIG, {"model": {"teacher": teacher}}, {}))
    assert (metadata["license"], metadata.get("base_model")) == (licence, base)


def test_an_empty_record_is_admitted():
    card = write_card(CONFIG, {}, {})
    assert "None were measured" in card
    assert "Objectives: not recorded." in card
    assert "model-index" not in head(card)


def test_old_against_new():
    new = {"eval/loss": 0.25, "eval/normalized_mse": 0.2, "eval/cosine": 0.9, "eval/own": 1.0}
    old = {"eval/loss": 0.5, "eval/normalized_mse": 0.1, "eval/cosine": 0.9, "eval/own": 2.0, "eval/knn_overlap": 0.1}
    card = write_card(CONFIG, RUN, new, repo_id="lab/student", previous=old)
    assert "| eval/loss | 0.5000 | 0.2500 | better |" in card
    assert "| eval/normalized_mse | 0.1000 | 0.2000 | worse |" in card
    assert "| eval/cosine | 0.9000 | 0.9000 | equal |" in card
    assert "| eval/own | 2.0000 | 1.0000 |  |" in card
    assert "| eval/knn_overlap | 0.1000 | not measured |  |" in card


def test_the_folder_alone_gives_the_card_again(write_student):
    folder = write_student()
    assert card_of_folder(folder) == (folder / "README.md").read_text()


def test_the_card_tells_names_cells_and_what_was_decided_by_them(write_student):
    run = {
        **RUN,
        "variables": {"cells": {"training": {"cells": 441, "files": ["blood.h5ad"]}}},
        "callbacks": {"hf_student": {"best": {"metric": "eval/cosine"}}, "early_stopper": {"monitor": "knn_overlap"}},
    }
    card = write_card(CONFIG, run, {"eval/cosine": 0.5}, genes="gene symbols such as ABI1")
    for part in (
        "knows its genes as gene symbols such as ABI1",
        "- training: 441 cells of blood.h5ad",
        "the student of the best `eval/cosine` was kept and training was stopped by knn_overlap: the numbers flatter",
        "It is a toy",
    ):
        assert part in card
    assert "It is a toy" not in write_card(CONFIG, {**RUN, "model": {"teacher": "tahoebio/Tahoe-x1"}}, {})
    assert "human Ensembl ids such as ENSG" in (write_student() / "README.md").read_text()
