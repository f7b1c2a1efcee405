"""Runs whose checkpoints and students go to an object store, and that carry on from it on a fresh machine."""

import json

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.training.callbacks.hf_student import HFStudentCallback
from tahoe_distill.training.resume.kept_remotely import SentCheckpoints, take_newest
from tahoe_distill.training.resume.preflight import SaveSettings
from tests.helpers import HELPERS
from tests.helpers.s3_server import new_bucket, s3_server, use_s3
from tests.helpers.whole_runs import weights

pytest.importorskip("moto.server", reason="needs moto[server]")


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(endpoint, monkeypatch, tmp_path):
    """An empty bucket, and the environment of a user with credentials for it."""
    use_s3(endpoint, monkeypatch, tmp_path)
    return new_bucket(endpoint)


@pytest.fixture
def place(bucket):
    return f"s3://{bucket.name}/runs/x"


def stored(bucket):
    return {entry.key.removeprefix("runs/x/") for entry in bucket.objects.all()}


def test_a_run_whose_machine_was_taken_away_carries_on_from_the_store(runs, run_config, bucket, place, tmp_path):
    config = {
        **run_config,
        "save_folder": f"{place}/checkpoints",
        "save_interval": "100ba",
        "save_overwrite": True,
        "autoresume": True,
        "callbacks": {"hf_student": {"folder": f"{place}/hf", "verify": False}, "kill_at": {"plan": "plan.json"}},
        "code_paths": [str(HELPERS / "kill_at.py")],
    }
    first, second, student = tmp_path / "first", tmp_path / "second", tmp_path / "student"
    first.mkdir()
    (first / "plan.json").write_text(json.dumps([("told", 3)]))
    code, output = runs.distill(first, config)
    assert code == 75, output
    assert f"the run ended after batch 4, and its checkpoint is in {place}/checkpoints" in output
    checkpoint = {"checkpoints/ep0-ba4-rank0.pt", "checkpoints/latest-rank0.pt.symlink"}
    assert stored(bucket) == {"checkpoints/.writable", *checkpoint}
    second.mkdir()
    code, output = runs.distill(second, config)
    assert code == 0, output
    assert "carrying on after batch 4" in output and f"student to {place}/hf, checkpoints in {place}" in output
    assert f"fetch it: tahoe-distill copy {place}/hf runs/x/hf" in output
    assert main(["copy", f"{place}/hf", str(student)]) == 0
    assert weights(student).keys() == weights(second / "runs/x/hf").keys()


@pytest.fixture
def settings(tmp_path):
    """Where checkpoints lie on this disk."""
    config = {"save_folder": str(tmp_path / "machine"), "run_name": "x", "autoresume": True}
    return SaveSettings.from_config(config)


def written(folder, name, content=b"PK\x05\x06" + bytes(18)):
    """A checkpoint file; an empty archive is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.fixture
def sent(place, settings, tmp_path):
    """Sends checkpoints of another machine."""
    sender = SentCheckpoints(place, settings.latest)
    return lambda name: sender.send(written(tmp_path / "other", name))


def linked(settings):
    return (settings.folder / settings.latest).resolve().name


def test_the_newest_of_a_store_counts_before_an_older_one_here(sent, place, settings):
    (settings.folder).mkdir()
    (settings.folder / settings.latest).symlink_to(written(settings.folder, "ep0-ba3-rank0.pt").name)
    sent("ep0-ba5-rank0.pt")
    take_newest(place, settings)
    assert linked(settings) == "ep0-ba5-rank0.pt"
    assert not list(settings.folder.glob("*.partial"))


def test_a_newer_one_here_counts_before_that_of_the_store(sent, place, settings):
    sent("ep0-ba5-rank0.pt")
    (settings.folder).mkdir()
    (settings.folder / settings.latest).symlink_to(written(settings.folder, "ep1-ba7-rank0.pt").name)
    take_newest(place, settings)
    assert linked(settings) == "ep1-ba7-rank0.pt"


def test_a_folder_of_shares_comes_back_whole(bucket, place, tmp_path):
    sender = SentCheckpoints(place, "latest-sharded-rank0")
    written(tmp_path / "other/ep0-ba5", ".metadata", b"metadata")
    sender.send(written(tmp_path / "other/ep0-ba5", "__0_0.distcp", b"share"))
    assert stored(bucket) == {"ep0-ba5/.metadata", "ep0-ba5/__0_0.distcp", "latest-sharded-rank0.symlink"}
    config = {
        "save_folder": str(tmp_path / "machine"),
        "autoresume": True,
        "fsdp_config": {"state_dict_type": "sharded"},
    }
    settings = SaveSettings.from_config(config, 2)
    take_newest(place, settings)
    assert linked(settings) == "ep0-ba5"
    assert (settings.folder / "ep0-ba5/__0_0.distcp").read_bytes() == b"share"


def test_a_run_afresh_takes_nothing(sent, place, settings):
    sent("ep0-ba5-rank0.pt")
    take_newest(place, SaveSettings(settings.folder, settings.latest, "x", sharded=False, resumes=False))
    assert not settings.folder.exists()


def test_a_store_that_takes_nothing_is_told_at_the_start(endpoint, monkeypatch, settings, tmp_path):
    use_s3(endpoint, monkeypatch, tmp_path)
    with pytest.raises(OSError, match=r"s3://nobodys/x/.writable cannot be written \(.*is it yours to write to"):
        take_newest("s3://nobodys/x", settings)


def test_a_checkpoint_that_cannot_be_sent_is_told_and_ends_nothing(endpoint, monkeypatch, tmp_path, caplog):
    use_s3(endpoint, monkeypatch, tmp_path)
    SentCheckpoints("s3://nobodys/x", "latest-rank0.pt").send(written(tmp_path, "ep0-ba5-rank0.pt"))
    assert "this checkpoint is on this disk alone: s3://nobodys/x/ep0-ba5-rank0.pt cannot be written" in caplog.text


def test_a_student_of_another_run_in_the_store_is_in_the_way(bucket, place):
    HFStudentCallback({}, f"{place}/hf")
    bucket.put_object(Key="runs/x/hf/training_hyperparameters.json", Body=b"{}")
    with pytest.raises(FileExistsError, match=f"{place}/hf exists already"):
        HFStudentCallback({}, f"{place}/hf")


def test_copying_what_is_no_student_or_cache_is_refused(place, tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    for arguments, message in [
        ((f"{place}/none", tmp_path / "here"), "none: found 0 files, expected an exported student"),
        ((tmp_path / "notes", f"{place}/notes"), "notes: found 0 files, expected an exported student"),
        ((tmp_path, tmp_path / "here"), "are both on this disk; expected one of them in a store"),
    ]:
        assert main(["copy", *map(str, arguments)]) == 1
        assert message in capsys.readouterr().err
