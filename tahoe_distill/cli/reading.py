"""Arguments of every subcommand that reads cells."""

import argparse


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says where the counts and the names of the genes are."""
    parser.add_argument("--layer", metavar="NAME", help="layer to read instead of X; raw for raw.X")
    parser.add_argument(
        "--gene-key", metavar="COLUMN", help="column of var with Ensembl ids or gene symbols (default: found by itself)"
    )
    parser.add_argument(
        "--symbols",
        metavar="TABLE",
        help="CSV, TSV or JSON of gene symbols and Ensembl ids, which overrides the built-in table of human genes",
    )
