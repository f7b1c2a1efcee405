"""Recompute a random share of an atlas from its sources, and say what follows for all of it.

Shapes: N cells of the atlas, n cells that are looked at, w cells of a window.
"""

import logging
import math
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta

from tahoe_distill.atlas.job import Job, Source
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.outputs import BFLOAT16, Written, written
from tahoe_distill.atlas.worker import Worker
from tahoe_distill.cells.formats import identity_of
from tahoe_distill.embedding.loading import weights_fingerprint

log = logging.getLogger(__name__)

CONFIDENCE = 0.95
# Largest difference of any number of a vector of length 1: of float32 in other company, and of half precision or int8.
EXACT, ROUGH = 1e-5, 3e-2
# Of bfloat16, which keeps 8 bits of a number.
_ROUNDED = 2.0**-8
# Cells that are read and computed at a time.
_STEP = 256


@dataclass(frozen=True)
class Audit:
    """What a random share of an atlas says of all of it.

    Args:
        cells: N.
        looked_at: n.
        wrong: Numbers of the cells, of those looked at, whose vectors are others.
        places: Where the first of them came from, in words.
        largest: Largest difference of any number.
        tolerance: What was allowed.
        window: Cells of a window.
        seed: What the cells were drawn by; the same seed draws the same.
        confidence: Of the bound.
    """

    cells: int
    looked_at: int
    wrong: tuple[int, ...]
    places: tuple[str, ...]
    largest: float
    tolerance: float
    window: int
    seed: int
    confidence: float = CONFIDENCE

    @property
    def bound(self) -> float:
        """The share of wrong cells that lies above the true one with the stated confidence (Clopper and Pearson)."""
        count, wrong = self.looked_at, len(self.wrong)
        if count == self.cells:
            return wrong / count
        return 1.0 if wrong == count else float(beta.ppf(self.confidence, wrong + 1, count - wrong))

    @property
    def chance(self) -> float:
        """The probability that a window with wrong vectors alone is found."""
        return chance_to_find(self.window, self.looked_at, self.cells)

    def __str__(self) -> str:
        agree = self.looked_at - len(self.wrong)
        lines = [
            f"{agree:,} of {self.looked_at:,} cells agree with their source, drawn from {self.cells:,} by seed "
            f"{self.seed} (largest difference {self.largest:.1e}, allowed {self.tolerance:.0e})",
            f"with {100 * self.confidence:g} % confidence at most {100 * self.bound:.2g} % of all cells differ; one "
            f"forged window of {self.window:,} cells would have been found with probability {self.chance:.3g}",
        ]
        return "\n".join([*lines, *(f"differs: {place}" for place in self.places)])


def chance_to_find(wrong: int, looked_at: int, cells: int) -> float:
    """The probability that of some wrong cells at least one is drawn (hypergeometric).

    Args:
        wrong: How many are wrong.
        looked_at: How many are drawn.
        cells: How many there are.
    """
    if looked_at > cells - wrong:
        return 1.0
    terms = (math.log1p(-looked_at / (cells - number)) for number in range(wrong))
    return -math.expm1(sum(terms))


def drawn(cells: int, sample: float, seed: int) -> np.ndarray:
    """The (n,) ascending numbers of the cells that a seed draws: a share of all, one at least, none twice."""
    count = min(cells, max(1, math.ceil(sample * cells)))
    return np.sort(np.random.default_rng(seed).choice(cells, count, replace=False))


