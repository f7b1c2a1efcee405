"""Arguments and early checks of the training entry point."""

import logging

import pytest

from tahoe_distill.cli.distill import check, main, parse, show_log


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
