"""What docstrings show is what happens."""

import doctest
import importlib
import re

import pytest

from tests.helpers import REPOSITORY

# Modules with an example that is run: `doctest: +SKIP` marks those that need a model folder.
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in (REPOSITORY / "tahoe_distill").rglob("*.py")
    if re.search(r"^ *>>> (?!.*\+SKIP)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def test_those_that_are_run_are_some():
    assert len(MODULES) >= 6
