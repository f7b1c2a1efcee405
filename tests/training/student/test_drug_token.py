"""A teacher with a drug token: students with it and without, what each sees, and what is refused."""

import json

import numpy as np
import pytest
import torch

from tahoe_distill.data import Tx1Collator, prepare_shards
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.teacher.write_release import write_release
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.caching import write_cache
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers.in_process import train
from tests.helpers.tiny_student import randomised

DRUGS = {"<pad>": 0, "DMSO": 1, "aspirin": 2}
OBJECTIVES = {"cosine": 1.0, "gene": 1.0, "hidden": {"layer_map": [[1, 2]]}, "expression": {"alpha": 0.5}}
STUDENT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
# A student's settings by what it shares with its teacher; the last one takes weights.
STUDENTS = {
    "without": {},
    "with": {"drug_token": True},
    "pruned": {"drug_token": True, "genes": True},
    "pruned without": {"genes": True},
    "started": {"drug_token": True, "init": "teacher", "hidden_size": 16},
}


@pytest.fixture(scope="module")
def vocab():
    genes = [f"ENSG{number:011d}" for number in range(1, 41)]
    return GeneVocab({token: number for number, token in enumerate(["<pad>", "<cls>", "<eoc>", "<drug>", *genes])})


@pytest.fixture(scope="module")
def teacher(vocab, tmp_path_factory):
    """Folder of a tiny teacher with a drug token."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "context_length": 32}
    drugs = {"num_drugs": 3, "drug_fingerprint_dim": 5, "drug_token_id": vocab["<drug>"], "drug_act": "gelu"}
    folder = tmp_path_factory.mktemp("drugs") / "release"
    processor = Tx1Processor(vocab, max_length=32, use_chem_token=True, drug_to_id=DRUGS)
    write_release(randomised(Tx1Config(vocab_size=len(vocab), **sizes, **drugs), 0.1), processor, folder)
    return folder


@pytest.fixture(scope="module")
def cells(small_cells):
    """Cells with a drug column that express none of the last ten genes."""
    cells = small_cells[:, :30].copy()
    cells.obs["drug"] = ["aspirin", "DMSO", "unheard of"] * 20
    return cells


@pytest.fixture(scope="module")
def shards(cells, vocab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drug_cells")
    cells.write_h5ad(folder / "cells.h5ad")
    prepare_shards([folder / "cells.h5ad"], folder / "set", vocab, val_fraction=0, keep=["drug"])
    return folder / "set" / "train"


@pytest.fixture
def load(cells, vocab, tmp_path):
    """A function that collates six cells."""
    samples = []
    for counts, drug in zip(cells.X[:6].toarray(), cells.obs["drug"]):
        tokens = np.concatenate([[vocab["<cls>"]], np.flatnonzero(counts) + 4])
        samples.append({"genes": tokens, "expressions": np.append(-2.0, counts[counts > 0]), "drug": drug})

    def batch(**options):
        (tmp_path / "drugs.json").write_text(json.dumps(DRUGS))
        chem = {"use_chem_token": True, "keep_first_n_tokens": 2, "drug_to_id_path": str(tmp_path / "drugs.json")}
        options = {"max_length": 24, "mlm_probability": 0.4, "deterministic": True, **chem, **options}
        return Tx1Collator(vocab, **options)(samples)

    return batch


@pytest.fixture
def build(teacher, shards):
    """A function that builds a model around a student of these settings."""

    def model(use_chem=True, objectives=OBJECTIVES, **settings):
        genes = {"genes": str(shards)} if settings.pop("genes", False) else {}
        student = {**STUDENT, **settings, **genes}
        return TahoeDistillModel(student, {"source": str(teacher), "use_chem": use_chem}, objectives)

    return model


@pytest.mark.parametrize("settings", STUDENTS.values(), ids=STUDENTS)
@pytest.mark.parametrize("collator", [{}, {"student_max_length": 12}], ids=["whole", "short"])
def test_gradients_reach_all_that_is_trained(build, load, settings, collator):
    model, batch = build(**settings), load(**collator)
    model.train()
    losses = model.loss(model(batch), batch)
    losses["total"].backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(losses[name] > 0 for name in OBJECTIVES)
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_teacher_sees_the_drug_and_a_student_without_it_does_not(build, load):
    model, batch = build(objectives={"cosine": 1.0}).eval(), load(do_mlm=False)
    outputs = model(batch)
    assert (outputs["teacher"].gene_ids[:, 1] == 3).all()
    assert not (outputs["student"].gene_ids == 3).any()
    assert torch.equal(outputs["student"].gene_ids[:, 1:], batch["gene"][:, 2:])
    bare = load(do_mlm=False, use_chem_token=False, keep_first_n_tokens=1, drug_to_id_path=None, max_length=23)
    torch.testing.assert_close(outputs["student"].cell, model.student(bare["gene"], bare["expr_target"]).pooler_output)
    other = model({**batch, "drug_ids": (batch["drug_ids"] + 1) % 3})
    assert torch.equal(other["student"].cell, outputs["student"].cell)
    assert not torch.allclose(other["teacher"].cell, outputs["teacher"].cell)


def test_a_student_with_the_token_sees_the_drug(build, load):
    model, batch = build(drug_token=True, objectives={"cosine": 1.0}).eval(), load(do_mlm=False)
    first, other = model(batch), model({**batch, "drug_ids": (batch["drug_ids"] + 1) % 3})
    assert not torch.allclose(first["student"].cell, other["student"].cell)


def test_fingerprints_are_the_teachers_and_frozen(build):
    model = build(drug_token=True)
    config, theirs = model.student.config, model.teacher.model.config
    for name in ("num_drugs", "drug_fingerprint_dim", "drug_token_id", "drug_act"):
        assert getattr(config, name) == getattr(theirs, name)
    fingerprints = model.student.chem_encoder.embedding.weight
    assert torch.equal(fingerprints, model.teacher.model.chem_encoder.embedding.weight)
    frozen = [name for name, p in model.student.chem_encoder.named_parameters() if not p.requires_grad]
    assert frozen == ["embedding.weight"]


def test_first_weights_include_the_chemical_encoder(build):
    model = build(drug_token=True, init="teacher", hidden_size=16)
    theirs = model.teacher.model.chem_encoder.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.student.chem_encoder.state_dict().items())


def test_a_pruned_student_has_the_drug_under_its_own_number(build, vocab, tmp_path):
    (tmp_path / "genes.txt").write_text("ENSG00000000002")
    tokens = {"ENSG00000000001": 0, "<drug>": 7, "ENSG00000000002": 8, "<cls>": 11, "<pad>": 20}
    processor = Tx1Processor(GeneVocab(tokens), use_chem_token=True)
    config = Tx1Config(**{**STUDENT, "vocab_size": 21, "num_drugs": 3, "drug_fingerprint_dim": 5})
    model = randomised(config, 0.1)
    write_release(model, processor, tmp_path / "release")
    pruned = TahoeDistillModel(
        {**STUDENT, "drug_token": True, "genes": str(tmp_path / "genes.txt")},
        {"source": str(tmp_path / "release"), "use_chem": True},
    )
    config = pruned.student.config
    assert pruned.student_vocab.tokens == {"<drug>": 0, "ENSG00000000002": 1, "<cls>": 2, "<pad>": 3}
    assert (config.drug_token_id, config.cls_token_id, config.pad_token_id, config.vocab_size) == (0, 2, 3, 4)


@pytest.mark.parametrize("name", ["without", "with", "pruned", "pruned without"])
def test_exports_load_alone_and_know_the_drugs(build, tmp_path, name):
    model = build(**STUDENTS[name], objectives={"cosine": 1.0}).eval()
    processor = model.make_processor()
    write_model_folder(model.student, processor, tmp_path / "hf")
    loaded = Tx1Processor.from_pretrained(tmp_path / "hf")
    has_token = "without" not in name
    assert loaded.use_chem_token == has_token
    assert loaded.drug_to_id == (DRUGS if has_token else None)
    tokens, values = loaded.encode([loaded.vocab["ENSG00000000007"]], [3.0])
    batch = dict(loaded.pad([(tokens, values)], [2] if has_token else None))
    exported = Tx1Model.from_pretrained(tmp_path / "hf").eval()
    assert len(tokens) == (3 if has_token else 2)
    torch.testing.assert_close(exported(**batch).pooler_output, model.student(**batch).pooler_output)


def test_exports_know_the_drugs_of_the_run_where_the_teacher_has_no_names(build):
    model = build(drug_token=True)
    model.teacher.processor.drug_to_id = None
    assert model.make_processor(drug_to_id=DRUGS).drug_to_id == DRUGS
    assert build().make_processor(drug_to_id=DRUGS).drug_to_id is None


def test_carries_on_with_the_fingerprints_of_the_export(build, teacher, load, tmp_path):
    first = build(drug_token=True)
    write_model_folder(first.student, first.make_processor(), tmp_path / "hf")
    second = TahoeDistillModel(
        {"path": str(tmp_path / "hf")}, {"source": str(teacher), "use_chem": True}, {"cosine": 1.0}
    ).train()
    fingerprints = second.student.chem_encoder.embedding.weight
    assert torch.equal(fingerprints, first.student.chem_encoder.embedding.weight)
    assert not fingerprints.requires_grad
    batch = load(do_mlm=False)
    second.loss(second(batch), batch)["total"].backward()
    assert [name for name, p in second.named_parameters() if p.requires_grad and p.grad is None] == []


def test_batches_that_do_not_fit_the_models_are_refused(build, load):
    bare = load(use_chem_token=False, keep_first_n_tokens=1, drug_to_id_path=None)
    with pytest.raises(ValueError, match="the teacher read a drug token, and the batch has no drug_ids: give the load"):
        build()(bare)
    with pytest.raises(ValueError, match="the student and the teacher read a drug token"):
        build(drug_token=True)(bare)
    with pytest.raises(ValueError, match="the batch has a drug token, which the teacher would read as a gene"):
        build(use_chem=False)(load())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"use_chem": False, "drug_token": True},
            "there is no teacher with a drug token; load one that has it with mod",
        ),
        ({"num_drugs": 3}, "model.student.num_drugs is the teacher's; remove it and give drug_token: true"),
        ({"drug_token": "yes"}, "drug_token must be true or false; found 'yes'"),
    ],
)
def test_wrong_settings_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_a_whole_run_exports_the_names_of_its_drugs(run_config, teacher, shards, tmp_path):
    (tmp_path / "drugs.json").write_text(json.dumps({**DRUGS, "of this run": 1}))
    chem = {"use_chem_token": True, "keep_first_n_tokens": 2, "drug_to_id_path": str(tmp_path / "drugs.json")}
    run_config["model"].update(
        teacher={"source": str(teacher), "use_chem": True}, student={**STUDENT, "drug_token": True}
    )
    for loader in (run_config["train_loader"], run_config["eval_loader"]):
        loader["dataset"]["local"] = str(shards)
        loader["collator"].update(chem)
    train(run_config, tmp_path / "run.yaml", "max_duration=2ba", "callbacks.hf_student.verify=false")
    processor = Tx1Processor.from_pretrained(tmp_path / "hf")
    assert processor.use_chem_token
    assert processor.drug_to_id["of this run"] == 1


@pytest.mark.parametrize("name", ["without", "pruned without"])
def test_a_cache_of_the_teacher_gives_the_same_losses(build, teacher, shards, tmp_path, name):
    objectives = {"cosine": 1.0, "expression": {"alpha": 0.5}}
    (tmp_path / "drugs.json").write_text(json.dumps(DRUGS))
    drugs = {"use_chem_token": True, "keep_first_n_tokens": 2, "drug_to_id_path": str(tmp_path / "drugs.json")}
    dataset = {"local": str(shards), "shuffle": False, "num_canonical_nodes": 1}
    loader = {"dataset": dataset, "collator": {"max_length": 24, **drugs}, "num_workers": 0}
    live = build(objectives=objectives, **STUDENTS[name]).eval()
    source = {"source": str(teacher), "use_chem": True}
    run = {"model": {"student": STUDENT, "teacher": source, "objectives": objectives}, "train_loader": loader}
    write_cache(run, tmp_path / "cache", precision="float32", progress=False)
    genes = {"genes": str(shards)} if "pruned" in name else {}
    spec = {**STUDENT, **genes}
    cached = TahoeDistillModel(spec, {**source, "cache": str(tmp_path / "cache")}, objectives).eval()
    cached.load_state_dict(live.state_dict())
    loaders = [
        build_tahoe_mds_dataloader(**loader, device_batch_size=8, cache=cache).dataloader
        for cache in (None, str(tmp_path / "cache/train"))
    ]
    check_loaders(cached, loaders[1], {})
    for one, other in zip(*loaders, strict=True):
        expected = live.loss(live(one), one)
        for term, value in cached.loss(cached(other), other).items():
            torch.testing.assert_close(value, expected[term])
