"""A model as a release: it loads back, appears whole or not at all, and holds nothing foreign to the format."""

import pytest
import torch

from tahoe_distill import GeneVocab, Tx1Config, Tx1Processor, load_teacher
from tahoe_distill.teacher import write_release
from tahoe_distill.teacher.release import RELEASE_FILES
from tests.helpers.tiny_student import randomised

VOCAB = GeneVocab({"<pad>": 0, "<cls>": 1, "<eoc>": 2, "<drug>": 3, "ENSG00000000001": 4, "ENSG00000000002": 5})


def small(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "context_length": 9}
    return randomised(Tx1Config(**{**sizes, **changes}), 0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_glu": True, "hidden_act": "gelu", "intermediate_size": 12, "masked_attention": True},
        {
            "mvc_head": False,
            "mvc_scaled": False,
            "gene_norm": False,
            "value_norm": False,
            "max_value": 10.5,
            "layer_norm_eps": 1e-6,
        },
        {"pooling": "avg-pool", "expression_head_layers": 0, "standard_scale_outputs": True, "num_bins": 11},
    ],
)
def test_written_release_loads_back(tmp_path, changes):
    model = small(**changes)
    processor = Tx1Processor(VOCAB, max_length=9, num_bins=changes.get("num_bins", 51), right_binning=True)
    write_release.write_release(model, processor, tmp_path / "70m-model")
    assert {path.name for path in (tmp_path / "70m-model").iterdir()} == set(RELEASE_FILES)
    teacher = load_teacher(tmp_path, size="70m")
    expected, found = model.state_dict(), teacher.model.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    ours, theirs = model.config.to_dict(), teacher.model.config.to_dict()
    assert {name: theirs[name] for name in ours if name in Tx1Config().to_dict()} == {
        name: ours[name] for name in ours if name in Tx1Config().to_dict()
    }
    assert teacher.processor.to_dict() == processor.to_dict()


@pytest.mark.parametrize(
    "changes", [{"projection_dim": 4}, {"gene_rank": 2}, {"pooling": "max"}, {"expression_head_layers": None}]
)
def test_models_that_the_format_cannot_hold(tmp_path, changes):
    with pytest.raises(ValueError, match=f"cannot hold {next(iter(changes))}="):
        write_release.write_release(small(**changes), Tx1Processor(VOCAB), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_processor_of_another_model(tmp_path):
    with pytest.raises(ValueError, match="vocabulary has 6 tokens, but the model's table 5 rows"):
        write_release.write_release(small(vocab_size=5), Tx1Processor(VOCAB), tmp_path / "out")
    with pytest.raises(ValueError, match="use_chem_token=True, but the model num_drugs=None"):
        write_release.write_release(small(), Tx1Processor(VOCAB, use_chem_token=True), tmp_path / "out")


def test_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="exists"):
        write_release.write_release(small(), Tx1Processor(VOCAB), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(write_release, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        write_release.write_release(small(), Tx1Processor(VOCAB), tmp_path / "out")
    assert not list(tmp_path.iterdir())
