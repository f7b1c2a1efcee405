"""What the images without CUDA install, in environments of their own, step by step as the Dockerfile has it.

No engine runs here: packages of the system and users are left out. `make test-serving` runs this; it takes minutes and
some GB. TORCH_INDEX names another place for torch than the Dockerfile's.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest

from tests.helpers import REPOSITORY
from tests.helpers.dockerfile import steps

pytestmark = pytest.mark.skipif(
    os.environ.get("TAHOE_DISTILL_SERVING") != "required", reason="make test-serving runs it: it installs some GB"
)
# What asks for another system than this one.
_OF_THE_SYSTEM = re.compile(r"\s*(apt-get|rm -rf /var|useradd)\b")


def argument(image, name):
    """An argument of the Dockerfile: its value there, or that of the environment."""
    default = next(rest.partition("=")[2] for kind, rest in steps(image) if kind == "ARG" and rest.startswith(name))
    return os.environ.get(name, default)


def require_index(address):
    """Skip where the index for torch without CUDA is out of reach."""
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/torch/", timeout=10).close()
    except OSError as error:
        pytest.skip(f"needs {address}, or another index named by TORCH_INDEX ({error})")


@pytest.mark.parametrize("image", ["serve", "train-cpu"])
def test_the_steps_of_an_image_give_a_command_that_runs(image, tmp_path):
    environment = {**os.environ, "TORCH_INDEX": argument(image, "TORCH_INDEX")}
    require_index(environment["TORCH_INDEX"])
    environment["PATH"] = f"{tmp_path / 'venv/bin'}:{os.environ['PATH']}"
    environment.pop("PYTHONPATH", None)
    app = tmp_path / "app"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    for kind, rest in steps(image):
        if kind == "COPY":
            for name in rest.split()[:-1]:
                copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
                copy(REPOSITORY / name, app / name)
        elif kind == "RUN":
            commands = [part for part in rest.split("&&") if not _OF_THE_SYSTEM.match(part)]
            subprocess.run(["bash", "-euc", "&&".join(commands) or ":"], cwd=app, env=environment, check=True)
    health = next(rest for kind, rest in steps(image) if kind == "HEALTHCHECK")
    command = re.findall(r'"([^"]*)"', health)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "usage: tahoe-distill doctor" in done.stdout
    proof = "import tahoe_distill; tahoe_distill.embed"
    if image == "train-cpu":
        proof += "; import composer, llmfoundry, tahoe_distill.training.model"
    subprocess.run(["python", "-W", "ignore", "-c", proof], cwd=tmp_path, env=environment, check=True)
