"""The notebooks run, and show what they showed."""

import os
import re

import nbformat
import pytest

from scripts.run_notebooks import kernel, notebooks, run
from tests.helpers import REPOSITORY

# A path that is one machine's.
PLACE = re.compile(r"(?:^|[\s'\"(=])/\w+/")
NAMES = [path.stem for path in notebooks()]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """One kernel for all of them, and one folder, in which the first leaves its student."""
    folder = str(tmp_path_factory.mktemp("notebooks"))
    with kernel(REPOSITORY, {**os.environ, "TAHOE_DISTILL_NOTEBOOKS": folder}) as client:
        yield client


@pytest.mark.parametrize("path", notebooks(), ids=NAMES)
def test_it_runs(path, client):
    figures, texts = shown(run(path, client))
    assert figures and not [text for name, text in texts if name == "stderr"]


@pytest.mark.parametrize("path", notebooks(), ids=NAMES)
def test_what_is_kept_of_it(path):
    figures, texts = shown(nbformat.read(path, as_version=4))
    assert figures and path.stat().st_size < 300_000
    assert not [text for name, text in texts if name == "stderr" or PLACE.search(text)]


def test_the_site_has_them_all():
    index = (REPOSITORY / "docs/index.md").read_text(encoding="utf-8")
    assert sorted(NAMES) == ["annotate", "distil", "embed", "evaluate", "perturbation", "train"]
    assert all(f"\nnotebooks/{name}\n" in index for name in NAMES)


def shown(notebook):
    """Figures of a notebook, and its texts with the stream that they came by."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    texts = [(output.name, output.text) for output in outputs if output.output_type == "stream"]
    texts += [("result", output.data["text/plain"]) for output in outputs if "text/plain" in output.get("data", {})]
    return figures, texts
