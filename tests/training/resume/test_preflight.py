"""What happens to the folder of checkpoints before a run starts."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from tahoe_distill.cli.defaults import merge
from tahoe_distill.training.resume.preflight import SaveSettings, prepare_run
from tests.helpers import REPOSITORY
from tests.helpers.checkpoints import cut, write_file, write_shards

CONFIGS = sorted(path for path in (REPOSITORY / "configs").rglob("*.yaml") if path.name != "base.yaml")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run that resumes from ``tmp_path/ckpt``, where batches 3 and 6 of it lie."""
    for name in ("LOCAL_RANK", "WORLD_SIZE", "RUN_NAME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "ckpt"
    folder.mkdir()
    write_file(folder, 0, 3)
    write_file(folder, 0, 6)
    os.symlink("ep0-ba6-rank0.pt", folder / "latest-rank0.pt")
    return {"save_folder": str(folder), "autoresume": True, "save_overwrite": True, "run_name": "r"}


def contents(folder):
    """Names in a folder, links with where they lead."""
    return {path.name: os.readlink(path) if path.is_symlink() else "" for path in Path(folder).iterdir()}


def prepared(config, caplog):
    """Names of the folder after the preflight, and its warnings."""
    prepare_run(config)
    return contents(config["save_folder"]), [record.getMessage() for record in caplog.records]


def test_a_folder_in_order_is_left_as_it_is(config, caplog):
    before = contents(config["save_folder"])
    assert prepared(config, caplog) == (before, [])


def test_a_newer_unfinished_file_is_removed(config, caplog):
    cut(write_file(Path(config["save_folder"]), 1, 9))
    names, warnings = prepared(config, caplog)
    assert names == {
        "ep0-ba3-rank0.pt": "",
        "ep0-ba6-rank0.pt": "",
        "latest-rank0.pt": "ep0-ba6-rank0.pt",
    }
    assert len(warnings) == 1
    assert "ep1-ba9-rank0.pt was not finished when its run ended (it breaks off after" in warnings[0]


def test_a_newer_unfinished_folder_is_removed(config, caplog, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    folder = Path(config["save_folder"])
    shutil.rmtree(folder)
    write_shards(folder, 0, 3)
    os.symlink("ep0-ba3", folder / "latest-sharded-rank0")
    config["fsdp_config"] = {"state_dict_type": "sharded"}
    (folder / "ep0-ba6.partial").mkdir()
    (write_shards(folder, 0, 6) / ".metadata").unlink()
    names, _ = prepared(config, caplog)
    assert names == {"ep0-ba3": "", "latest-sharded-rank0": "ep0-ba3"}


def test_a_truncated_latest_gives_way_to_the_one_before(config, caplog):
    cut(Path(config["save_folder"]) / "ep0-ba6-rank0.pt")
    names, warnings = prepared(config, caplog)
    assert names["latest-rank0.pt"] == "ep0-ba3-rank0.pt"
    assert not any("ep0-ba6" in name for name in names)
    assert "carrying on from ep0-ba3-rank0.pt" in warnings[0]


def test_a_missing_latest_comes_back(config, caplog):
    (Path(config["save_folder"]) / "latest-rank0.pt").unlink()
    names, warnings = prepared(config, caplog)
    assert names["latest-rank0.pt"] == "ep0-ba6-rank0.pt"
    assert len(warnings) == 1
    assert "latest-rank0.pt is missing; carrying on from ep0-ba6-rank0.pt" in warnings[0]


def test_a_link_set_back_by_hand_is_kept(config, caplog):
    link = Path(config["save_folder"]) / "latest-rank0.pt"
    link.unlink()
    link.symlink_to("ep0-ba3-rank0.pt")
    assert prepared(config, caplog)[0]["latest-rank0.pt"] == "ep0-ba3-rank0.pt"


def test_without_a_whole_checkpoint_the_run_starts_from_the_beginning(config, caplog):
    folder = Path(config["save_folder"])
    for name in ("ep0-ba3-rank0.pt", "ep0-ba6-rank0.pt"):
        cut(folder / name)
    names, warnings = prepared(config, caplog)
    assert names == {}
    assert "starting from the beginning" in warnings[0]


@pytest.mark.parametrize(
    "change",
    [
        {"save_filename": "{batch}.pt"},
        {"autoresume": False},
        {"save_folder": "s3://bucket/ckpt"},
        {"save_folder": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_this_runs_to_repair_is_left(config, change):
    folder = Path(config["save_folder"])
    cut(write_file(folder, 1, 9))
    (folder / "latest-rank0.pt").unlink()
    before = contents(folder)
    prepare_run({**config, **change})
    assert contents(folder) == before


def test_a_checkpoint_of_another_run_is_refused_unless_that_is_meant(config):
    config["run_name"] = "another"
    with pytest.raises(ValueError, match=r"was written by the run r, and this one is another.*save_folder of its own"):
        prepare_run(config)
    prepare_run({**config, "callbacks": {"distillation": {"resume_anyway": ["run_name"]}}})


@pytest.mark.parametrize("target", ["../elsewhere.pt", "other.pt"])
def test_a_latest_that_leads_elsewhere_is_left(config, caplog, target):
    folder = Path(config["save_folder"])
    cut(write_file(folder, 1, 9))
    (folder / "other.pt").write_text("of somebody else")
    (folder / "latest-rank0.pt").unlink()
    (folder / "latest-rank0.pt").symlink_to(target)
    before = contents(folder)
    names, warnings = prepared(config, caplog)
    assert names == before
    assert "is not a link to a checkpoint beside it" in warnings[0]


def test_only_the_first_process_of_a_node_acts(config, monkeypatch, caplog):
    monkeypatch.setenv("LOCAL_RANK", "1")
    cut(Path(config["save_folder"]) / "ep0-ba6-rank0.pt")
    before = contents(config["save_folder"])
    assert prepared({**config, "save_overwrite": False}, caplog) == (before, [])


def test_shards_are_not_for_one_process(config, monkeypatch):
    folder = Path(config["save_folder"])
    shutil.rmtree(folder)
    write_shards(folder, 0, 3)
    os.symlink("ep0-ba3", folder / "latest-sharded-rank0")
    config["fsdp_config"] = {"state_dict_type": "sharded"}
    with pytest.raises(ValueError, match="ep0-ba3 is sharded over several processes, and .* would be one file; go on"):
        prepare_run(config)


def test_another_kind_of_checkpoint_is_no_reason_to_start_over(config, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="ep0-ba6-rank0.pt is one file, and .* would be sharded"):
        prepare_run({**config, "fsdp_config": {"state_dict_type": "sharded"}})


def test_missing_settings_are_named_in_one_warning(config, caplog):
    del config["run_name"], config["save_overwrite"]
    fsdp = {"sharding_strategy": "FULL_SHARD"}
    _, warnings = prepared({**config, "autoresume": False, "fsdp_config": fsdp}, caplog)
    assert warnings == [
        "save_folder is set without run_name: NAME, autoresume: true, save_overwrite: true, "
        "fsdp_config.state_dict_type: full, which a killed run needs to carry on by itself"
    ]


def test_a_run_without_checkpoints_needs_no_settings(caplog):
    prepare_run({"run_name": "r"})
    assert not caplog.records


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_can_be_resumed(path, monkeypatch):
    # The path of what they share starts here.
    monkeypatch.chdir(REPOSITORY)
    assert SaveSettings.from_config(merge(yaml.safe_load(path.read_text()))).missing == ()


def test_the_run_name_fills_the_folders_placeholder(tmp_path):
    settings = SaveSettings.from_config({"save_folder": f"{tmp_path}/{{run_name}}/c", "run_name": "r"})
    assert settings.folder == tmp_path / "r" / "c"
