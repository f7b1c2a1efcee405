"""Which gene is which: columns with Ensembl ids, symbols, version suffixes, duplicates, and a report of the match."""

import csv
import json
import logging
from dataclasses import dataclass

import numpy as np

from tahoe_distill.models.processing_tx1 import GENE_ID_COLUMNS, GeneVocab

SYMBOL_COLUMNS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "symbols", "feature_name", "hgnc")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneMatch:
    """How the genes of one file stand to a vocabulary.

    Args:
        tokens: (genes,) int64 vocabulary numbers, -1 where unknown.
        column: Column of ``var`` they were read from; None for the index.
        duplicates: Genes that share their number with an earlier one; their counts are summed.
        unmatched: Names that are not in the vocabulary.
    """

    tokens: np.ndarray
    column: str | None
    duplicates: int
    unmatched: list

    def report(self):
        """Numbers for ``metadata.json``."""
        return {
            "column": self.column or "index",
            "genes": int(self.tokens.size),
            "matched": int((self.tokens >= 0).sum()),
            "duplicates_summed": self.duplicates,
            "unmatched_examples": self.unmatched[:10],
        }


def match_genes(var, vocab, path, gene_key=None):
    """Match the genes of one file.

    Args:
        var: The file's ``var`` table.
        vocab: The vocabulary; its symbols are used where a name is no Ensembl id.
        path: The file, for messages.
        gene_key: Column of ``var`` with gene names; the best of the index and the usual columns when left out.

    Raises:
        ValueError: When no gene matches, or ``gene_key`` is not a column.
    """
    names = {key: _names(var, key) for key in _candidates(var, path, gene_key)}
    tokens = {key: vocab.gene_tokens(values) for key, values in names.items()}
    best = max(tokens, key=lambda key: (tokens[key] >= 0).sum())
    found = tokens[best]
    if not (found >= 0).any():
        places = ", ".join(f"{key or 'index'} ({', '.join(values[:3])})" for key, values in names.items())
        raise ValueError(
            f"{path}: none of its {len(var)} genes is in the vocabulary; looked in {places}. Expected human Ensembl ids "
            "such as ENSG00000141510 (name their column with gene_key), or symbols together with a symbol table"
        )
    known = found[found >= 0]
    duplicates = int(known.size - np.unique(known).size)
    if duplicates:
        log.warning("%s: %d genes repeat an earlier one; their counts are summed", path, duplicates)
    return GeneMatch(found, best, duplicates, [name for name, token in zip(names[best], found) if token < 0])


def _candidates(var, path, gene_key):
    if gene_key is None:
        return [None, *(name for name in (*GENE_ID_COLUMNS, *SYMBOL_COLUMNS) if name in var.columns)]
    if gene_key not in var.columns:
        raise ValueError(f"{path}: var has no column {gene_key!r}; found {', '.join(map(str, var.columns)) or 'none'}")
    return [gene_key]


def _names(var, key):
    return [str(name) for name in (var.index if key is None else var[key])]


def collect_symbols(var, vocab):
    """Symbols of a file that has both ids and symbols: ``{symbol: Ensembl id}``; the first id counts."""
    keys = [None, *(name for name in (*GENE_ID_COLUMNS, *SYMBOL_COLUMNS) if name in var.columns)]
    names = {key: _names(var, key) for key in keys}
    by_id = {key: GeneVocab(vocab.tokens).gene_tokens(values) for key, values in names.items()}
    ids = max(by_id, key=lambda key: (by_id[key] >= 0).sum())
    found = by_id[ids] >= 0
    symbol_keys = [key for key in keys if key != ids and key not in GENE_ID_COLUMNS and not (by_id[key] >= 0).any()]
    if not found.any() or not symbol_keys:
        return {}
    key = next((key for key in symbol_keys if key in SYMBOL_COLUMNS), symbol_keys[0])
    pairs = [(name, vocab_id(gene)) for name, gene, ok in zip(names[key], names[ids], found) if ok]
    return {name: gene for name, gene in reversed(pairs) if name not in ("", "nan", "None")}


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
        raise ValueError(
            f"{path}: found no row with a symbol and an Ensembl id; expected a CSV, TSV or JSON table of both"
        )
    return symbols
