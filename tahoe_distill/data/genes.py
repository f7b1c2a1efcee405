"""Which gene is which: columns with Ensembl ids, symbols, version suffixes, duplicates, and a report of the match."""

import csv
import json
import logging
from dataclasses import dataclass

import numpy as np

from tahoe_distill.models.processing_tx1 import GENE_ID_COLUMNS

SYMBOL_COLUMNS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "symbols", "feature_name", "hgnc")

_NO_NAME = ("", "nan", "None", "NA")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneMatch:
    """How the genes of one file stand to a vocabulary.

    Args:
        path: The file.
        tokens: (genes,) int64 vocabulary numbers, -1 where unknown.
        column: Column of ``var`` they were read from; None for the index.
        unmatched: Names that are not in the vocabulary.
        looked: Places looked in, with examples, for messages.
        by_symbol: Whether no name is an id, so that more symbols could match more genes.
    """

    path: str
    tokens: np.ndarray
    column: str | None
    unmatched: list
    looked: str
    by_symbol: bool

    @property
    def count(self):
        """Genes that are in the vocabulary."""
        return int((self.tokens >= 0).sum())

    @property
    def duplicates(self):
        """Genes that share their number with an earlier one; their counts are summed."""
        return self.count - np.unique(self.tokens[self.tokens >= 0]).size

    def require(self):
        """Raise ``ValueError`` when no gene matches; warn of duplicates."""
        if not self.count:
            raise ValueError(
                f"{self.path}: none of its {self.tokens.size} genes is in the vocabulary; looked in {self.looked}. "
                "Expected human Ensembl ids such as ENSG00000141510 (name their column with gene_key), or symbols "
                "together with a symbol table"
            )
        if self.duplicates:
            log.warning("%s: %d genes repeat an earlier one; their counts are summed", self.path, self.duplicates)

    def report(self):
        """Numbers for ``metadata.json``."""
        return {
            "column": self.column or "index",
            "genes": int(self.tokens.size),
            "matched": self.count,
            "duplicates_summed": self.duplicates,
            "unmatched_examples": self.unmatched[:10],
        }


def match_genes(var, vocab, path, gene_key=None):
    """Match the genes of one file: the index or the usual column that matches best, ids or symbols.

    Args:
        var: The file's ``var`` table.
        vocab: The vocabulary; its symbols are used where a name is no Ensembl id.
        path: The file, for messages.
        gene_key: Column of ``var`` with gene names, when it is to be no other.

    Returns:
        A :class:`GeneMatch`, and the symbols that the file itself gives to its ids (symbol to Ensembl id).

    Raises:
        ValueError: When ``gene_key`` is not a column.
    """
    names, tokens = {}, {}
    for key in _candidates(var, path, gene_key):
        names[key] = _names(var, key)
        tokens[key] = vocab.gene_tokens(names[key])
        if (tokens[key] >= 0).all():
            break
    best = max(tokens, key=lambda key: (tokens[key] >= 0).sum())
    unmatched = [names[best][place] for place in np.flatnonzero(tokens[best] < 0)]
    looked = ", ".join(f"{key or 'the index'} ({', '.join(values[:3])})" for key, values in names.items())
    by_symbol = not any(vocab_id(name) in vocab.tokens for name in names[best])
    return GeneMatch(path, tokens[best], best, unmatched, looked, by_symbol), _symbols(var, vocab, names[best])


def _candidates(var, path, gene_key):
    if gene_key is None:
        return [None, *(name for name in (*GENE_ID_COLUMNS, *SYMBOL_COLUMNS) if name in var.columns)]
    if gene_key not in var.columns:
        raise ValueError(f"{path}: var has no column {gene_key!r}; found {', '.join(map(str, var.columns)) or 'none'}")
    return [gene_key]


def _names(var, key):
    return [str(name) for name in (var.index if key is None else var[key])]


def _symbols(var, vocab, names):
    """``{symbol: Ensembl id}`` of a file whose ``names`` are ids and that has symbols too; the first id counts."""
    ids = [name if name in vocab.tokens else vocab_id(name) for name in names]
    known = [gene in vocab.tokens for gene in ids]
    keys = [name for name in SYMBOL_COLUMNS if name in var.columns]
    keys += [] if _names(var, None)[:100] == names[:100] else [None]
    if not any(known) or not keys:
        return {}
    pairs = [(name, gene) for name, gene, ok in zip(_names(var, keys[0]), ids, known) if ok]
    # An id is no symbol, though some files put one where a gene has no name.
    return {name: gene for name, gene in reversed(pairs) if name not in _NO_NAME and name not in vocab.tokens}


def vocab_id(name):
    """An Ensembl id without its version suffix."""
    return name.partition(".")[0]


def read_symbols(table):
    """A symbol table: a mapping, a JSON object, or a CSV or TSV file of symbol and Ensembl id.

    Raises:
        ValueError: When no row holds an Ensembl id and a symbol.
    """
    if hasattr(table, "items"):
        return dict(table)
    path = str(table)
    with open(path, encoding="utf-8", newline="") as file:
        if path.endswith(".json"):
            return {str(name): str(gene) for name, gene in json.load(file).items()}
        rows = list(csv.reader(file, delimiter="," if path.endswith(".csv") else "\t"))
    symbols = {}
    for row in rows:
        ids = [cell for cell in row if cell.startswith("ENS")]
        others = [cell for cell in row if cell and not cell.startswith("ENS")]
        if ids and others:
            symbols.setdefault(others[0], vocab_id(ids[0]))
    if not symbols:
        raise ValueError(f"{path}: found no row of a symbol and an Ensembl id; expected CSV, TSV or JSON")
    return symbols
