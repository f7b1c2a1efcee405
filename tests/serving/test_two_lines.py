"""An exported student in its users' environments (`make test-serving` builds them): the same numbers as in training."""

import json
import os
import subprocess

import numpy as np
import pytest
import torch

from tahoe_distill import Tx1Config, Tx1Processor
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.heads import with_head
from tahoe_distill.probes import Probe
from tests.helpers import HELPERS, REPOSITORY
from tests.helpers.tiny_student import randomised

READER = HELPERS / "serving_reader.py"
# transformers makes a module's name of a folder's, and a dot in it is no border of a package.
FOLDER = "student-v1.0"
# Environment -> first digits of the transformers version that it is there for.
ENVIRONMENTS = {"serving-latest": "5.", "serving-4.51": "4.51."}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request):
    """Name and Python of a serving environment."""
    folder = REPOSITORY / ".envs" / request.param
    python = folder / "bin" / "python"
    # The marker comes last: an environment that is still being built has a Python too.
    if not (folder / ".installed").exists():
        if os.environ.get("TAHOE_DISTILL_SERVING") == "required":
            pytest.fail(f"{folder} is not complete; make test-serving builds it")
        pytest.skip("needs the environments that make test-serving builds")
    return request.param, python


@pytest.fixture(scope="module", params=["transformer", "set"])
def exported(request, tmp_path_factory, small_vocab, small_cells):
    """A classifier's folder, cells on disk, and the embeddings and the head that the training environment has."""
    where = tmp_path_factory.mktemp("serving")
    torch.manual_seed(3)
    config = Tx1Config(
        vocab_size=len(small_vocab),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=24,
        context_length=32,
        encoder=request.param,
    )
    model, processor = randomised(config, 0.1), Tx1Processor(small_vocab, max_length=32)
    head = Probe(torch.randn(3, 24).numpy(), torch.randn(3).numpy(), ("a", "b", "c"), 2.0, "f" * 64)
    write_model_folder(with_head(model, head), processor, where / FOLDER)
    small_cells.write_h5ad(where / "cells.h5ad")
    with torch.no_grad():
        return where, model(**processor(small_cells)).pooler_output.numpy(), head


def test_the_environment_is_what_it_says(environment):
    name, python = environment
    code = "import transformers; print(transformers.__version__)"
    version = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert version.startswith(ENVIRONMENTS[name])


@pytest.mark.parametrize("how", ["remote", "package"])
def test_same_embeddings_as_in_training(environment, exported, tmp_path, how):
    where, expected, head = exported
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    variables |= {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"}
    if how == "package":
        variables["PYTHONPATH"] = str(REPOSITORY)
    answers = tmp_path / "answers.npz"
    command = [environment[1], READER, how, where / FOLDER, where / "cells.h5ad", answers]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(answers)
    for way in ("cells", "embedded"):
        np.testing.assert_allclose(found[way], expected, atol=1e-5, rtol=0)
    golden = np.array(json.loads((where / FOLDER / "golden.json").read_text())["pooler_output"])
    np.testing.assert_allclose(found["golden"], golden, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found["logits"], head.logits(golden), atol=1e-5, rtol=0)
