"""Gene symbols and the Ensembl ids they stand for: the table that ships with the package, and a user's own."""

import csv
import gzip
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from tahoe_distill.models.processing_tx1 import GENE_ID_COLUMNS, SYMBOL_COLUMNS, GeneVocab

Symbols = str | os.PathLike | Mapping[str, str]

# GENCODE 44 with aliases; scripts/build_symbols.py writes it, and NOTICE says where each part is from.
SHIPPED = "human_symbols.csv.gz"
_ID_COLUMNS = ("ensembl_gene_id", *GENE_ID_COLUMNS)
# Vocabularies that were asked for, how large they were, and what became of them: as long as embedding some cells.
_seen: WeakKeyDictionary[GeneVocab, tuple[tuple[int, ...], GeneVocab]] = WeakKeyDictionary()
_ALIAS_COLUMNS = ("aliases", "alias_symbol", "prev_symbol")


def with_symbols(vocab: GeneVocab, symbols: Symbols | None = None) -> GeneVocab:
    """A vocabulary that knows human gene symbols and Ensembl ids beside its own tokens, whichever of them those are.

    Args:
        vocab: The vocabulary; its own symbols override the shipped ones.
        symbols: Table as :func:`read_symbols` takes it, which overrides both.
    """
    if symbols is not None:
        return _completed(vocab, read_symbols(symbols))
    size = len(vocab.tokens), len(vocab.symbols)
    if _seen.get(vocab, ((), vocab))[0] != size:
        _seen[vocab] = size, _completed(vocab, {})
    return _seen[vocab][1]


def _completed(vocab: GeneVocab, table: Mapping[str, str]) -> GeneVocab:
    known = {**human_symbols(), **vocab.symbols, **table}
    # A token that is a symbol itself stands for its gene: found by the id, and by the gene's other symbols.
    by_id = {known[token]: token for token in reversed(vocab.tokens) if token in known}
    named = {name: by_id.get(gene, gene) for name, gene in {**known, **{gene: gene for gene in by_id}}.items()}
    return GeneVocab(
        vocab.tokens, {n: token for n, token in named.items() if token in vocab.tokens and n not in vocab.tokens}
    )


@cache
def human_symbols() -> Mapping[str, str]:
    """Symbol to Ensembl id for human genes, aliases and previous symbols included: those that stand for one gene."""
    with resources.as_file(resources.files(__package__) / SHIPPED) as path:
        return MappingProxyType(read_symbols(path))


def read_symbols(table: Symbols) -> dict[str, str]:
    """A table of gene symbols.

    Args:
        table: Symbol to Ensembl id as a mapping or a JSON object, or a CSV or TSV file, also gzipped: with a head that
            names a column of ids (``ensembl_id``, ``gene_id``, …), one of symbols (``symbol``, ``gene_name``, …) and,
            where there are any, columns of aliases (``aliases``, ``alias_symbol``, ``prev_symbol``, several parted by
            ``|``); or without a head, an id and a symbol in each row.

    Returns:
        Symbol to id. Of a symbol in several rows the first counts. An alias counts where it is no symbol itself and
        stands for one gene.

    Raises:
        ValueError: When no row holds an Ensembl id and a symbol.
    """
    if isinstance(table, Mapping):
        return {str(name): str(gene) for name, gene in table.items()}
    path = os.fspath(table)
    kind = path.removesuffix(".gz")
    try:
        with (gzip.open if path != kind else open)(path, "rt", encoding="utf-8", newline="") as file:
            if kind.endswith(".json"):
                return read_symbols(_mapping(json.load(file), path))
            symbols = collect_symbols(_triples(csv.reader(file, delimiter="," if kind.endswith(".csv") else "\t")))
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: the table of symbols cannot be read ({error}); expected CSV, TSV or JSON") from error
    if not symbols:
        raise ValueError(f"{path}: found no row of a symbol and an Ensembl id; expected CSV, TSV or JSON")
    return symbols


def _mapping(content: Any, path: str) -> Mapping[str, str]:
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object of symbol to Ensembl id, found a {type(content).__name__}")
    return content


def _triples(rows: Iterator[list[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Id, symbol and aliases of each row of a table."""
    first = next(rows, [])
    head = [name.strip().lower() for name in first]
    ids = [head.index(name) for name in _ID_COLUMNS if name in head]
    names = [head.index(name) for name in SYMBOL_COLUMNS if name in head]
    aliases = [head.index(name) for name in _ALIAS_COLUMNS if name in head]
    if not ids or not names:
        yield from _pairs(itertools.chain([first], rows))
        return
    for row in rows:
        row += [""] * (len(head) - len(row))
        yield _bare(row[ids[0]]), row[names[0]], [name for column in aliases for name in row[column].split("|")]


def _pairs(rows: Iterable[list[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Rows of a table without a head: the first cell that is an Ensembl id, and the first that is none."""
    for row in rows:
        genes = [cell for cell in row if cell.startswith("ENS")]
        others = [cell for cell in row if cell and not cell.startswith("ENS")]
        if genes and others:
            yield _bare(genes[0]), others[0], []


def _bare(gene: str) -> str:
    return gene.strip().partition(".")[0]


def collect_symbols(rows: Iterable[tuple[str, str, list[str]]]) -> dict[str, str]:
    """Symbol to id from rows of id, symbol and aliases."""
    symbols: dict[str, str] = {}
    aliases: dict[str, set[str]] = defaultdict(set)
    for gene, symbol, others in rows:
        if not gene:
            continue
        if symbol.strip():
            symbols.setdefault(symbol.strip(), gene)
        for alias in others:
            aliases[alias.strip()].add(gene)
    single = {name: min(genes) for name, genes in aliases.items() if name and len(genes) == 1}
    return {**single, **symbols}
