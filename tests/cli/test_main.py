"""The command as a whole: help everywhere, one paragraph for what the user got wrong."""

import warnings

import pytest

from tahoe_distill.cli import doctor
from tahoe_distill.cli import main as cli_main
from tahoe_distill.cli.main import COMMANDS, GROUPS, main


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


def test_no_subcommand_shows_all_of_them_by_who_needs_them(capsys):
    assert main([]) == 2
    told = capsys.readouterr().err
    assert all(f"\n  {name} " in told for name in COMMANDS) and all(f"\n{title}:\n" in told for title in GROUPS)
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0 and told.strip() in capsys.readouterr().out


@pytest.mark.parametrize("place", ["build_parser", "run"])
def test_ctrl_c_is_a_line_at_any_time(place, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(*{"build_parser": (cli_main, place), "run": (doctor, place)}[place], interrupted)
    assert main(["doctor", "a.h5ad", "--model", "m"]) == 130
    error = capsys.readouterr().err
    assert error.endswith(": interrupted\n") and error.count("\n") == 1


def test_too_little_memory_is_a_paragraph(capsys, monkeypatch):
    def too_much(args):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr(doctor, "run", too_much)
    assert main(["doctor", "a.h5ad", "--model", "m"]) == 1
    assert "too little memory (Unable to allocate 7.28 TiB)" in capsys.readouterr().err


@pytest.mark.parametrize("verbose", [False, True])
def test_what_libraries_warn_of_is_for_the_verbose(verbose, monkeypatch, recwarn):
    def noisy(args):
        warnings.warn("Variable names are not unique", UserWarning, stacklevel=1)

    monkeypatch.setattr(doctor, "run", noisy)
    assert main([*(["-v"] if verbose else []), "doctor", "a.h5ad", "--model", "m"]) == 0
    assert len(recwarn) == verbose
