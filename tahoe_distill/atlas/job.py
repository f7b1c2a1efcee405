"""What an atlas is made of: the sources, their windows, and how each is to be embedded."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tahoe_distill.cells import open_cells
from tahoe_distill.cells.formats import identity_of, whole_name
from tahoe_distill.cells.values import require_cells
from tahoe_distill.embedding.loading import at_size, load_student, processor_fingerprint, weights_fingerprint
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.session import MatchedCells
from tahoe_distill.models import Tx1Model, Tx1Processor


class Window(NamedTuple):
    """Cells ``start`` to ``stop - 1`` of the source of a number: what a process is given, in place of a matrix."""

    source: int
    start: int
    stop: int


@dataclass(frozen=True)
class Source:
    """A file of cells, or whatever :func:`tahoe_distill.cells.open_cells` opens.

    Args:
        path: What is opened.
        cells: How many there are; 0 where it cannot be read.
        identity: What tells a changed source from the one that was read.
        error: Why it cannot be read.
    """

    path: str
    cells: int = 0
    identity: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """How every window is embedded. Plain values, so that it crosses borders of processes and machines.

    Args:
        model: Folder or hub id.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: A file of gene symbols, as in :func:`tahoe_distill.embed`.
        drug_key: Column of ``obs`` with drug names.
        force: Take cells that have next to nothing to do with the vocabulary.
        store: Folder of cells that were embedded before.
        settings: Fields of :class:`~tahoe_distill.embedding.options.Options`; ``window`` and ``device`` are given.
    """

    model: str
    layer: str | None = None
    gene_key: str | None = None
    symbols: str | None = None
    drug_key: str | None = None
    force: bool = False
    store: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def options(self) -> Options:
        """The checked options; with a store, batches have shapes that follow from each cell alone."""
        return Options(**{**self.settings, "fixed_shapes": self.store is not None})

    def lasting(self) -> dict[str, Any]:
        """The settings that vectors hang on: the kind of device, and not how many there were of what."""
        lasting = {name: value for name, value in self.settings.items() if name not in ("devices", "workers")}
        return {**lasting, "device": str(lasting["device"]).partition(":")[0]}

    def to_json(self) -> str:
        """The job as text, to be noted in an output; where cells were kept says nothing of them."""
        return json.dumps(asdict(replace(self, store=None, settings=self.lasting())), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: When it is no job.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected the notes of an atlas on how it was embedded ({error})") from error

    def load(self) -> tuple[Tx1Model, Tx1Processor]:
        """The model, at the size that is wanted, and its processor."""
        model, processor = load_student(self.model)
        return at_size(model, self.settings.get("dim")), processor

    def matched(self, cells: Any, processor: Tx1Processor) -> MatchedCells:
        """Open cells in the processor's tokens."""
        names = {"gene_key": self.gene_key, "symbols": self.symbols, "drug_key": self.drug_key}
        return MatchedCells(cells, processor, **names, force=self.force)

    def identity(self, model: Tx1Model, processor: Tx1Processor) -> dict[str, Any]:
        """What must be the same for a run to carry on, the sources aside. Where the store lies changes nothing."""
        symbols = None if self.symbols is None else hashlib.sha256(Path(self.symbols).read_bytes()).hexdigest()[:16]
        return {
            "weights": weights_fingerprint(model),
            "processor": processor_fingerprint(processor),
            "layer": self.layer,
            "gene_key": self.gene_key,
            "symbols": symbols,
            "drug_key": self.drug_key,
            "fixed_shapes": self.store is not None,
            **{name: str(value) for name, value in sorted(self.lasting().items())},
        }


def find_sources(
    paths: Sequence[str | os.PathLike[str]], job: Job, processor: Tx1Processor, *, known: Sequence[Source] = ()
) -> list[Source]:
    """Look at each source once: how many cells it has, and whether its genes and drugs can be read.

    Args:
        paths: The sources.
        job: How they are read.
        processor: The model's.
        known: What an earlier run found; a source that did not change is not opened again.
    """
    before = {(source.path, source.identity): source for source in known if source.error is None}
    return [_look_at(whole_name(path), job, processor, before) for path in paths]


def _look_at(path: str, job: Job, processor: Tx1Processor, before: Mapping[tuple[str, str], Source]) -> Source:
    try:
        stamp = identity_of(path)
        if (path, stamp) in before:
            return before[path, stamp]
        with open_cells(path, layer=job.layer) as cells:
            require_cells(cells)
            job.matched(cells, processor).check_names()
            return Source(path, cells.n_obs, stamp)
    except (ValueError, OSError) as error:
        text = str(error)
        return Source(path, error=text if path in text else f"{path}: {text}")


def windows_of(sources: Sequence[Source], size: int) -> list[Window]:
    """The windows of all sources, in order."""
    return [
        Window(number, start, min(start + size, source.cells))
        for number, source in enumerate(sources)
        for start in range(0, source.cells, size)
    ]


def chunks_of(windows: Sequence[Window], size: int) -> list[list[Window]]:
    """Neighbouring windows of one source, at most ``size`` together: what is opened once is read on."""
    chunks: list[list[Window]] = []
    for window in windows:
        if not chunks or len(chunks[-1]) == size or chunks[-1][0].source != window.source:
            chunks.append([])
        chunks[-1].append(window)
    return chunks


def share_of(windows: Sequence[Window], shard: tuple[int, int]) -> list[Window]:
    """The ``i``-th of ``n`` parts of the windows, neighbours together."""
    number, count = shard
    bounds = [len(windows) * part // count for part in (number - 1, number)]
    return list(windows[bounds[0] : bounds[1]])
