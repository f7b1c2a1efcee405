"""``tahoe-distill fetch``: the same download as a run's, and the lines to put into its YAML."""

import pytest
import yaml

from tahoe_distill.cli.main import main
from tahoe_distill.training.teacher_provider import teacher_provider
from tests.helpers.hub_server import HubServer, as_the_hub, release_on_hub


@pytest.fixture
def commit(monkeypatch, tmp_path, small_teacher):
    with HubServer() as server, as_the_hub(server, monkeypatch, tmp_path):
        yield release_on_hub(server, "lab/Tahoe", small_teacher)


def teacher_told(output):
    """The teacher's section in the lines for the YAML."""
    lines = output.partition("put into the YAML:\n")[2].split("\nwhere")[0]
    return yaml.safe_load(lines)["model"]["teacher"]


def test_what_it_tells_names_the_same_teacher(commit, tmp_path, capsys):
    arguments = ["fetch", "--source", "lab/Tahoe", "--size", "70m", "--cache-dir", str(tmp_path / "kept")]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"lab/Tahoe is in {tmp_path}/kept/models--lab--Tahoe/snapshots/{commit}/70m-model\n")
    assert "HF_HUB_OFFLINE=1" in output
    spec = teacher_told(output)
    assert spec == {"source": "lab/Tahoe", "size": "70m", "revision": commit, "cache_dir": f"{tmp_path}/kept"}
    assert len(teacher_provider(spec).vocab) == 43


def test_of_a_configuration_its_teacher_is_fetched(commit, tmp_path, capsys, run_config):
    run_config["model"]["teacher"] = {"source": "lab/Tahoe", "size": "1b", "dtype": "bfloat16"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_config))
    assert main(["fetch", "-f", str(tmp_path / "run.yaml"), "model.teacher.size=70m"]) == 0
    assert teacher_told(capsys.readouterr().out) == {"source": "lab/Tahoe", "size": "70m", "revision": commit}


def test_what_is_here_needs_no_fetching(capsys, small_teacher):
    assert main(["fetch", "--source", str(small_teacher)]) == 0
    assert teacher_told(capsys.readouterr().out) == {"source": str(small_teacher)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no teacher to fetch; give --source"),
        (["a=1"], "'a=1' replaces a setting of a YAML, and none was given; add -f CONFIG"),
    ],
)
def test_nothing_to_fetch_is_told(arguments, message, capsys):
    assert main(["fetch", *arguments]) == 1
    assert message in capsys.readouterr().err
