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


# Shapes, names and initial values are all that these ask of a model.
FRESH_IS_MEANT = {
    "tests/test_costs.py",
    "tests/training/planning/test_estimate.py",
    "tests/cli/test_compare.py",
    "tests/models/test_set_encoder_tx1.py",
    "tests/training/student/test_gene_means.py",
    "tests/embedding/test_same_vector.py",
    "tests/helpers/tiny_student.py",
    "tests/models/test_modeling_tx1.py",
    "tests/teacher/test_release.py",
    "tests/training/resume/test_resumption.py",
    "tests/training/student/test_initialisation.py",
    "tests/training/student/test_student.py",
    "tests/upstream/test_release_in_upstream.py",
    "tests/structure/test_tools.py",
}


def test_models_of_tests_that_compare_values_read_expression():
    """A fresh model gives one vector for any counts of the same genes: what is tested with it cannot fail."""
    paths = (path for path in (REPOSITORY / "tests").rglob("*.py") if "Tx1Model(" in path.read_text(encoding="utf-8"))
    assert {path.relative_to(REPOSITORY).as_posix() for path in paths} <= FRESH_IS_MEANT
