"""What every call begins with: a model and its processor, checked, and the cells that they are to read."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tahoe_distill import __version__
from tahoe_distill.cells import Cells, GeneMatch, check_cells, match_genes, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.cells.formats import Source
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.backends import check_backend
from tahoe_distill.embedding.engine import Engine
from tahoe_distill.embedding.loading import ModelSource, at_size, is_path, load_student, weights_fingerprint
from tahoe_distill.embedding.options import Options
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.models.processing_tx1 import Cell


@contextlib.contextmanager
def open_session(
    cells: Source,
    model: ModelSource,
    options: Options | None = None,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    drug_key: str | None = None,
    force: bool = False,
    turned: Path | None = None,
) -> Iterator["Session"]:
    """Open the cells, load the model; the cells are closed when the block ends.

    Args:
        cells: What :func:`tahoe_distill.cells.open_cells` takes.
        model: As in :func:`load_student`.
        options: How to embed.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
        symbols: Table of gene symbols that overrides those of the model and of the package.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        force: Take cells that have next to nothing to do with the vocabulary.
        turned: As :func:`tahoe_distill.cells.open_cells` takes it.

    Yields:
        A :class:`Session`.

    Raises:
        ValueError: When cells or model are not there or are something else.
    """
    chosen = {"layer": layer, "gene_key": gene_key, "drug_key": drug_key}
    with open_cells(cells, layer=layer, turned=turned) as source:
        student, processor = load_student(model)
        options = options or Options()
        student = at_size(student, options.dim)
        names: dict[str, Any] = {"gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
        matched = MatchedCells(source, processor, **names, force=force)
        name = str(model) if is_path(model) else None
        yield Session(student, processor, matched, options, name, chosen)


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
        engines: Models made ready, by device; sessions that share them make each ready once.
    """

    model: Tx1Model
    processor: Tx1Processor
    cells: "MatchedCells"
    options: Options
    name: str | None = None
    chosen: dict[str, str | None] = field(default_factory=dict)
    engines: dict[torch.device, Engine] = field(default_factory=dict)

    def check(self) -> None:
        """Look for all that may be wrong with options and names, before any long work.

        What the cells hold is for :func:`~tahoe_distill.embedding.doctor.check_cells_make_sense` to see.

        Raises:
            ValueError: With what was found and what to do.
            ImportError: When the backend is not installed.
        """
        check_backend(self.options.backend)
        if self.options.attentions is not None and self.model.gene_set_encoder is not None:
            raise ValueError("attentions were asked for, and this model pays none (encoder: set); leave them out")
        self.options.blocks(self.model.config.num_hidden_layers)
        if self.options.genes or self.options.attentions is not None:
            self.cells.check_genes()
        self.cells.check_names()

    def engine(self, device: torch.device) -> Engine:
        """The model made ready on a device; objects of the caller are not changed."""
        if device not in self.engines:
            owned = self.name is not None
            self.engines[device] = Engine(self.model, self.processor, self.options, device=device, owned=owned)
        return self.engines[device]

    def genes_read(self, lengths: np.ndarray) -> np.ndarray:
        """(n,) genes that each vector is made of, from (n,) expressed ones: as many as the context allows."""
        return np.minimum(lengths, self.processor.max_length - len(self.processor.special_tokens))

    def provenance(self) -> dict[str, object]:
        """What to note in ``uns`` to make the vectors again; no time, so that a rerun writes the same file."""
        match, options = self.cells.match, self.options
        noted = {
            "model": self.name or "in memory",
            "weights": weights_fingerprint(self.model),
            "pooling": self.model.config.pooling,
            "normalize": options.normalize,
            "backend": options.backend,
            "dtype": str(options.dtype),
            "genes_matched": match.count,
            "genes_by_symbol": match.by_symbol,
            "genes_total": int(match.tokens.size),
            "tahoe_distill": __version__,
        }
        if options.dim is not None:
            noted["dim"] = options.dim
        return {**noted, **{key: value for key, value in self.chosen.items() if value is not None}}


class MatchedCells:
    """Open cells as a processor reads them. Genes and drugs are looked up when they are first asked for.

    Args:
        source: What :func:`tahoe_distill.cells.open_cells` gave.
        processor: The processor.
        gene_key: As in :func:`open_session`.
        symbols: As in :func:`open_session`.
        drug_key: Column of ``obs`` with drug names, for a processor with a drug token.
        force: Take genes whose names look foreign, as long as one is known.
    """

    def __init__(
        self,
        source: Cells,
        processor: Tx1Processor,
        *,
        gene_key: str | None = None,
        symbols: Symbols | None = None,
        drug_key: str | None = None,
        force: bool = False,
    ):
        self.source = source
        self.force = force
        self.processor = processor
        self.n_obs, self.n_vars = source.n_obs, source.n_vars
        self._gene_key, self._symbols, self._drug_key = gene_key, symbols, drug_key

    @cached_property
    def match(self) -> GeneMatch:
        """How the genes stand to the vocabulary, good or bad."""
        return match_genes(self.source, self.processor.vocab, gene_key=self._gene_key, symbols=self._symbols)

    @cached_property
    def tokens(self) -> np.ndarray:
        """(n_vars,) int64 token of each gene, -1 where unknown."""
        return self.match.require(self.force).tokens

    @cached_property
    def drug_ids(self) -> np.ndarray | None:
        """(n_obs,) int64 drug numbers; ``None`` without a drug token."""
        return cell_drugs(self.source, self.processor, self._drug_key)

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
        self.check_names()
        check_cells(self.source)

    def check_names(self) -> None:
        """Match genes and drugs.

        Raises:
            ValueError: When no gene is known, or drugs make no sense.
        """
        _ = self.tokens, self.drug_ids

    def check_genes(self) -> None:
        """Refuse to write something for each gene of ``var`` where the genes are others.

        Raises:
            ValueError: When ``raw`` is read.
        """
        if self.source.is_raw:
            raise ValueError(
                "layer 'raw' has genes of its own, while gene embeddings, attentions and decoded expression are for "
                "those of var; leave them out, or pass adata.raw.to_adata()"
            )

    def encode(self, start: int, stop: int) -> list[Cell]:
        """Tokens and values of cells ``start`` to ``stop - 1``."""
        return self.processor.encode_rows(self.source.rows(start, stop), self.tokens)

    def drugs(self, start: int, stop: int) -> np.ndarray | None:
        """Their drug numbers, for a processor with a drug token."""
        return None if self.drug_ids is None else self.drug_ids[start:stop]
