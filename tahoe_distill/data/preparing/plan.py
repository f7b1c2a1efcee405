"""What preparing will do: genes matched, counts recognised and cells split, before any shard is written."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tahoe_distill.cells.formats import expand_inputs, identity_of, open_cells, whole_name
from tahoe_distill.cells.genes import match_genes, own_symbols
from tahoe_distill.cells.symbols import Symbols, read_symbols
from tahoe_distill.cells.values import recognise
from tahoe_distill.data.batch import RESERVED
from tahoe_distill.data.preparing.chunk import Chunk
from tahoe_distill.data.preparing.split import group_split, random_split
from tahoe_distill.data.shards.writer import columns_of
from tahoe_distill.models.processing_tx1 import GeneVocab

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Arguments of :func:`tahoe_distill.data.preparing.prepare.prepare_shards`, which documents them."""

    val_fraction: float
    split_by: str | None
    seed: int
    layer: str | None
    gene_key: str | None
    keep: tuple[str, ...]
    teacher_key: str | None
    min_genes: int
    format: str
    compression: str | None
    hashes: tuple[str, ...]
    chunk_cells: int
    pad_value: float

    def __post_init__(self):
        if self.format not in ("typed", "tahoe"):
            raise ValueError(f"format must be 'typed' or 'tahoe', found {self.format!r}")
        clash = [name for name in self.keep if name in RESERVED]
        if clash:
            raise ValueError(f"keep names {clash[0]!r}, which is a column of every sample; rename it in obs")
        if self.chunk_cells < 1 or self.min_genes < 0:
            raise ValueError(f"chunk_cells must be 1 or more and min_genes 0 or more, found {self}")


@dataclass
class Input:
    """One file, looked at."""

    path: str
    cells: int
    storage: str
    match: object
    kind: str
    kept: dict
    groups: object
    teacher_width: int | None


class Plan:
    """All chunks of all inputs.

    Args:
        inputs: Paths and globs.
        vocab: A :class:`GeneVocab`, or the path of a ``vocab.json``.
        symbols: Symbol table for files without ids, as :func:`tahoe_distill.cells.read_symbols` takes it.
        options: The rest.
    """

    def __init__(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        vocab: GeneVocab | str | os.PathLike[str],
        *,
        symbols: Symbols | None,
        options: Options,
    ):
        self.options = options
        paths = expand_inputs(inputs)
        vocab = vocab if hasattr(vocab, "tokens") else GeneVocab.from_file(os.fspath(vocab))
        self._table = {} if symbols is None else read_symbols(symbols)
        self.vocab = _with_symbols(vocab, {}, self._table)
        found: dict[str, str] = {}
        self.inputs = [self._look(path, found) for path in paths]
        self.vocab = _with_symbols(vocab, found, self._table)
        self._match_by_symbols()
        self.cells = sum(item.cells for item in self.inputs)
        if not self.cells:
            raise ValueError(f"{', '.join(paths)}: no cells; expected at least one")
        widths = {item.teacher_width for item in self.inputs}
        if len(widths) > 1:
            raise ValueError(f"obsm[{options.teacher_key!r}] has different widths in the inputs: {sorted(widths)}")
        self.kept_encodings = {name: _encoding([item.kept[name] for item in self.inputs]) for name in options.keep}
        self.columns = columns_of(self.kept_encodings, widths.pop(), options.format)
        self.in_val = self._split()

    def _look(self, path, found):
        """One input; symbols that it has beside ids are added to ``found``, where the first file's count."""
        options = self.options
        with open_cells(path, layer=options.layer) as cells:
            kind = recognise(cells.sample(), path)
            match = self._match(cells)
            kept = {name: cells.obs_column(name) for name in options.keep}
            groups = cells.obs_column(options.split_by) if options.split_by else None
            width = None
            if options.teacher_key is not None:
                width = int(cells.embedding(options.teacher_key).shape[1])
            log.info("%s: %d cells, holds %s", path, len(cells), kind)
            for name, gene in own_symbols(cells.var, self.vocab, match.column).items():
                found.setdefault(name, gene)
            return Input(path, len(cells), cells.storage, match, kind, kept, groups, width)

    def _match(self, cells):
        return match_genes(cells, self.vocab, gene_key=self.options.gene_key, symbols=self._table)

    def _match_by_symbols(self):
        """Match files without ids once more, now that all files' symbols are known."""
        for item in self.inputs:
            if item.match.by_symbol or not item.match.count:
                with open_cells(item.path, layer=self.options.layer) as cells:
                    item.match = self._match(cells)
            item.match.require()

    def _split(self):
        options = self.options
        if options.split_by is None:
            return random_split(self.cells, options.val_fraction, options.seed)
        groups = np.concatenate([item.groups.astype(str).to_numpy(dtype=str) for item in self.inputs])
        return group_split(groups, options.val_fraction, options.seed)

    def chunks(self, folder: str) -> Iterator[Chunk]:
        """Yield every :class:`Chunk`, written under ``folder/whole``, read with the help of ``folder/rows``."""
        number = first_id = 0
        for place, item in enumerate(self.inputs):
            turned = os.path.join(folder, "rows", str(place)) if item.storage == "csc" else None
            for start in range(0, item.cells, self.options.chunk_cells):
                stop = min(start + self.options.chunk_cells, item.cells)
                yield self._chunk(item, number, start, stop, first_id + start, os.path.join(folder, "whole"), turned)
                number += 1
            first_id += item.cells

    def _chunk(self, item, number, start, stop, first_id, folder, turned):
        options = self.options
        return Chunk(
            number=number,
            path=item.path,
            layer=options.layer,
            turned=turned,
            start=start,
            stop=stop,
            first_id=first_id,
            tokens=item.match.tokens,
            cls=(self.vocab["<cls>"], options.pad_value),
            in_val=self.in_val[first_id : first_id + stop - start],
            kept={
                name: _values(item.kept[name].iloc[start:stop], encoding)
                for name, encoding in self.kept_encodings.items()
            },
            teacher_key=options.teacher_key,
            min_genes=options.min_genes,
            columns=self.columns,
            compression=options.compression,
            hashes=options.hashes,
            folder=folder,
        )

    def fingerprint(self) -> str:
        """Digest of all that decides the shards: equal for a run that may carry on, different for another."""
        files = [(whole_name(item.path), item.cells, identity_of(item.path)) for item in self.inputs]
        digest = hashlib.sha256(repr((files, self.options)).encode())
        for table in (self.vocab.tokens, self.vocab.symbols):
            digest.update("\n".join(table).encode())
            digest.update("\n".join(map(str, table.values())).encode())
        for item in self.inputs:
            digest.update(item.match.tokens.tobytes())
        return digest.hexdigest()


def _with_symbols(vocab, found, table):
    """The vocabulary with symbols of files below its own and the user's above, in an order that is always the same."""
    known = {**found, **vocab.symbols, **table}
    return GeneVocab(vocab.tokens, {name: known[name] for name in sorted(known) if known[name] in vocab.tokens})


def _encoding(columns):
    """MDS encoding that fits a kept column in all inputs: whole numbers, numbers, or text."""
    if all(pd.api.types.is_bool_dtype(c.dtype) or pd.api.types.is_integer_dtype(c.dtype) for c in columns):
        return "int" if not any(c.isna().any() for c in columns) else "float64"
    return "float64" if all(pd.api.types.is_numeric_dtype(c.dtype) for c in columns) else "str"


def _values(column, encoding):
    if encoding == "str":
        return column.astype(object).where(column.notna(), "").astype(str).tolist()
    if encoding == "int":
        return column.astype(np.int64).tolist()
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
