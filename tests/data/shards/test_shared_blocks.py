"""Blocks of shared memory that another run uses or has left do not stop the next one, and are not touched."""

import tempfile
from pathlib import Path

import pytest
from streaming.base.shared import get_shm_prefix
from streaming.base.world import World

from tahoe_distill.data.shards.shared_blocks import pass_over_taken_numbers

BLOCKS = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not BLOCKS.is_dir(), reason="needs /dev/shm")


def take_number(local):
    """Number and block that streaming gives a data set with a remote."""
    number, block = get_shm_prefix([str(local)], ["remote"], World.detect(), retry=0)
    return f"{number:06}", block


@pytest.fixture
def taken(tmp_path, monkeypatch):
    """Number of a run on ``tmp_path/cache``, seen from a temporary folder in which nothing was ever locked."""
    for name in ("theirs", "fresh"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "theirs"))
    number, block = take_number(tmp_path / "cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "fresh"))
    yield number
    block.cleanup()


def test_a_block_that_is_there_stops_streaming_only_before(taken, tmp_path):
    before = (BLOCKS / f"{taken}_locals").read_bytes()
    # By one check or by another, where lower numbers happen to be free.
    with pytest.raises((ValueError, FileExistsError), match="Reused local directory|File exists"):
        take_number(tmp_path / "cache")
    assert taken in pass_over_taken_numbers()
    number, block = take_number(tmp_path / "cache")
    block.cleanup()
    assert number != taken
    assert (BLOCKS / f"{taken}_locals").read_bytes() == before


def test_nothing_happens_where_there_is_no_shared_memory(taken, tmp_path):
    assert pass_over_taken_numbers(tmp_path / "none") == []
    assert not list((tmp_path / "fresh").iterdir())
