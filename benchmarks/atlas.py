"""An atlas of made-up cells: what the Ray way costs over the plain one, and how time and memory grow with the cells.

    python benchmarks/atlas.py [--cells 100000 200000] [--file 50000] [--actors 1] [--folder /tmp/atlas]

Writes files of cells over the vocabulary of tx1-nano and an untrained student of the preset `static-tiny`, then embeds
so many of the files as are needed, each way in a process of its own: wall-clock and CPU seconds, and the largest memory
of a process that computes. `--cells 2000000` takes 25 GB of disk and about an hour of one core.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from tahoe_distill import Tx1Model, Tx1Processor, load_teacher
from tahoe_distill.atlas import embed_atlas
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.ray_way import RaySettings
from tahoe_distill.embedding.partial import folder_of
from tahoe_distill.models import GeneVocab
from tahoe_distill.models.modeling_tx1 import CPU_WINDOW
from tahoe_distill.training.student.build import student_config

GENES, EXPRESSED = 2000, 500


def main() -> None:
    """Write what is not there yet, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[100_000, 200_000], help="sizes of the atlas (%(default)s)"
    )
    parser.add_argument("--file", type=int, default=50_000, help="cells of a file (%(default)s)")
    parser.add_argument("--actors", type=int, default=1, help="actors of the Ray way (%(default)s)")
    parser.add_argument("--ways", nargs="+", default=["plain", "ray"], choices=["plain", "ray"], help="(%(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/atlas-benchmark"), help="where to write (%(default)s)"
    )
    parser.add_argument("--one", metavar="WAY", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(embed_once(args.folder, args.cells[0] // args.file, args.one, actors=args.actors)))
        return
    vocab = write_student(args.folder)
    for number in range(max(args.cells) // args.file):
        write_cells(args.folder / f"cells-{number:04d}.h5ad", vocab, args.file, seed=number)
    print(
        "| cells | way | wall s | cells/s between first and last window | CPU s | memory of the largest process, MB |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for cells in args.cells:
        for way in args.ways:
            measure(args, cells, way)


def measure(args: argparse.Namespace, cells: int, way: str) -> None:
    """Embed in a fresh process and print a row of the table."""
    command = [sys.executable, __file__, "--one", way, "--cells", str(cells), "--file", str(args.file)]
    command += ["--folder", str(args.folder), "--actors", str(args.actors)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"| {cells:,} | {way} | {found['wall']:.1f} | {found['pace']:,.0f} | "
        f"{found['cpu']:.1f} | {found['memory']:,.0f} |",
        flush=True,
    )


def embed_once(folder: Path, files: int, way: str, *, actors: int) -> dict[str, float]:
    """Embed the first files; seconds in all, cells a second between first and last window, CPU seconds, megabytes."""
    out = folder / f"{way}.zarr"
    shutil.rmtree(out, ignore_errors=True)
    ray = RaySettings(actors=actors, memory=1.0) if way == "ray" else None
    watch = Watch(out)
    watch.start()
    began = time.perf_counter()
    embed_atlas([folder / f"cells-{number:04d}.h5ad" for number in range(files)], folder / "student", out, ray=ray)
    wall = time.perf_counter() - began
    watch.over.set()
    watch.join()
    return {"wall": wall, "pace": CPU_WINDOW * watch.pace(), "cpu": sum(watch.cpu.values()), "memory": watch.memory}


class Watch(threading.Thread):
    """Looks at the windows that are done, and at the processes that do them.

    Args:
        out: The output that is being made.
    """

    def __init__(self, out: Path):
        super().__init__(daemon=True)
        self.ledger = Ledger(folder_of(out))
        self.seen: list[tuple[float, int]] = []
        self.cpu: dict[int, float] = {}
        self.memory = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        """Look five times a second, until it is over."""
        while not self.over.wait(0.2):
            done = len(self.ledger.done())
            if done and (not self.seen or done > self.seen[-1][1]):
                self.seen.append((time.perf_counter(), done))
            for process in _computing():
                self.cpu[process], memory = _taken(process)
                self.memory = max(self.memory, memory)

    def pace(self) -> float:
        """Windows a second, from the first that was seen to the last: without start and finish."""
        (began, first), (ended, last) = self.seen[0], self.seen[-1]
        return (last - first) / (ended - began)


def _computing() -> list[int]:
    """Ids of this process and of the actors."""
    found = [os.getpid()]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::RemoteWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def _taken(process: int) -> tuple[float, float]:
    """CPU seconds and largest memory in MB of a process."""
    with contextlib.suppress(OSError, StopIteration):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        memory = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), memory / 1024
    return 0.0, 0.0


def write_student(folder: Path) -> GeneVocab:
    """Write the student where there is none; return its vocabulary."""
    teacher = load_teacher("tx1-nano")
    if not (folder / "student").exists():
        folder.mkdir(parents=True, exist_ok=True)
        config = student_config("static-tiny", teacher.model.config)
        torch.manual_seed(0)
        for part in (Tx1Model(config), Tx1Processor(teacher.processor.vocab, max_length=config.context_length)):
            part.save_pretrained(folder / "student")
    return teacher.processor.vocab


def write_cells(path: Path, vocab: GeneVocab, count: int, *, seed: int) -> None:
    """Write cells of 500 genes each, all others zero."""
    if path.exists():
        return
    rng = np.random.default_rng(seed)
    names = [token for token in vocab.tokens if not token.startswith("<")][:GENES]
    columns = np.sort(rng.integers(0, len(names), (count, EXPRESSED), dtype=np.int32), axis=1)
    values = 1 + np.asarray(rng.poisson(2, columns.shape), dtype=np.float32)
    bounds = np.arange(0, columns.size + 1, EXPRESSED)
    matrix = sparse.csr_matrix((values.ravel(), columns.ravel(), bounds), shape=(count, len(names)))
    matrix.sum_duplicates()
    obs = pd.DataFrame({"kind": rng.choice(["a", "b"], count)}, index=[f"{seed}-{number}" for number in range(count)])
    anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=names)).write_h5ad(path)


if __name__ == "__main__":
    main()
