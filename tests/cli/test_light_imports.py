"""Help and early errors come at once: what they import is counted, since seconds depend on the machine."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from tahoe_distill.cli.main import COMMANDS

# Torch alone takes a second, transformers and composer several.
LIGHT = {"tahoe_distill", "yaml"}
INSTALLED = set(packages_distributions())
COUNT = """
import json, sys
before = set(sys.modules)
try:
    {statement}
except SystemExit as stop:
    pass
print(json.dumps(sorted({{name.split(".")[0] for name in set(sys.modules) - before}})), file=sys.stderr)
"""
HELP = {
    "tahoe-distill": "from tahoe_distill.cli.main import main; main(['--help'])",
    **{name: f"from tahoe_distill.cli.main import main; main([{name!r}, '--help'])" for name in COMMANDS},
    "composer scripts/distill.py": "from tahoe_distill.cli.distill import main; main(['--help'])",
}


def imported(statement):
    """Installed packages that a fresh process has imported after a statement, and its output."""
    code = COUNT.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *told, packages = done.stderr.strip().splitlines()
    return INSTALLED & set(json.loads(packages)), done.stdout + "".join(told)


@pytest.mark.parametrize("command", HELP)
def test_help_imports_nothing_heavy(command):
    packages, output = imported(HELP[command])
    assert "usage: " in output
    assert "tahoe_distill" in packages and packages <= LIGHT


def test_a_missing_config_is_told_before_anything_heavy_is_imported():
    packages, output = imported("from tahoe_distill.cli.distill import main; main(['-f', 'none.yaml'])")
    assert "none.yaml does not exist" in output
    assert packages <= LIGHT


@pytest.mark.parametrize("package", ["tahoe_distill", "tahoe_distill.embedding", "tahoe_distill.data"])
def test_packages_hand_out_their_names_when_asked(package):
    packages, _ = imported(f"import {package}; dir({package})")
    assert packages <= LIGHT
