"""Worker processes live no longer than the process that started them, and leave Ctrl-C to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tahoe_distill.embedding.partial import STATE, folder_of

SLOW = """
import sys, time
from tahoe_distill.embedding import embed_file, partial
if __name__ == "__main__":
    commit = partial.PartialResult.commit
    def slowly(self, *arguments):
        commit(self, *arguments)
        time.sleep(60)
    partial.PartialResult.commit = slowly
    option = {"workers": 2} if sys.argv[4] == "workers" else {"devices": "cpu,cpu"}
    embed_file(*sys.argv[1:4], window=4, **option)
"""


def children(pid):
    """Numbers of the processes that a process started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
@pytest.mark.parametrize(("option", "sent"), [("workers", signal.SIGINT), ("devices", signal.SIGKILL)])
def test_workers_end_with_their_parent(option, sent, adata, student_dir, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "run.py").write_text(SLOW)
    arguments = ["run.py", "cells.h5ad", student_dir, "out.h5ad", option]
    with open(tmp_path / "errors", "w") as errors:
        process = subprocess.Popen([sys.executable, *arguments], cwd=tmp_path, stderr=errors, start_new_session=True)
    deadline = time.time() + 120
    while time.time() < deadline and not (folder_of(tmp_path / "out.h5ad") / STATE).exists():
        assert process.poll() is None, (tmp_path / "errors").read_text()
        time.sleep(0.1)
    workers = children(process.pid)
    assert len(workers) >= 2
    # To the parent alone when it is killed; Ctrl-C reaches all.
    (os.kill if sent == signal.SIGKILL else os.killpg)(process.pid, sent)
    process.wait(timeout=60)
    while time.time() < deadline and any(Path(f"/proc/{worker}").exists() for worker in workers):
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert (tmp_path / "errors").read_text().count("Traceback") == (sent == signal.SIGINT)
