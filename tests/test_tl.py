"""The names that users of scanpy look for."""

import subprocess
import sys

import pytest

import tahoe_distill
import tahoe_distill.annotation
import tahoe_distill.embedding


@pytest.mark.parametrize("name", tahoe_distill.tl.__all__)
def test_each_is_the_function_itself(name):
    home = tahoe_distill.annotation if name == "annotate" else tahoe_distill.embedding
    assert getattr(tahoe_distill.tl, name) is getattr(home, name)


def test_reaching_for_them_is_light():
    code = "import sys, tahoe_distill as td; print(td.tl.__all__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['annotate', 'decode', 'embed'] False"
