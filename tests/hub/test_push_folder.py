"""Publishing on a hub on loopback: one commit, read back in a fresh process, refusals that leave nothing behind."""

import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import HfApi
from safetensors.numpy import load, save, save_file

from tahoe_distill.cli.main import main
from tahoe_distill.hub import push
from tahoe_distill.hub.card import PLACEHOLDER
from tahoe_distill.hub.checklist import IncompleteFolderError
from tahoe_distill.hub.comparison import NotBetterError
from tahoe_distill.hub.export import GoldenMismatchError
from tahoe_distill.hub.push import check_push_settings, push_folder

REPO = "lab/student"


@pytest.fixture
def no_reload(monkeypatch):
    """Without the fresh process after the upload, which other tests pay for."""
    monkeypatch.setattr(push, "verify_published", lambda *arguments, **golden: 0.0)


def test_a_first_push_is_one_commit_read_back_by_its_id(hub, write_student):
    folder = write_student()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = push_folder(folder, REPO)
    assert [sha for sha, _ in hub.repositories[REPO].commits][1:] == [report.revision]
    assert report.difference <= 1e-5
    assert f"GET /{REPO}/resolve/{report.revision}/model.safetensors" in hub.requests
    files = hub.files(REPO)
    assert set(files) == {*report.files, ".gitattributes"} >= {"golden.json", "modeling_tx1.py"}
    card = files["README.md"].decode()
    assert f'from_pretrained("{REPO}", trust_remote_code=True)' in card
    assert PLACEHOLDER not in card
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_command_publishes_a_better_version_and_refuses_a_worse_one(hub, write_student, no_reload, capsys):
    push_folder(write_student(), REPO)
    better = write_student("better", seed=1, **{"eval/cosine": 0.95})
    arguments = ["push", str(better), REPO, "--only-if-better", "cosine"]
    command = [sys.executable, "-m", "tahoe_distill.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden vectors within" in done.stdout
    files = hub.files(REPO)
    assert "| eval/cosine | 0.9000 | 0.9500 | better |" in files["README.md"].decode()
    worse = write_student("worse", seed=2, **{"eval/cosine": 0.94})
    assert main(["push", str(worse), *arguments[2:]]) == 1
    error = capsys.readouterr().err
    assert "eval/cosine is 0.94 here and 0.95 there, and higher is better" in error
    assert "Traceback" not in error
    assert len(hub.repositories[REPO].commits) == 3


def test_an_equal_loss_is_not_better(hub, write_student, no_reload):
    folder = write_student()
    push_folder(folder, REPO)
    with pytest.raises(NotBetterError, match="eval/loss is 0.25 here and 0.25 there, and lower is better"):
        push_folder(folder, REPO, only_if_better="eval/loss")


def test_a_store_that_changes_weights_is_noticed(hub, write_student):
    def tamper(name, content):
        if name != "model.safetensors":
            return content
        tensors = load(content)
        tensors["transformer_encoder.norm.bias"] = tensors["transformer_encoder.norm.bias"] + 0.25
        return save(tensors, metadata={"format": "pt"})

    hub.tamper = tamper
    with pytest.raises(GoldenMismatchError, match=r"revert .*: lab/student at commit \w+ gives other .*, expected"):
        push_folder(write_student(), REPO)


def test_a_folder_changed_since_its_export_is_not_uploaded(hub, write_student):
    folder = write_student()
    path = folder / "model.safetensors"
    tensors = load(path.read_bytes())
    name = "transformer_encoder.norm.bias"
    save_file({**tensors, name: tensors[name] + np.float32(0.25)}, path, metadata={"format": "pt"})
    with pytest.raises(GoldenMismatchError, match="as it is now gives other cell embeddings"):
        push_folder(folder, REPO)
    assert not hub.repositories


def test_a_repository_that_was_only_created_has_nothing_to_compare_with(hub, write_student, no_reload):
    HfApi().create_repo(REPO)
    push_folder(write_student(), REPO, only_if_better="cosine")
    assert "model.safetensors" in hub.files(REPO)


def test_a_commit_in_between_is_not_overwritten(hub, write_student, monkeypatch):
    create = HfApi.create_repo

    def create_and_commit(api, repo_id, **how):
        url = create(api, repo_id, **how)
        hub.repositories[repo_id].commit({"theirs": b""})
        return url

    HfApi().create_repo(REPO)
    monkeypatch.setattr(HfApi, "create_repo", create_and_commit)
    with pytest.raises(OSError, match="A commit has happened since"):
        push_folder(write_student(), REPO)
    assert set(hub.files(REPO)) == {"theirs"}


def test_an_incomplete_folder_never_reaches_the_hub(hub, write_student):
    folder = write_student()
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(IncompleteFolderError, match=r"\[metrics\] metrics.json is empty"):
        push_folder(folder, REPO)
    assert hub.requests == []


def test_a_dry_run_writes_nothing(hub, write_student):
    report = push_folder(write_student(), REPO, dry_run=True)
    assert report.revision is None
    assert "golden.json" in report.files
    assert not any(request.startswith(("POST", "PUT")) for request in hub.requests)


def test_private_is_honoured_and_never_silently_ignored(hub, write_student, no_reload):
    folder = write_student()
    push_folder(folder, "lab/hidden", private=True)
    assert hub.repositories["lab/hidden"].private
    push_folder(folder, REPO)
    with pytest.raises(ValueError, match="exists and is public, but a private push was asked for"):
        push_folder(folder, REPO, private=True)


def test_a_card_edited_by_hand_is_kept(hub, write_student, no_reload):
    folder = write_student()
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card + "\nWritten by hand.\n")
    push_folder(folder, REPO)
    published = hub.files(REPO)["README.md"].decode()
    assert published == card.replace(PLACEHOLDER, REPO) + "\nWritten by hand.\n"


