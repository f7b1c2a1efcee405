"""One process's work: windows in, their files out. The plain way, a shard and an actor differ in who hands them out."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from tahoe_distill.atlas.job import Job, Source, Window
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.store import CellStore, StoredEngine
from tahoe_distill.cells import open_cells
from tahoe_distill.embedding.doctor import check_cells_make_sense
from tahoe_distill.embedding.pipeline import run_windows
from tahoe_distill.embedding.session import Session
from tahoe_distill.errors import is_full_disk
from tahoe_distill.models import Tx1Model, Tx1Processor

# Cells of a source that are looked at before it is embedded.
_LOOK = 1024


class SourceError(ValueError):
    """A source that cannot be read.

    Args:
        source: Its number.
        message: What was found, with its path.
    """

    def __init__(self, source: int, message: str):
        super().__init__(source, message)
        self.source, self.message = source, message

    def __str__(self) -> str:
        return self.message


class Worker:
    """A model made ready, which embeds windows of any source.

    Args:
        job: How.
        sources: All sources of the atlas.
        ledger: Where finished windows go.
        pair: The model and its processor, where they are loaded already.

    Raises:
        ValueError: When model and options do not fit.
    """

    def __init__(
        self,
        job: Job,
        sources: Sequence[Source],
        ledger: Ledger,
        *,
        pair: tuple[Tx1Model, Tx1Processor] | None = None,
    ):
        self.job, self.sources, self.ledger = job, sources, ledger
        self.options = job.options()
        self.model, self.processor = pair or job.load()
        self.store = None if job.store is None else CellStore(job.store, self.model, self.options)
        self._engines = self._ready()

    def embed(self, windows: Sequence[Window], on_cells: Callable[[int], object] | None = None) -> None:
        """Embed windows of one source, in order, and keep each as it is done.

        Args:
            windows: The windows.
            on_cells: Called with numbers of cells done.

        Raises:
            SourceError: When the source cannot be read, or its vectors would mean nothing.
            OSError: When a window cannot be written.
        """
        for window, vectors, genes in self._results(windows, on_cells):
            self.ledger.keep(window, vectors, genes)

    def close(self) -> None:
        """Leave the store of cells in order for those who come later."""
        if self.store is not None:
            self.store.tidy()

    @contextlib.contextmanager
    def session(self, number: int) -> Iterator[Session]:
        """A source, opened and looked at, with the model.

        Raises:
            ValueError: When it cannot be read, or its vectors would mean nothing.
        """
        source, job = self.sources[number], self.job
        turned = f"rows-{hashlib.sha256(f'{source.path} {job.layer} {source.identity}'.encode()).hexdigest()[:16]}"
        with open_cells(source.path, layer=job.layer, turned=self.ledger.folder / turned) as cells:
            if cells.n_obs != source.cells:
                raise ValueError(f"{source.path} has {cells.n_obs} cells, but had {source.cells} when the run began")
            matched = job.matched(cells, self.processor)
            session = Session(self.model, self.processor, matched, self.options, job.model, engines=self._engines)
            session.check()
            check_cells_make_sense(session, most=_LOOK)
            yield session

    def _ready(self) -> dict[Any, Any]:
        """The engines that the sessions share; with a store it stands before the model."""
        if self.store is None:
            return {}
        place = self.options.places()[0]
        bare = Session(self.model, self.processor, None, self.options, self.job.model)  # type: ignore[arg-type]
        return {place: StoredEngine(bare.engine(place), self.store)}

    def _results(
        self, windows: Sequence[Window], on_cells: Callable[[int], object] | None
    ) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        number = windows[0].source
        try:
            with self.session(number) as session:
                special = len(self.processor.special_tokens)
                for bounds, cells, result in run_windows(
                    session, [(window.start, window.stop) for window in windows], on_cells
                ):
                    genes = np.array([len(tokens) for tokens, _ in cells]) - special
                    yield Window(number, *bounds), result.vectors, genes
        except (ValueError, OSError) as error:
            if is_full_disk(error) or isinstance(error.__cause__, BrokenProcessPool):
                raise
            path, text = self.sources[number].path, str(error)
            raise SourceError(number, text if path in text else f"{path}: {text}") from error
