"""A hub id with a revision loads that version, wherever a model is named."""

import pytest
import torch

from tahoe_distill.embedding import load_student
from tahoe_distill.embedding.loading import split_revision
from tahoe_distill.hub.push import push_folder


def test_each_revision_is_its_own_model(hub, write_student, monkeypatch):
    # Read from the environment when transformers was imported.
    monkeypatch.setattr("transformers.utils.hub._is_offline_mode", False)
    first, second = write_student("one", seed=1), write_student("two", seed=2)
    push_folder(first, "me/student")
    push_folder(second, "me/student")
    commit = hub.repositories["me/student"].commits[-2][0]
    weights = [load_student(source)[0].gene_encoder.embedding.weight for source in (first, second)]
    old, new = (load_student(f"me/student@{at}")[0].gene_encoder.embedding.weight for at in (commit, "main"))
    assert not torch.equal(*weights)
    assert torch.equal(old, weights[0]) and torch.equal(new, weights[1])


def test_folders_may_have_an_at_in_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b").mkdir()
    assert split_revision("a@b") == ("a@b", None)
    assert split_revision("me/student@v1") == ("me/student", "v1")
    with pytest.raises(ValueError, match="expected a hub id and a revision"):
        split_revision("me/student@")
