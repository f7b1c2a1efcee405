"""Teachers from the hub, by its real protocol on loopback."""

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import reset_sessions

from tahoe_distill import load_teacher
from tahoe_distill.teacher import download
from tahoe_distill.teacher.download import commit_of
from tahoe_distill.teacher.sources import fetch_source
from tests.helpers.hub_server import HubServer, as_the_hub, release_on_hub
from tests.helpers.tiny_student import save_pair, tiny_pair


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server, as_the_hub(server, monkeypatch, tmp_path):
        yield server


@pytest.fixture
def commit(hub, release):
    return release_on_hub(hub, "lab/Tahoe", release)


@pytest.fixture
def unplug(monkeypatch):
    """A function that takes the network away."""

    def unplug():
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        reset_sessions()

    return unplug


def test_a_release_is_fetched_into_the_hubs_cache(hub, commit, release, model, tmp_path):
    place = fetch_source("lab/Tahoe", "70m")
    assert str(place).startswith(str(tmp_path / "hf-home/hub")) and commit_of(place) == commit
    assert place.name == "70m-model" and {path.name for path in place.iterdir()} == {p.name for p in release.iterdir()}
    assert load_teacher("lab/Tahoe", "70m").model.num_parameters() == model.num_parameters()


def test_without_a_network_what_was_fetched_counts(hub, commit, tmp_path, unplug):
    place = fetch_source("lab/Tahoe", "70m")
    unplug()
    asked = len(hub.requests)
    assert fetch_source("lab/Tahoe", "70m") == place == fetch_source("lab/Tahoe", "70m", revision=commit)
    assert len(hub.requests) == asked
    with pytest.raises(FileNotFoundError, match="not in the cache and the hub was not reached; connect, fetch"):
        fetch_source("lab/Tahoe", "70m", cache_dir=tmp_path / "other")


def test_a_transformers_folder_without_a_network(hub, tmp_path, unplug):
    folder = save_pair(tiny_pair(), tmp_path / "plain")
    release_on_hub(hub, "lab/plain", folder)
    files = {name.removeprefix("70m-model/"): content for name, content in hub.files("lab/plain").items()}
    hub.repositories["lab/plain"].commits.clear()
    hub.repositories["lab/plain"].commit(files)
    first = load_teacher("lab/plain")
    unplug()
    assert load_teacher("lab/plain").fingerprint == first.fingerprint


def test_a_branch_that_moves_in_between_gives_no_mixture(hub, commit, release, monkeypatch):
    fetch, asked = download.hf_hub_download, []

    def moving(repository, name, **where):
        found = fetch(repository, name, **where)
        asked.append(where["revision"])
        (release / "vocab.json").write_text("{}")
        release_on_hub(hub, "lab/Tahoe", release)
        return found

    monkeypatch.setattr(download, "hf_hub_download", moving)
    assert commit_of(fetch_source("lab/Tahoe", "70m")) == commit
    assert asked == [None, commit, commit, commit]


def test_an_older_revision_and_one_that_is_none(hub, commit, release):
    release_on_hub(hub, "lab/Tahoe", release, size="1b")
    assert commit_of(fetch_source("lab/Tahoe", "70m", revision=commit)) == commit
    for size in ("70m", None):
        with pytest.raises(FileNotFoundError, match="lab/Tahoe has no revision 'v9'; expected one of its branches"):
            fetch_source("lab/Tahoe", size, revision="v9")
