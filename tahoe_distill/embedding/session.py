"""What every call begins with: a model and its processor, checked, and the cells that they are to read."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import anndata
import numpy as np
import torch

from tahoe_distill import __version__
from tahoe_distill.embedding.engine import Cell, Engine
from tahoe_distill.embedding.loading import ModelSource, is_path, load_student, weights_fingerprint
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.prepare import drug_numbers, match_genes
from tahoe_distill.embedding.source import FileSource, MemorySource, check_values
from tahoe_distill.models import Tx1Model, Tx1Processor

CellSource = anndata.AnnData | str | os.PathLike[str]


@contextlib.contextmanager
def open_session(
    cells: CellSource,
    model: ModelSource,
    options: Options | None = None,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    drug_key: str | None = None,
) -> Iterator["Session"]:
    """Open the cells, load the model; the cells are closed when the block ends.

    Args:
        cells: AnnData, or path of an h5ad or zarr file.
        model: As in :func:`load_student`.
        options: How to embed.
        layer: Layer to read instead of ``X``.
        gene_key: Column of ``var`` with Ensembl ids; found by itself when left out.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.

    Yields:
        A :class:`Session`.

    Raises:
        ValueError: When cells or model are not there or are something else.
    """
    chosen = {"layer": layer, "gene_key": gene_key, "drug_key": drug_key}
    with open_cells(cells, layer) as source:
        student, processor = load_student(model)
        matched = MatchedCells(source, processor, gene_key=gene_key, drug_key=drug_key)
        name = str(model) if is_path(model) else None
        yield Session(student, processor, matched, options or Options(), name, chosen)


@dataclass(frozen=True)
class Session:
    """A model and the cells that it is to read.

    Args:
        model: The model.
        processor: Its processor.
        cells: The cells, in the model's tokens.
        options: How to embed.
        name: Folder or hub id that the model was loaded from; ``None`` for objects of the caller.
        chosen: ``layer``, ``gene_key`` and ``drug_key`` as the user gave them.
    """

    model: Tx1Model
    processor: Tx1Processor
    cells: "MatchedCells"
    options: Options
    name: str | None = None
    chosen: dict[str, str | None] = field(default_factory=dict)

    def check(self) -> None:
        """Look for all that may be wrong with cells and options, before any long work.

        Raises:
            ValueError: With what was found and what to do.
        """
        self.options.blocks(self.model.config.num_hidden_layers)
        self.cells.check()

    def engine(self, device: torch.device) -> Engine:
        """The model made ready on a device; objects of the caller are not changed."""
        return Engine(self.model, self.processor, self.options, device=device, owned=self.name is not None)

    def provenance(self) -> dict[str, object]:
        """What to note in ``uns`` to make the vectors again; no time, so that a rerun writes the same file."""
        tokens, options = self.cells.tokens, self.options
        noted = {
            "model": self.name or "in memory",
            "weights": weights_fingerprint(self.model),
            "pooling": self.model.config.pooling,
            "normalize": options.normalize,
            "backend": options.backend,
            "dtype": str(options.dtype),
            "genes_matched": int((tokens >= 0).sum()),
            "genes_total": int(tokens.size),
            "tahoe_distill": __version__,
        }
        return {**noted, **{key: value for key, value in self.chosen.items() if value is not None}}


class MatchedCells:
    """Open cells as a processor reads them. Genes and drugs are looked up when they are first asked for.

    Args:
        source: What :func:`open_cells` gave.
        processor: The processor.
        gene_key: Column of ``var`` with Ensembl ids; found by itself when left out.
        drug_key: Column of ``obs`` with drug names, for a processor with a drug token.
    """

    def __init__(
        self,
        source: MemorySource | FileSource,
        processor: Tx1Processor,
        *,
        gene_key: str | None = None,
        drug_key: str | None = None,
    ):
        self.source = source
        self.processor = processor
        self.gene_key = gene_key
        self.drug_key = drug_key
        self.n_obs, self.n_vars = source.n_obs, source.n_vars

    @cached_property
    def tokens(self) -> np.ndarray:
        """(n_vars,) int64 token of each gene, -1 where unknown."""
        return match_genes(self.processor, self.source, self.gene_key)

    @cached_property
    def drug_ids(self) -> np.ndarray | None:
        """(n_obs,) int64 drug numbers, zeros where no drug is known; ``None`` without a drug token."""
        return drug_numbers(self.processor, self.source, self.drug_key)

    @cached_property
    def columns(self) -> np.ndarray:
        """(V,) int64 column of each token, -1 where there is none; the first of several."""
        columns = np.full(len(self.processor.vocab), -1, dtype=np.int64)
        known = np.flatnonzero(self.tokens >= 0)[::-1]
        columns[self.tokens[known]] = known
        return columns

    def check(self) -> None:
        """Match genes and drugs, and look at every value.

        Raises:
            ValueError: When no gene is known, a value is no count, there are no cells, or drugs make no sense.
        """
        _ = self.tokens
        check_values(self.source)
        _ = self.drug_ids

    def encode(self, start: int, stop: int) -> list[Cell]:
        """Tokens and values of cells ``start`` to ``stop - 1``."""
        return self.processor.encode_rows(self.source.rows(start, stop), self.tokens)

    def drugs(self, start: int, stop: int) -> np.ndarray | None:
        """Their drug numbers, for a processor with a drug token."""
        return None if self.drug_ids is None else self.drug_ids[start:stop]


def open_cells(cells: CellSource, layer: str | None = None) -> MemorySource | FileSource:
    """Cells of an AnnData or of a file, as a context manager.

    Raises:
        ValueError: When they are not there.
    """
    return FileSource(cells, layer) if is_path(cells) else MemorySource(cells, layer)
