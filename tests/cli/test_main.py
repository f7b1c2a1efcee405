"""The command as a whole: help everywhere, one paragraph for what the user got wrong."""

import pytest

from tahoe_distill.cli.main import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_each_subcommand_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "example:\n  tahoe-distill " in capsys.readouterr().out


def test_a_missing_file_ends_in_one_line_and_exit_code_1(capsys, tmp_path):
    arguments = ["convert", "--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("tahoe-distill convert: error: ")
    assert "nowhere" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_no_subcommand_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