def test_weights_of_an_earlier_version_under_another_name_are_removed(hub, write_student, no_reload):
    push_folder(write_student(), REPO)
    hub.files(REPO)["model-00001-of-00002.safetensors"] = b"old"
    hub.files(REPO)["notes.md"] = b"somebody's"
    push_folder(write_student("new", seed=1), REPO)
    assert "model-00001-of-00002.safetensors" not in hub.files(REPO)
    assert hub.files(REPO)["notes.md"] == b"somebody's"


def test_the_history_of_the_repository_says_what_was_published(hub, write_student, no_reload):
    push_folder(write_student(), REPO)
    assert hub.messages == ["Publish the student of my-student\n\neval/cosine: 0.9\neval/loss: 0.25"]


def test_the_list_of_versions_of_earlier_pushes_is_ignored_and_goes(hub, write_student, no_reload):
    push_folder(write_student(), REPO)
    hub.files(REPO)["versions.json"] = b"[]"
    folder = write_student("new", seed=1)
    (folder / "versions.json").write_text("not even JSON")
    report = push_folder(folder, REPO)
    assert "versions.json" not in {*report.files, *hub.files(REPO)}


def test_a_metric_of_ones_own_decides_by_the_mode_that_is_said(hub, write_student, no_reload, capsys):
    push_folder(write_student(**{"eval/own": 1.0}), REPO)
    lower = str(write_student("lower", seed=1, **{"eval/own": 0.5}))
    condition = ["--only-if-better", "eval/own"]
    assert main(["push", lower, REPO, *condition]) == 1
    assert "unknown metric 'own'" in capsys.readouterr().err
    assert main(["push", lower, REPO, *condition, "--mode", "max"]) == 1
    assert "eval/own is 0.5 here and 1 there, and higher is better" in capsys.readouterr().err
    assert main(["push", lower, REPO, *condition, "--mode", "min"]) == 0
    assert main(["push", lower, REPO, "--mode", "min"]) == 1
    assert "no only_if_better names the metric" in capsys.readouterr().err


def test_a_metric_that_was_not_measured_is_named(hub, write_student):
    with pytest.raises(ValueError, match="no metric named 'knn_overlap'; expected one of: eval/cosine, eval/loss"):
        push_folder(write_student(), REPO, only_if_better="knn_overlap")
    assert hub.requests == []


def test_without_a_token_the_hub_refuses(hub, write_student, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_stranger")
    with pytest.raises(OSError, match="401"):
        push_folder(write_student(), REPO)
    assert not hub.repositories


def test_an_answer_that_fails_is_not_taken_for_an_absent_file(hub, write_student, no_reload):
    folder = write_student()
    push_folder(folder, REPO)
    hub.fail = "/metrics.json"
    with pytest.raises(OSError, match="its metrics.json could not be read"):
        push_folder(folder, REPO, only_if_better="cosine")
    assert len(hub.repositories[REPO].commits) == 2


@pytest.mark.parametrize("name", ["student", "https://huggingface.co/lab/student", "lab/a/b", "lab/a b", "-lab/a"])
def test_what_is_no_repository_is_told_before_anything_is_read(hub, tmp_path, name):
    with pytest.raises(ValueError, match=r"push: .* is no repository .*; expected owner/name"):
        push_folder(tmp_path / "nothing", name)
    with pytest.raises(ValueError, match="hub.repo_id: .* is no repository"):
        check_push_settings({"repo_id": name}, "hub")


def test_nobody_signed_in_is_told_before_the_work(hub, write_student, monkeypatch):
    folder = write_student()
    monkeypatch.setattr("tahoe_distill.hub.push.get_token", lambda: None)
    with pytest.raises(PermissionError, match="hf auth login"):
        push_folder(folder, REPO)
    assert hub.requests == []
    assert push_folder(folder, REPO, dry_run=True).files
