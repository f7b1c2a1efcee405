"""Results of an unfinished run beside the output: what survives a kill, and what a rerun carries on from."""

import json
import shutil
from pathlib import Path

import numpy as np

from tahoe_distill.files import replace_text

STATE = "state.json"
VECTORS = "vectors.f32"


class PartialResult:
    """A folder ``.NAME.partial`` that holds the windows done so far.

    Vectors go into a raw file at their final place, and the state file is replaced, whole, after them; so whenever the
    process dies, the state speaks of windows that are on the disk.

    Args:
        out: The output file that this becomes.
        run: What identifies the run; a folder of another run is refused.
        shape: (n_obs, e) of the vectors.

    Raises:
        ValueError: When the folder belongs to another run.
        OSError: When it cannot be written.
    """

    def __init__(self, out, run, shape):
        self.folder = folder_of(out)
        self.folder.mkdir(exist_ok=True)
        self.state = self._read(run)
        path = self.folder / VECTORS
        fresh = not path.exists() or path.stat().st_size != 4 * shape[0] * shape[1]
        if fresh or self.state is None:
            self.state = {"run": run, "windows": 0, "cells_empty": 0, "cells_at_context": 0}
        self.vectors = np.memmap(path, dtype=np.float32, mode="w+" if fresh else "r+", shape=shape)

    def _read(self, run):
        path = self.folder / STATE
        if not path.exists():
            return None
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["run"] != run:
            wrong = sorted(name for name in {*run, *state["run"]} if run.get(name) != state["run"].get(name))
            raise ValueError(
                f"{self.folder} holds the unfinished result of another run (different: {', '.join(wrong)}); repeat "
                "that run's command to finish it, or pass --overwrite (overwrite=True) to drop it"
            )
        return state

    @property
    def windows(self):
        """Number of windows that are done."""
        return self.state["windows"]

    def genes(self):
        """``{token: [sum, count]}`` as it was after the last window."""
        path = self.folder / f"genes-{self.windows}.npz"
        if not self.windows or not path.exists():
            return {}
        with np.load(path) as stored:
            return {
                int(token): [vector, int(count)]
                for token, vector, count in zip(stored["tokens"], stored["sums"], stored["counts"])
            }

    def commit(self, window, vectors, counts, genes=None):
        """Keep one window's vectors, the tally so far and, where they are wanted, the gene sums so far."""
        self.vectors[slice(*window)] = vectors
        self.vectors.flush()
        done = self.windows + 1
        if genes is not None:
            self._keep_genes(done, genes)
        self.state = {**self.state, **counts, "windows": done}
        replace_text(self.folder / STATE, json.dumps(self.state))
        if genes is not None:
            (self.folder / f"genes-{done - 1}.npz").unlink(missing_ok=True)

    def _keep_genes(self, done, genes):
        tokens = np.array(sorted(genes), dtype=np.int64)
        sums = np.array([genes[token][0] for token in tokens.tolist()])
        counts = np.array([genes[token][1] for token in tokens.tolist()], dtype=np.int64)
        np.savez(self.folder / f"genes-{done}.npz", tokens=tokens, sums=sums, counts=counts)

    def drop(self):
        """Delete the folder."""
        drop_partial(self.folder)


def folder_of(out):
    """Folder that holds the unfinished result of ``out``."""
    out = Path(out)
    return out.with_name(f".{out.name}.partial")


def drop_partial(folder):
    """Delete a folder of partial results, if there is one."""
    if Path(folder).is_dir():
        shutil.rmtree(folder)
