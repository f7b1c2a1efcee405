"""The tools that check a change are the same everywhere: on a developer's machine, before a commit, in CI."""

import re

import yaml

from tests.helpers import REPOSITORY


def read(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_pre_commit_and_make_lint_use_one_version_of_each_tool():
    constraints = set(read("constraints.txt").split())
    (local,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    pins = {pin for hook in local["hooks"] for pin in hook["additional_dependencies"]}
    shared = {pin for pin in pins if not pin.startswith("pre-commit-hooks==")}
    assert {pin.split("==")[0] for pin in shared} == {"ruff", "typos"}
    assert shared <= constraints


def test_ci_runs_targets_that_the_menu_has():
    targets = re.findall(r"^make (\S+)", read(".ci/run"), flags=re.MULTILINE)
    assert targets == ["lint", "test", "test-serving"]
    menu = read("Makefile")
    assert all(re.search(rf"^{target}:.*## ", menu, flags=re.MULTILINE) for target in targets)
