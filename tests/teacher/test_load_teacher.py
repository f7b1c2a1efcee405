"""Loading: every kind of source, strict weights, frozen result, clear refusals."""

import json
import shutil

import pytest
import torch
import yaml
from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from tahoe_distill import Tx1Processor, load_teacher
from tahoe_distill.teacher import download, sources


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def edit_yaml(path, **changes):
    settings = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in settings.items() if value is not ...}))


def test_release_loads_bit_for_bit_and_frozen(release, model, vocab):
    teacher = load_teacher(release)
    assert same(teacher.model.state_dict(), model.state_dict())
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert teacher.processor.vocab.tokens == vocab.tokens and teacher.processor.max_length == 12
    assert teacher.source == str(release) and len(teacher.fingerprint) == 64
    assert teacher.model.config._attn_implementation == "sdpa"
    batch = teacher.processor.pad([teacher.processor.encode([5, 6, 7], [1.0, 4.0, 2.0])])
    assert torch.equal(teacher.model(**batch).pooler_output, model(**batch).pooler_output)


def test_attention_and_device(release):
    teacher = load_teacher(release, attn_implementation="eager", device="cpu")
    assert teacher.model.config._attn_implementation == "eager" and teacher.model.device.type == "cpu"


def test_sizes(tmp_path, release):
    store = tmp_path / "store"
    store.mkdir()
    shutil.copytree(release, store / "70m-model")
    assert load_teacher(store).fingerprint == load_teacher(store, size="70m").fingerprint
    shutil.copytree(release, store / "1b-model")
    with pytest.raises(ValueError, match="no size was given; found the sizes 1b, 70m"):
        load_teacher(store)
    with pytest.raises(ValueError, match="found no size '3b'; found the sizes 1b, 70m"):
        load_teacher(store, size="3b")


def test_weights_that_do_not_fit_are_all_named(release, edit_weights):
    edit_weights(
        release,
        model__flag_encoder__weight=None,
        model__gene_encoder__enc_norm__bias=None,
        model__extra__weight=torch.zeros(2),
        model__mvc_decoder__W__weight=torch.zeros(8, 9),
    )
    with pytest.raises(ValueError) as error:
        load_teacher(release)
    for part in (
        "missing flag_encoder.weight (2, 8)",
        "missing gene_encoder.enc_norm.bias (8,)",
        "unexpected extra.weight (2,)",
        "mvc_decoder.W.weight has shape (8, 9), expected (8, 8)",
        str(release),
    ):
        assert part in str(error.value)


def test_foreign_tensor_names(release, edit_weights):
    edit_weights(release, stray=torch.zeros(1))
    with pytest.raises(ValueError, match="'stray'; the tensors of a Tahoe-x1 release start with 'model.'"):
        load_teacher(release)