def audit(
    out: str | os.PathLike[str],
    *,
    sample: float = 0.001,
    key_added: str = "X_tx1",
    model: str | os.PathLike[str] | None = None,
    tolerance: float | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Audit:
    """Recompute the vectors of random cells from the sources of an atlas.

    Args:
        out: The atlas, as :func:`tahoe_distill.atlas.embed_atlas` wrote it.
        sample: Share of the cells to look at, 0 … 1; one cell at least.
        key_added: Key of its vectors.
        model: The model, where it lies elsewhere now.
        tolerance: Largest difference allowed; by the precision it was computed in when left out.
        seed: What to draw the cells by; left out, nobody can know them beforehand.
        device: Where to compute; as the atlas was when left out.

    Returns:
        An :class:`Audit`.

    Raises:
        ValueError: When the atlas has no notes on its sources, the model is another one, or a source has other cells.
    """
    if not 0 < sample <= 1:
        raise ValueError(f"sample (--sample) is {sample}; expected a share of the cells between 0 and 1")
    with written(out, key_added) as found:
        job, sources = _job(found, model, device), _sources(found, out)
        worker = Worker(job, sources, Ledger(Path(out).parent))
        weights = weights_fingerprint(worker.model)
        if weights != found.notes["weights"]:
            raise ValueError(f"{job.model} has weights {weights}, but {out} was made with {found.notes['weights']}")
        seed = secrets.randbits(63) if seed is None else seed
        numbers = drawn(found.cells, sample, seed)
        differences = _differences(found, worker, numbers)
        allowed = _tolerance(found) if tolerance is None else tolerance
        # NaN is no agreement.
        wrong = numbers[~(differences <= allowed)]
        places = tuple(_place(sources, number) for number in wrong[:10].tolist())
        largest, window = float(differences.max()), int(job.settings["window"])
        return Audit(found.cells, len(numbers), tuple(wrong.tolist()), places, largest, allowed, window, seed)


def _job(found: Written, model: str | os.PathLike[str] | None, device: str | None) -> Job:
    if "job" not in found.notes:
        raise ValueError(
            "these vectors have no notes on how they were made; an audit is of what embed wrote of many files"
        )
    job = Job.from_json(str(found.notes["job"]))
    settings = {**job.settings, **({} if device is None else {"device": device})}
    # Cells that were drawn are in other company than they were.
    return Job(**{**vars(job), "settings": settings, **({} if model is None else {"model": str(model)})})


def _sources(found: Written, out: str | os.PathLike[str]) -> list[Source]:
    columns = (found.notes[name] for name in ("sources", "cells", "identities"))
    sources = [Source(str(path), int(cells), str(stamp)) for path, cells, stamp in zip(*columns, strict=True)]
    if sum(source.cells for source in sources) != found.cells:
        raise ValueError(
            f"{out} has {found.cells} cells, but its notes speak of {sum(source.cells for source in sources)}; cells "
            "were added or taken away"
        )
    for source in sources:
        if source.cells and source.identity and identity_of(source.path) != source.identity:
            log.warning("%s is not there, or its files changed since; its cells are compared all the same", source.path)
    return sources


def _tolerance(found: Written) -> float:
    dtype, backend, device = (str(found.notes[name]) for name in ("dtype", "backend", "device"))
    exact = (dtype == "float32" or (dtype == "auto" and device == "cpu")) and "int8" not in backend
    if found.notes.get("stored_as") == BFLOAT16:
        return max(_ROUNDED, EXACT if exact else ROUGH)
    return EXACT if exact else ROUGH


def _differences(found: Written, worker: Worker, numbers: np.ndarray) -> np.ndarray:
    """(n,) largest difference of the vectors of the cells of these numbers."""
    bounds = np.cumsum([0, *(source.cells for source in worker.sources)])
    owners = np.searchsorted(bounds, numbers, side="right") - 1
    differences = np.empty(len(numbers))
    for owner in np.unique(owners).tolist():
        mine = np.flatnonzero(owners == owner)
        with worker.session(owner) as session:
            engine = session.engine(session.options.places()[0])
            for start in range(0, len(mine), _STEP):
                part = mine[start : start + _STEP]
                rows = (numbers[part] - bounds[owner]).tolist()
                cells = [cell for row in rows for cell in session.cells.encode(row, row + 1)]
                drugs = None if session.cells.drug_ids is None else session.cells.drug_ids[rows]
                gap = engine.window(cells, drugs).vectors - found.vectors(numbers[part])
                differences[part] = np.abs(gap).max(axis=1)
    return differences


def _place(sources: list[Source], number: int) -> str:
    for source in sources:
        if number < source.cells:
            return f"cell {number} of {source.path}"
        number -= source.cells
    return f"cell {number}"
