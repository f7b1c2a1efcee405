"""Which gene is which: the matcher that every command calls, and what it has to say about the match."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.species import GeneNames, describe_genes
from tahoe_distill.cells.symbols import Symbols, with_symbols
from tahoe_distill.models.processing_tx1 import SYMBOL_COLUMNS, GeneVocab, gene_columns

# Below this share of known genes a user hears of it, and names that look foreign are refused.
_FEW, _FOREIGN = 0.5, 0.1
# Names looked at to tell what they are.
_LOOK = 2000
_NO_NAME = ("", "nan", "None", "NA")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneMatch:
    """How the genes of one source stand to a vocabulary.

    Args:
        where: The source.
        tokens: (genes,) int64 vocabulary numbers, -1 where unknown.
        column: Column of ``var`` they were read from; ``None`` for the index.
        by_symbol: How many were found by their symbol, not by their id.
        unmatched: The first names that are not in the vocabulary.
        looked: Places looked in, with examples, for messages.
        seen: What the names look like.
        naming: What the vocabulary calls its genes, as :attr:`GeneVocab.naming` says it.
    """

    where: str
    tokens: np.ndarray = field(repr=False)
    column: str | None
    by_symbol: int
    unmatched: list[str]
    looked: str
    seen: GeneNames
    naming: str

    @property
    def count(self) -> int:
        """Genes that are in the vocabulary."""
        return int((self.tokens >= 0).sum())

    @property
    def share(self) -> float:
        """Share of the genes that are in the vocabulary."""
        return self.count / max(self.tokens.size, 1)

    @property
    def duplicates(self) -> int:
        """Genes that share their number with an earlier one; their counts are summed."""
        return self.count - np.unique(self.tokens[self.tokens >= 0]).size

    @property
    def problem(self) -> str | None:
        """Why cells cannot be read by this match: no gene is known, or next to none and the names look foreign."""
        advice = f"looked in {self.looked}. {self.seen.advice}"
        if not self.count:
            return (
                f"none of the {self.tokens.size} genes is in the vocabulary of {self.naming}, expected those, or human "
                f"Ensembl ids or symbols of the same genes; {advice}"
            )
        return f"{self}; {advice}" if self.seen.is_foreign and self.share < _FOREIGN else None

    def require(self, force: bool = False) -> "GeneMatch":
        """The match itself, where cells can be read by it; warns where few genes are known or some repeat.

        Args:
            force: Take names that look foreign too, as long as a gene is known.

        Raises:
            ValueError: When there is a :attr:`problem`.
        """
        if self.problem and not (force and self.count):
            raise ValueError(f"{self.where}: {self.problem}")
        if self.share < _FEW:
            log.warning("%s: only %s", self.where, self)
        if self.duplicates:
            log.warning("%s: %d genes repeat an earlier one; their counts are summed", self.where, self.duplicates)
        return self

    def __str__(self) -> str:
        place = "the index" if self.column is None else f"column {self.column!r}"
        known = f"{self.count:,} of {self.tokens.size:,} genes are in the vocabulary ({100 * self.share:.1f} %)"
        return f"{known}, read from {place}{f', {self.by_symbol:,} of them by symbol' if self.by_symbol else ''}"

    def report(self) -> dict[str, Any]:
        """Numbers for ``metadata.json``."""
        return {
            "column": self.column or "index",
            "genes": int(self.tokens.size),
            "matched": self.count,
            "by_symbol": self.by_symbol,
            "duplicates_summed": self.duplicates,
            "unmatched_examples": self.unmatched,
        }


def match_genes(
    cells: Cells, vocab: GeneVocab, *, gene_key: str | None = None, symbols: Symbols | None = None
) -> GeneMatch:
    """Match the genes of a source: its index or the usual column that matches best, by id or by symbol.

    Args:
        cells: The source.
        vocab: The vocabulary. Its own symbols, and below them those of the package, serve where a name is no id.
        gene_key: Column of ``var`` with gene names, when it is to be no other.
        symbols: Table of symbols that overrides all others, as :func:`~tahoe_distill.cells.symbols.read_symbols` takes.

    Raises:
        ValueError: When ``gene_key`` is not a column.
    """
    var = cells.var
    column, tokens, by_symbol = with_symbols(vocab, symbols).match(var, gene_key)
    names = _names(var, column)
    match = GeneMatch(
        where=cells.where,
        tokens=tokens,
        column=column,
        by_symbol=int(by_symbol.sum()),
        unmatched=[names[place] for place in np.flatnonzero(tokens < 0)[:10]],
        looked=_looked(var, gene_key),
        seen=describe_genes(names[:: max(1, len(names) // _LOOK)]),
        naming=vocab.naming,
    )
    log.info("%s: %s", cells.where, match)
    return match


def own_symbols(var: pd.DataFrame, vocab: GeneVocab, column: str | None) -> dict[str, str]:
    """The symbols that a table gives to its ids, for tables that have no ids.

    Args:
        var: Table of the genes.
        vocab: The vocabulary.
        column: Column (``None`` for the index) with the ids.

    Returns:
        Symbol to id, where the vocabulary has the id; the first id of a symbol counts. Empty where ``column`` holds no
        ids, or there are no symbols.
    """
    names = _names(var, column)
    ids = [name if name in vocab.tokens else name.partition(".")[0] for name in names]
    known = [gene in vocab.tokens for gene in ids]
    places: list[str | None] = [name for name in SYMBOL_COLUMNS if name in var.columns and name != column]
    places += [] if column is None else [None]
    if not any(known) or not places:
        return {}
    pairs = [(name, gene) for name, gene, ok in zip(_names(var, places[0]), ids, known) if ok]
    # An id is no symbol, though some files put one where a gene has no name.
    return {name: gene for name, gene in reversed(pairs) if name not in _NO_NAME and name not in vocab.tokens}


def _names(var: pd.DataFrame, column: str | None) -> list[str]:
    return [str(name) for name in (var.index if column is None else var[column])]


def _looked(var: pd.DataFrame, gene_key: str | None) -> str:
    """The places looked in, and what stands there."""
    columns = {column: ", ".join(_names(var.iloc[:3], column)) for column in gene_columns(var, gene_key)}
    return ", ".join(f"{column or 'the index'} ({names})" for column, names in columns.items())
