"""The files of `models/` stand by themselves, for they are copied into every export."""

import sys
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_imports, get_relative_imports

import tahoe_distill.models
from tahoe_distill.hub.folder import CODE_FILES

FILES = sorted(Path(tahoe_distill.models.__file__).parent.glob("*_tx1.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports(path):
    allowed = {"torch", "transformers", "safetensors", "numpy", *sys.stdlib_module_names}
    assert set(get_imports(path)) <= allowed
    # Siblings, and in no circle: the configuration is loaded first, and nothing else reads the processor.
    known = {
        "modeling_tx1": {"configuration_tx1", "packing_tx1", "set_encoder_tx1"},
        # The other siblings too: transformers 4.51 copies what a file names itself, and no more.
        "classification_tx1": {"configuration_tx1", "modeling_tx1", "packing_tx1", "set_encoder_tx1"},
        "set_encoder_tx1": {"configuration_tx1"},
    }
    assert set(get_relative_imports(path)) == known.get(path.stem, set())


def test_all_files_are_there():
    assert tuple(path.name for path in FILES) == CODE_FILES
