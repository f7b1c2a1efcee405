"""A run that trains a classifier beside its student: whose probe, and the head that is exported."""

import numpy as np
import pytest
import torch

from tahoe_distill.annotation.annotate import load_classifier
from tahoe_distill.hub.checklist import failed_checks
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.heads import with_head
from tahoe_distill.probes import PROBE_FILE, Probe
from tahoe_distill.teacher import load_teacher
from tahoe_distill.training.classifier import gather_head
from tahoe_distill.training.model import TahoeDistillModel


@pytest.fixture
def probe(small_teacher, tmp_path):
    """Folder of a probe on the small teacher."""
    rng = np.random.default_rng(0)
    coef, intercept = rng.normal(size=(3, 16)), rng.normal(size=3)
    found = load_teacher(small_teacher).fingerprint
    labels = ("kind0", "kind1", "kind2")
    (tmp_path / "probe").mkdir()
    Probe(coef.astype(np.float32), intercept.astype(np.float32), labels, 1.5, found).save_into(tmp_path / "probe")
    return tmp_path / "probe"


def test_every_parameter_learns_and_the_head_is_exported(small_teacher, student_spec, probe, batch, tmp_path):
    objectives = {"cosine": 1.0, "kl": {"probe": str(probe), "tau": 2.0, "alpha": 0.5, "labels_column": "kind"}}
    model = TahoeDistillModel(student_spec, str(small_teacher), objectives).train()
    batch = {**batch, "kind": ["kind0", "kind2", "kind1", "?"]}
    model.loss(model(batch), batch)["total"].backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    head = gather_head(model.objectives)
    classifier = with_head(model.student.eval(), head)
    assert classifier.config.id2label == {0: "kind0", 1: "kind1", 2: "kind2"}
    with torch.no_grad():
        found = classifier(batch["gene"], batch["expr_target"]).logits
        cell = model.student(batch["gene"], batch["expr_target"]).pooler_output
    np.testing.assert_allclose(found.numpy(), head.logits(cell.numpy()), atol=1e-5)
    write_model_folder(classifier, model.make_processor(), tmp_path / "hf", extra_files={PROBE_FILE: head.to_text()})
    problems = failed_checks(tmp_path / "hf")
    assert not {"weights", "code", "config", "stray files"} & set(problems), problems
    _, own = load_classifier(tmp_path / "hf")
    np.testing.assert_allclose(own.logits(cell.numpy()), found.numpy(), atol=1e-5)


def test_a_run_without_a_probe_has_no_head(small_teacher, student_spec):
    assert gather_head(TahoeDistillModel(student_spec, str(small_teacher)).objectives) is None


def test_a_probe_of_another_teacher_is_refused(small_teacher, student_spec, probe):
    path = probe / PROBE_FILE
    path.write_text(path.read_text().replace(load_teacher(small_teacher).fingerprint, "0" * 64))
    with pytest.raises(ValueError, match="model.objectives.kl: the probe was fitted on the teacher 000000000000"):
        TahoeDistillModel(student_spec, str(small_teacher), {"kl": {"probe": str(probe)}})


def test_two_heads_are_refused(small_teacher, student_spec, probe):
    two = {"kl": {"probe": str(probe)}, "kl:again": {"probe": str(probe), "tau": 4.0}}
    with pytest.raises(ValueError, match="kl and kl:again train a head each"):
        TahoeDistillModel(student_spec, str(small_teacher), two)
