"""Say what embedding a file will do before it does; or show that the same cell gets the same vector.

The exit code is 1 where embedding would be meaningless, or where vectors differ by more than 1e-6.
"""

import argparse

from tahoe_distill.cli.reading import add_reading_arguments, add_soma_arguments, chosen_cells

EXAMPLE = """tahoe-distill doctor cells.h5ad --model runs/quickstart/hf
  tahoe-distill doctor determinism cells.h5ad --model runs/quickstart/hf"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("what", nargs="+", metavar="[determinism] FILE", help="h5ad, zarr, 10x .h5 or SOMA to look at")
    parser.add_argument("--model", required=True, help="folder or hub id of an exported student or converted teacher")
    add_reading_arguments(parser)
    add_soma_arguments(parser)
    parser.add_argument("--no-estimate", action="store_true", help="do not embed a few cells to estimate the time")
    parser.add_argument("--cells", type=int, default=64, help="cells that `determinism` embeds (default: 64)")


def run(args: argparse.Namespace) -> None:
    """Print the findings; leave with 1 where one of them is an error."""
    if len(args.what) == 2 and args.what[0] == "determinism":
        _determinism(args, chosen_cells(args.what[1:], args)[0])
        return
    if len(args.what) != 1:
        raise ValueError(f"expected `doctor FILE` or `doctor determinism FILE`, found {' '.join(args.what)!r}")
    from tahoe_distill.embedding import examine

    reading = {"layer": args.layer, "gene_key": args.gene_key, "symbols": args.symbols}
    findings = examine(chosen_cells(args.what, args)[0], args.model, **reading, estimate=not args.no_estimate)
    for finding in findings:
        print(f"{finding.level:8}{finding.topic:13}{finding.text}")
    if any(finding.level == "error" for finding in findings):
        print("embedding this file would be meaningless")
        raise SystemExit(1)


def _determinism(args: argparse.Namespace, path: str) -> None:
    from tahoe_distill.embedding import check_determinism
    from tahoe_distill.embedding.determinism import TOLERANCE

    reading = {"layer": args.layer, "gene_key": args.gene_key, "symbols": args.symbols}
    compared = check_determinism(path, args.model, **reading, cells=args.cells)
    print(f"{'way':24}{'largest difference':>20}  sha256")
    for way in compared:
        print(f"{way.name:24}{way.difference:>20.1e}  {way.sha256[:16]}")
    if max(way.difference for way in compared) > TOLERANCE:
        print(f"vectors differ by more than {TOLERANCE:g}")
        raise SystemExit(1)
    print(f"same cell, same vector: all within {TOLERANCE:g}")
