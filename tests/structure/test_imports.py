"""Imports go downwards only, and a light import stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tahoe_distill
from tests.helpers import REPOSITORY

ROOT = Path(tahoe_distill.__file__).parent
# Rank of each package and of each module beside them; one may import from lower ranks and from itself.
RANKS = {
    **dict.fromkeys(("models", "naming", "settings", "files", "lazy", "locks", "errors", "probes"), 0),
    **dict.fromkeys(("cells", "objectives", "metrics", "costs"), 1),
    **dict.fromkeys(("data", "embedding", "teacher", "hub"), 2),
    **dict.fromkeys(("atlas", "cache"), 3),
    **dict.fromkeys(("evaluation", "annotation"), 4),
    **dict.fromkeys(("training", "browser"), 5),
    **dict.fromkeys(("fitting", "sweeps"), 6),
    **dict.fromkeys(("cli", "tl"), 7),
}
TRAINING_STACK = {"composer", "llmfoundry", "streaming"}
MAY_IMPORT = {"data": {"streaming"}, "cache": {"streaming"}, "training": TRAINING_STACK, "cli": TRAINING_STACK}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path):
    """Absolute names of all that a module imports, inside functions too."""
    package = ["tahoe_distill", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            if module == "tahoe_distill":
                yield from (f"tahoe_distill.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_downwards(path):
    package = path.relative_to(ROOT).with_suffix("").parts[0]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "tahoe_distill" and len(parts) > 1 and parts[1] in RANKS and parts[1] != package:
            assert RANKS[parts[1]] < RANKS[package], f"{path} imports {name}"
        if parts[0] in TRAINING_STACK:
            assert parts[0] in MAY_IMPORT.get(package, set()), f"{path} imports {name}"
        assert parts[0] != "tahoe_x1", f"{path} imports the upstream package"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_import_style(path):
    """Absolute everywhere, but for the files that every export carries along."""
    relative = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]  # fmt: skip
    assert not relative or path.relative_to(ROOT).parts[0] == "models"


def test_every_package_and_module_has_a_rank():
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert packages | modules == set(RANKS)


def test_the_document_has_the_same_ranks():
    text = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", text, flags=re.MULTILINE)
    assert {package: int(rank) for rank, package in rows} == RANKS


def test_embedding_imports_nothing_of_training():
    code = (
        "import sys, tahoe_distill; tahoe_distill.embed, tahoe_distill.Tx1Model; "
        "print([m for m in ('composer', 'llmfoundry', 'streaming') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_says_its_job():
    for path in ROOT.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"
