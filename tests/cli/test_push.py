"""`tahoe-distill push`: arguments passed on, refusals as one paragraph (the whole way is in tests/hub)."""

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.hub.push import PushReport


@pytest.fixture
def calls(monkeypatch):
    """What the command handed to the library."""
    found = []
    report = PushReport("lab/student", ("README.md",), "abc", "http://hub/lab/student/commit/abc", 0.0)

    def record(*arguments, **options):
        found.append((*arguments, options))
        return PushReport("lab/student", ("README.md",)) if options["dry_run"] else report

    monkeypatch.setattr("tahoe_distill.hub.push.push_folder", record)
    return found


def test_arguments_are_passed_on(calls, capsys):
    assert main(["push", "hf", "lab/student", "--only-if-better", "own", "--mode", "min", "--private"]) == 0
    options = {"only_if_better": "own", "mode": "min", "private": True, "dry_run": False}
    (called,) = calls
    assert callable(called[-1].pop("judge"))
    assert called == ("hf", "lab/student", options)
    assert "http://hub/lab/student/commit/abc: 1 files in one commit" in capsys.readouterr().out


def test_a_dry_run_lists_the_files(calls, capsys):
    assert main(["push", "hf", "lab/student", "--dry-run"]) == 0
    assert "a push would upload\n  README.md" in capsys.readouterr().out


def test_an_incomplete_folder_is_one_paragraph(tmp_path, capsys):
    assert main(["push", str(tmp_path), "lab/student"]) == 1
    error = capsys.readouterr().err
    assert "is not fit to be published" in error
    assert "[weights]" in error
    assert "Traceback" not in error
