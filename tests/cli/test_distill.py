"""Arguments and early checks of the training entry point."""

import contextlib
import errno
import logging
import os
from pathlib import Path

import pytest
import yaml

from tahoe_distill import locks
from tahoe_distill.cli import distill
from tahoe_distill.cli.distill import check, main, parse, show_log
from tests.helpers.checkpoints import cut, write_file


@pytest.fixture(autouse=True)
def log_levels():
    """Runs set them for the whole process."""
    loggers = [logging.getLogger(name) for name in ("tahoe_distill", "tahoe_distill.run")]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


@pytest.mark.parametrize("arguments", [["-f", "a.yaml", "x=1"], ["a.yaml", "x=1"], ["x=1", "-f", "a.yaml"]])
def test_config_by_flag_or_position(arguments):
    args = parse(arguments)
    assert (args.config, args.overrides) == ("a.yaml", ["x=1"])


def test_no_config_is_an_error(capsys):
    with pytest.raises(SystemExit):
        parse(["x=1"])
    assert "expected -f CONFIG" in capsys.readouterr().err


def test_a_missing_config_ends_in_one_paragraph(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["-f", str(tmp_path / "none.yaml")])
    assert stop.value.code == 1
    assert "none.yaml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("a: [", "not readable YAML"), ("- a\n- b", "holds a list")])
def test_unreadable_configs_are_refused(tmp_path, text, message):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        check(str(tmp_path / "run.yaml"), [])


def test_an_override_without_value_is_refused(tmp_path):
    (tmp_path / "run.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match="cannot read the override 'b'"):
        check(str(tmp_path / "run.yaml"), ["b"])


@pytest.mark.parametrize(("run", "level"), [({"python_log_level": "info"}, logging.INFO), ({}, logging.DEBUG)])
def test_messages_of_this_package_are_shown_as_those_of_llm_foundry(run, level):
    log = logging.getLogger("tahoe_distill")
    before = log.level
    show_log(run)
    found, _ = log.level, log.setLevel(before)
    assert found == level


@pytest.fixture
def unfinished(tmp_path, run_config, monkeypatch):
    """The YAML of a run whose folder holds a whole checkpoint, and one that a full disk broke off."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    folder = tmp_path / "ckpt"
    folder.mkdir()
    write_file(folder, 0, 3)
    os.symlink("ep0-ba3-rank0.pt", folder / "latest-rank0.pt")
    cut(write_file(folder, 0, 6))
    run = {**run_config, "run_name": "r", "save_folder": str(folder), "autoresume": True, "save_overwrite": True}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    return tmp_path / "run.yaml"


def names(run):
    return sorted(path.name for path in (run.parent / "ckpt").iterdir())


def test_a_check_of_a_run_writes_and_removes_nothing(unfinished, capsys):
    before = names(unfinished)
    main(["-f", str(unfinished), "--check"])
    assert "the run can start" in capsys.readouterr().out
    assert names(unfinished) == before


def test_what_a_run_leaves_unfinished_on_a_full_disk_gives_its_space_back(unfinished, capsys, monkeypatch):
    def fill(args, overrides, run):
        cut(write_file(unfinished.parent / "ckpt", 0, 9))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(distill, "_train", fill)
    with pytest.raises(SystemExit) as stop:
        main(["-f", str(unfinished)])
    assert stop.value.code == 1
    assert "distill: error: the disk is full" in capsys.readouterr().err
    assert names(unfinished) == ["ep0-ba3-rank0.pt", "latest-rank0.pt"]


def test_a_disk_too_full_for_the_lock_is_freed_of_what_was_not_finished(unfinished, monkeypatch):
    write = Path.write_text

    def write_where_there_is_space(path, *arguments, **settings):
        if path.name.startswith(locks.LOCK_FILE) and (unfinished.parent / "ckpt/ep0-ba6-rank0.pt").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments, **settings)

    started = []
    monkeypatch.setattr(Path, "write_text", write_where_there_is_space)
    monkeypatch.setattr(distill, "_train", lambda args, overrides, run: started.append(names(unfinished)))
    main(["-f", str(unfinished)])
    assert started == [[".lock.json", "ep0-ba3-rank0.pt", "latest-rank0.pt"]]


def test_any_error_ends_in_a_paragraph_and_its_traceback_is_shown_on_request(unfinished, capsys, monkeypatch):
    monkeypatch.setattr(distill, "_train", lambda *arguments: {}["what it needs"])
    with pytest.raises(SystemExit):
        main(["-f", str(unfinished)])
    told = capsys.readouterr().err
    assert "missing key 'what it needs'" in told and "Traceback" not in told and "--traceback shows it here" in told
    with pytest.raises(KeyError):
        main(["-f", str(unfinished), "--traceback"])


def test_ctrl_c_is_no_error(unfinished, capsys, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(distill, "_train", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["-f", str(unfinished)])
    assert stop.value.code == 130 and capsys.readouterr().err == "distill: interrupted\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "finished 0"),
        (ValueError("No training would occur. It ended."), "finished 0"),
        (ValueError("a bad\nvalue"), "failed 1"),
        (SystemExit(75), "interrupted 75"),
        (SystemExit(3), "failed 3"),
        (KeyboardInterrupt(), "interrupted 130"),
    ],
)
def test_a_command_is_run_at_the_end_however_the_run_ends(unfinished, monkeypatch, error, expected):
    def end(*arguments):
        if error is not None:
            raise error

    told = unfinished.parent / "told.txt"
    variables = " ".join(f"$TAHOE_DISTILL_{name}" for name in ("STATE", "EXIT_CODE", "RUN_NAME", "CHECKPOINTS"))
    monkeypatch.setattr(distill, "_train", end)
    with contextlib.suppress(SystemExit):
        main(["-f", str(unfinished), "--on-finish", f"echo {variables} > {told}"])
    assert told.read_text() == f"{expected} r {unfinished.parent / 'ckpt'}\n"


def test_a_failing_command_at_the_end_is_told_and_changes_no_exit_code(unfinished, monkeypatch, capsys):
    monkeypatch.setattr(distill, "_train", lambda *arguments: None)
    main(["-f", str(unfinished), "--on-finish", "exit 7"])
    assert "--on-finish ended with exit code 7: exit 7" in capsys.readouterr().err


def test_the_command_at_the_end_is_run_once_a_node(unfinished, monkeypatch):
    monkeypatch.setattr(distill, "_train", lambda *arguments: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    main(["-f", str(unfinished), "--on-finish", f"touch {unfinished.parent / 'told.txt'}"])
    assert not (unfinished.parent / "told.txt").exists()
