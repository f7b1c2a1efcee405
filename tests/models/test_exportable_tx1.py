"""The files of `models/` stand by themselves, for they are copied into every export."""

import sys
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_imports, get_relative_imports

import tahoe_distill.models

FILES = sorted(Path(tahoe_distill.models.__file__).parent.glob("*_tx1.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports(path):
    allowed = {"torch", "transformers", "safetensors", "numpy", *sys.stdlib_module_names}
    assert set(get_imports(path)) <= allowed
    # The configuration is loaded before the others; from a folder with a dot in its name, as "tx1-v1.0", transformers
    # 4.51 finds no other sibling.
    assert set(get_relative_imports(path)) <= ({"configuration_tx1"} if path.stem == "modeling_tx1" else set())


def test_all_files_are_there():
    assert [path.name for path in FILES] == ["configuration_tx1.py", "modeling_tx1.py", "processing_tx1.py"]
