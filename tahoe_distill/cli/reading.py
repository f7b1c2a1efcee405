"""Arguments of every subcommand that reads cells."""

import argparse
from collections.abc import Sequence


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


def add_soma_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which cells of a SOMA experiment are meant."""
    group = parser.add_argument_group("SOMA experiments")
    group.add_argument(
        "--obs-filter", metavar="CONDITION", help="cells to read, such as 'tissue == \"lung\" and is_primary_data'"
    )
    group.add_argument("--measurement", metavar="NAME", help="measurement to read (default: RNA)")


def chosen_cells(inputs: Sequence[str], args: argparse.Namespace) -> list[str]:
    """Inputs, those of SOMA with the cells of them that are meant.

    Raises:
        ValueError: When cells are to be chosen of what is no SOMA.
    """
    if args.obs_filter is None and args.measurement is None:
        return list(inputs)
    from tahoe_distill.cells import soma_address

    return [soma_address(item, measurement=args.measurement, obs_filter=args.obs_filter) for item in inputs]