@pytest.mark.parametrize("name", ["vocab.json", "model_config.yml", "collator_config.yml", "model.safetensors"])
def test_missing_file_is_named(release, name):
    (release / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {name};"):
        load_teacher(release)


def test_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match="pass a Tahoe-x1 release"):
        load_teacher(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="expected model_type 'tx1', found 'bert'"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("source", ["nowhere", "/no/such/place", "./a/b", "a/b/c"])
def test_unknown_source(source):
    with pytest.raises(FileNotFoundError, match="no such teacher; expected a release folder.*tx1-nano"):
        load_teacher(source)


def test_unreadable_files(release):
    (release / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="expected safetensors.*git lfs pull"):
        load_teacher(release)
    (release / "model_config.yml").write_text("{")
    with pytest.raises(ValueError, match="model_config.yml: expected YAML"):
        load_teacher(release)


def test_fingerprint(release, edit_weights):
    before = load_teacher(release).fingerprint
    assert load_teacher(release).fingerprint == before
    tokens = json.loads((release / "vocab.json").read_text())
    tokens["ENSGX"] = tokens.pop("ENSG00000000000")
    (release / "vocab.json").write_text(json.dumps(tokens))
    renamed = load_teacher(release).fingerprint
    edit_weights(release, model__flag_encoder__weight=torch.zeros(2, 8))
    assert len({before, renamed, load_teacher(release).fingerprint}) == 3


def test_drug_release_with_and_without_the_drug(drug_release, drug_model):
    teacher = load_teacher(drug_release, use_chem=True)
    assert same(teacher.model.state_dict(), drug_model.state_dict())
    assert teacher.processor.special_tokens == [1, 3]
    assert teacher.processor.drug_to_id == {"<pad>": 0, "aspirin": 1, "taxol": 2}
    plain = load_teacher(drug_release)
    state = {name: tensor for name, tensor in drug_model.state_dict().items() if not name.startswith("chem_encoder.")}
    assert same(plain.model.state_dict(), state)
    assert plain.processor.special_tokens == [1] and plain.processor.drug_to_id is None
    assert plain.fingerprint != teacher.fingerprint


def test_only_the_chemical_encoder_is_left_out(drug_release, release, edit_weights):
    edit_weights(drug_release, model__chemistry__weight=torch.zeros(1))
    with pytest.raises(ValueError, match=r"unexpected chemistry.weight \(1,\)"):
        load_teacher(drug_release)
    edit_weights(release, model__chem_encoder__fc__bias=torch.zeros(1))
    with pytest.raises(ValueError, match="unexpected chem_encoder.fc.bias"):
        load_teacher(release)


def test_size_of_the_drug_table_from_the_tensors(drug_release, drug_model):
    """The published 3b settings name a fingerprint file that the release does not hold."""
    encoder = {"drug_fps_path": {"remote": "s3://a/b.npy", "local": "b.npy"}, "activation": "gelu", "padding_idx": 0}
    edit_yaml(drug_release / "model_config.yml", chemical_encoder=encoder)
    (drug_release / "drug_to_id.json").unlink()
    teacher = load_teacher(drug_release, use_chem=True)
    assert same(teacher.model.state_dict(), drug_model.state_dict())
    assert teacher.processor.drug_to_id is None


def test_drug_settings_that_cannot_be(release, drug_release, edit_weights):
    with pytest.raises(ValueError, match="this release has no chemical encoder"):
        load_teacher(release, use_chem=True)
    edit_weights(drug_release, model__chem_encoder__norm__bias=None)
    with pytest.raises(ValueError, match="missing chem_encoder.norm.bias"):
        load_teacher(drug_release, use_chem=True)
    edit_yaml(drug_release / "collator_config.yml", use_chem_token=False)
    with pytest.raises(ValueError, match="has chemical_encoder, but collator_config.yml says use_chem_token: False"):
        load_teacher(drug_release)


@pytest.mark.parametrize("shard", ["10GB", "2KB"])
def test_plain_folder(tmp_path, model, vocab, release, shard):
    model.save_pretrained(tmp_path / "plain", max_shard_size=shard)
    Tx1Processor(vocab, max_length=12).save_pretrained(tmp_path / "plain")
    teacher = load_teacher(tmp_path / "plain")
    assert same(teacher.model.state_dict(), model.state_dict())
    assert teacher.fingerprint == load_teacher(release).fingerprint
    next((tmp_path / "plain").glob("*.safetensors")).unlink()
    with pytest.raises(FileNotFoundError, match="lacks model.*safetensors"):
        load_teacher(tmp_path / "plain")


def test_plain_drug_folder(tmp_path, drug_model, model, vocab):
    drug_model.save_pretrained(tmp_path / "plain")
    Tx1Processor(vocab, max_length=12, use_chem_token=True).save_pretrained(tmp_path / "plain")
    assert same(load_teacher(tmp_path / "plain", use_chem=True).model.state_dict(), drug_model.state_dict())
    without = load_teacher(tmp_path / "plain")
    assert without.model.chem_encoder is None and without.processor.special_tokens == [1]
    assert without.model.config.num_drugs is None
    model.save_pretrained(tmp_path / "none")
    Tx1Processor(vocab, max_length=12).save_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="no chemical encoder"):
        load_teacher(tmp_path / "none", use_chem=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that stands for a hub repository, and the list of what was asked of it."""
    root, asked = tmp_path / "hub", []
    root.mkdir()

    def fetch(repository, name, revision=None, cache_dir=None):
        asked.append((repository, name, revision, cache_dir))
        if not (root / name).is_file():
            # Made without its constructor, whose arguments depend on the hub client's version.
            raise EntryNotFoundError.__new__(EntryNotFoundError)
        return str(root / name)

    class Api:
        def list_repo_files(self, repository, revision=None):
            return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]

    monkeypatch.setattr(download, "hf_hub_download", fetch)
    monkeypatch.setattr(download, "HfApi", Api)
    return root, asked


def test_hub_release(hub, release, model):
    root, asked = hub
    shutil.copytree(release, root / "70m-model")
    teacher = load_teacher("tahoebio/Tahoe-x1", size="70m", revision="abc", cache_dir="cache")
    assert same(teacher.model.state_dict(), model.state_dict()) and teacher.source == "tahoebio/Tahoe-x1"
    assert ("tahoebio/Tahoe-x1", "70m-model/model.safetensors", "abc", "cache") in asked
    with pytest.raises(FileNotFoundError, match="tahoebio/Tahoe-x1 has no 9b-model/vocab.json"):
        load_teacher("tahoebio/Tahoe-x1", size="9b")
    with pytest.raises(ValueError, match="no size was given; found the sizes 70m"):
        load_teacher("tahoebio/Tahoe-x1")


def test_hub_drug_release(hub, drug_release):
    root, _ = hub
    shutil.copytree(drug_release, root / "3b-model")
    assert load_teacher("a/b", size="3b", use_chem=True).processor.drug_to_id["taxol"] == 2
    (root / "3b-model" / "drug_to_id.json").unlink()
    assert load_teacher("a/b", size="3b", use_chem=True).processor.drug_to_id is None


def test_hub_plain_folder(hub, model, vocab):
    root, _ = hub
    with pytest.raises(ValueError, match="neither a Tahoe-x1 release nor a transformers folder"):
        load_teacher("a/b")
    model.save_pretrained(root)
    Tx1Processor(vocab, max_length=12).save_pretrained(root)
    assert same(load_teacher("a/b").model.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RepositoryNotFoundError, "a/b: no such folder here and no such repository on the hub"),
        (LocalEntryNotFoundError, "vocab.json is not in the cache and the hub was not reached"),
    ],
)
def test_hub_that_does_not_answer(monkeypatch, error, message):
    def fail(*arguments, **options):
        raise error.__new__(error)

    monkeypatch.setattr(download, "hf_hub_download", fail)
    with pytest.raises(FileNotFoundError, match=message):
        load_teacher("a/b", size="70m")


def test_hub_without_a_network_and_a_size(monkeypatch):
    class Api:
        def list_repo_files(self, repository, revision=None):
            raise ConnectionError("no route")

    monkeypatch.setattr(download, "HfApi", Api)
    with pytest.raises(OSError, match=r"a/b: could not ask the hub for its files \(no route\); pass size, or a folder"):
        load_teacher("a/b")


def test_clone_of_a_repository_with_a_foreign_config(tmp_path, release):
    shutil.copytree(release, tmp_path / "clone" / "70m-model")
    (tmp_path / "clone" / "config.json").write_text('{"model_type": "tahoe"}')
    assert load_teacher(tmp_path / "clone", size="70m").model.config.hidden_size == 8


def test_built_in_name(monkeypatch, release, model):
    monkeypatch.setitem(sources.BUILT_IN, "tx1-nano", release)
    teacher = load_teacher("tx1-nano")
    assert same(teacher.model.state_dict(), model.state_dict()) and teacher.source == "tx1-nano"


@pytest.mark.skipif(not sources.BUILT_IN["tx1-nano"].is_dir(), reason="tx1-nano has no weights yet")
def test_nano_is_shipped():
    teacher = load_teacher("tx1-nano")
    assert teacher.model.num_parameters() > 0 and "<cls>" in teacher.processor.vocab


def test_another_size_than_the_folder_holds_is_refused(small_teacher):
    with pytest.raises(ValueError, match="holds a model 16 wide with 2 layers, but size 3b is 2560 wide with 32"):
        load_teacher(small_teacher, "3b")
