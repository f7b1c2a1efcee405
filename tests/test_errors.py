"""Whatever goes wrong is told in a paragraph."""

import errno
import re

import pytest
import torch

from tahoe_distill.data import ShardError
from tahoe_distill.data.preparing.prepare import _partial_folder
from tahoe_distill.errors import from_worker, paragraph, rest
from tahoe_distill.naming import check_keys
from tahoe_distill.teacher import load_teacher


def caught(work):
    with pytest.raises(Exception) as error:
        work()
    return error.value


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), "the disk is full (No space left on device: x/y)"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), "the disk is full"),
        (RuntimeError("api_key not configured (no-tty). call wandb.login()"), "Weights & Biases wants a key"),
        (KeyError("optimizer"), "missing key 'optimizer'"),
        (ValueError(), "ValueError"),
    ],
)
def test_known_causes_are_told_in_words_of_this_project(error, beginning):
    assert paragraph(error).startswith(beginning)


def test_another_models_weights_are_told_by_the_first_of_them():
    def load():
        torch.nn.Linear(2, 3).load_state_dict(torch.nn.Linear(4, 3).state_dict())

    told = paragraph(caught(load))
    assert told.startswith("the weights in the checkpoint are not those of this model (Error(s) in loading")
    assert "size mismatch for weight" in told and "\n" not in told


def test_an_error_of_a_library_names_it_and_keeps_the_way_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    error = caught(lambda: torch.nn.Linear(2, 3)(torch.zeros(5)))
    assert paragraph(error).startswith("torch could not go on: ")
    told = rest(error, "-v")
    (file,) = tmp_path.iterdir()
    assert told == f"(the rest is in {file}; -v shows it here)"
    assert "Traceback (most recent call last)" in file.read_text()


def test_a_slip_of_this_project_names_its_line():
    error = caught(lambda: check_keys({"a": 1}, None, "model"))
    assert re.match(
        r"tahoe_distill \(line \d+ of tahoe_distill/naming.py\) could not go on: .*TypeError", paragraph(error)
    )


def test_what_this_project_says_itself_stands_as_it_is():
    error = caught(lambda: load_teacher("no-such-teacher"))
    assert paragraph(error) == str(error)
    assert rest(error, "--traceback") == "(--traceback shows the rest)"


def test_a_full_disk_does_not_keep_the_paragraph_from_being_told(monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert rest(caught(lambda: torch.nn.Linear(2, 3)(torch.zeros(5))), "-v") == "(-v shows the rest)"


class Bad(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, place):
        raise ShardError("a/b.mds, sample 7: 5 genes\nand a second line")


def test_a_workers_error_begins_with_its_shard_for_python_users_too():
    error = caught(lambda: list(torch.utils.data.DataLoader(Bad(), num_workers=1)))
    assert isinstance(error, ShardError)
    assert str(error) == "a/b.mds, sample 7: 5 genes\nand a second line"
    assert "in DataLoader worker process 0" in error.worker_traceback and "__getitem__" in error.worker_traceback


def test_what_this_project_says_of_a_full_disk_stands_as_it_is(tmp_path):
    def fill():
        with _partial_folder(str(tmp_path / "out"), "plan"):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert paragraph(caught(fill)).startswith(f"writing {tmp_path / 'out'} failed ([Errno 28] No space left on device)")


def test_only_workers_texts_are_taken_for_such():
    assert from_worker("Caught a cold") is None
