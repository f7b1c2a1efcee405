"""Whole runs for the tests: as a user starts them, and the same in a process that has the imports behind it."""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tahoe_distill.models import Tx1Model
from tests.helpers import HELPERS, REPOSITORY

COMPOSER = Path(sys.executable).with_name("composer")
SCRIPT = REPOSITORY / "scripts/distill.py"
SECONDS = 300


def environment(folder):
    """One thread, no GPU, temporary files in a folder of the run's own."""
    ours = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TMPDIR": short_folder(folder)}
    return {**os.environ, **ours}


def short_folder(folder):
    """A folder for temporary files that belongs to ``folder``; sockets in it need a short path."""
    path = Path(tempfile.gettempdir(), f"run-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}")
    path.mkdir(exist_ok=True)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return str(path)


def distill(folder, config, *arguments, processes=1):
    """Run a config in ``folder`` by `composer`; return exit code and output."""
    path = write_config(folder, config)
    command = [COMPOSER, "-n", str(processes), SCRIPT, "-f", path, *arguments]
    # A group of its own, so that a run which kills its group does not take the tests along.
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        start_new_session=True,
    )
    return done.returncode, done.stdout + done.stderr


def write_config(folder, config):
    """The YAML of a run in ``folder``."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def weights(folder):
    """Tensors of an exported student by name."""
    return Tx1Model.from_pretrained(folder).state_dict()


def remove_blocks(folder):
    """Remove shared memory that killed runs left behind for the data sets in ``folder``."""
    for path in Path("/dev/shm").glob("[0-9]*_locals"):
        if str(folder).encode() in path.read_bytes():
            for block in path.parent.glob(f"{path.name[:6]}_*"):
                block.unlink(missing_ok=True)


class WarmRuns:
    """Starts runs by forking a process that has imported everything; saves some 20 s a run.

    A run is `scripts/distill.py` itself, one process a rank, in a process group of its own and with the environment
    that `composer` gives it.
    """

    def __init__(self):
        launcher = HELPERS / "warm_launcher.py"
        clean = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, launcher], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
        )
        self.started, self.outputs = 0, {}

    def distill(self, folder, config, *arguments, processes=1, variables=None):
        """As the function of that name; ``variables`` go on top of the environment."""
        return self.finish(self.start(folder, config, *arguments, processes=processes, variables=variables))

    def start(self, folder, config, *arguments, processes=1, variables=None):
        """Start a run; return its number."""
        path = write_config(folder, config)
        self.started += 1
        request = {
            "number": self.started,
            "arguments": ["-f", str(path), *map(str, arguments)],
            "script": str(SCRIPT),
            "folder": str(folder),
            "processes": processes,
            "environment": {**environment(folder), **(variables or {})},
            "seconds": SECONDS,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.started

    def finish(self, number):
        """Wait for the end of a run; return exit code and output."""
        while number not in self.outputs:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the launcher of the runs has died; see its stderr above")
            output = json.loads(line)
            self.outputs[output["number"]] = output
        output = self.outputs.pop(number)
        return output["code"], "".join(Path(log).read_text() for log in output["logs"])

    def close(self):
        """End the launcher."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(timeout=30)
