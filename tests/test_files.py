"""Whether a folder can be written to."""

import errno

import pytest

from tahoe_distill.files import why_not_writable


def test_a_folder_that_is_not_there_yet_can_be_written_to_and_is_not_made(tmp_path):
    assert why_not_writable(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "a").write_text("x")
    assert why_not_writable(tmp_path / "a" / "b") == f"{tmp_path / 'a'} is no folder"


def test_a_disk_that_is_only_read_is_told_whatever_its_permissions_say(tmp_path, monkeypatch):
    def refuse(dir):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert why_not_writable(tmp_path) == f"{tmp_path} cannot be written to (Read-only file system)"


@pytest.mark.parametrize("place", ["/proc/none/hf", "/dev/null/hf"])
def test_real_places_that_take_nothing(place):
    assert why_not_writable(place) is not None
