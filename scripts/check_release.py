"""`make test-release`: install the built wheel in clean environments, and use it there.

python scripts/check_release.py dist --python python3.10 python3.11 python3.12 --extra '' onnx fit
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

log = logging.getLogger("check_release")

# Run in the new environment, out of the repository: real cells that scanpy brings, the built-in teacher.
USE = """
import anndata, numpy as np
from tahoe_distill.cli.main import main
from tahoe_distill.evaluation.blood_cells import load_blood_cells
load_blood_cells()[:200].copy().write_h5ad("cells.h5ad")
assert main(["convert", "--source", "tx1-nano", "--out", "model"]) == 0
assert main(["doctor", "cells.h5ad", "--model", "model"]) == 0
assert main(["embed", "--model", "model", "--adata", "cells.h5ad", "--out", "out.h5ad", *BACKEND]) == 0
vectors = anndata.read_h5ad("out.h5ad").obsm["X_tx1"]
np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
print("embedded", vectors.shape)
"""
FIT = 'assert main(["fit", "cells.h5ad", "--teacher", "tx1-nano", "--out", "student", "--quiet"]) == 0\n'


def main() -> None:
    """Check each Python with each extra; end with code 1 where one fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = parse()
    (wheel,) = Path(args.dist).resolve().glob("*.whl")
    failed = []
    for python in args.python:
        for extra in args.extra:
            name = f"{python}[{extra}]"
            log.info("== %s", name)
            with tempfile.TemporaryDirectory() as folder:
                if not check(python, wheel, extra=extra, folder=Path(folder)):
                    failed.append(name)
    if failed:
        sys.exit(f"check_release: error: {', '.join(failed)} failed; what went wrong stands above")
    log.info("%d environments: all installed and used", len(args.python) * len(args.extra))


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", help="folder of the wheel and the sdist")
    parser.add_argument("--python", nargs="+", default=["python3.11"], help="interpreters, by name or path")
    parser.add_argument("--extra", nargs="+", default=[""], help="extras, '' for none")
    args = parser.parse_args()
    missing = [python for python in args.python if shutil.which(python) is None]
    if missing:
        parser.error(f"found no {', '.join(missing)}; expected interpreters on the path, or their paths")
    return args


def check(python: str, wheel: Path, *, extra: str, folder: Path) -> bool:
    """Install the wheel with one extra by one interpreter, and use it; tell whether all of it worked."""
    bin_folder = folder / "venv" / "bin"
    constraints = Path(__file__).resolve().parent.parent / "constraints.txt"
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    commands: list[list[str | None]] = [
        [shutil.which(python), "-m", "venv", str(folder / "venv")],
        [str(bin_folder / "python"), "-m", "pip", "install", "-q", "-c", str(constraints), what],
        [str(bin_folder / "tahoe-distill"), "--help"],
        [str(bin_folder / "python"), "-W", "ignore", "-c", script(extra)],
    ]
    if extra == "train":
        # A run needs the configurations, which the sdist has.
        return all(step(command, folder) for command in commands) and quickstart(
            bin_folder, unpack(wheel.parent, folder)
        )
    return all(step(command, folder) for command in commands)


def script(extra: str) -> str:
    """What is done with the package in an environment with this extra."""
    backend = ["--backend", "onnx"] if extra == "onnx" else []
    return f"BACKEND = {json.dumps(backend)}\n{USE}" + (FIT if extra == "fit" else "")


def quickstart(bin_folder: Path, source: Path) -> bool:
    """The first of the README's commands, in the unpacked sdist."""
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    return step([str(bin_folder / "python"), "scripts/quickstart.py"], source, PATH=path)


def unpack(dist: Path, folder: Path) -> Path:
    """The sdist's content, out of the repository."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder / "source", filter="data")
    return next((folder / "source").iterdir())


def step(command: list[str | None], folder: Path, **environment: str) -> bool:
    """Run a command without what this repository has on its path; show its output only where it fails."""
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        log.error("%s: exit code %d\n%s", " ".join(map(str, command))[:200], done.returncode, done.stdout[-4000:])
    return done.returncode == 0


if __name__ == "__main__":
    main()
