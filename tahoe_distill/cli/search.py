"""Find the nearest cells of an indexed atlas, with their labels, by the atlas' own model or a student of it.

Prints what the majority of the nearest cells says; --out writes every one of them.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tahoe_distill.cli.reading import add_reading_arguments, add_soma_arguments, chosen_cells

if TYPE_CHECKING:
    from tahoe_distill.atlas.searching import SearchResult

EXAMPLE = "tahoe-distill search --index atlas.zarr.index --adata query.h5ad --model STUDENT --out nearest.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--index", required=True, help="folder that `tahoe-distill index` wrote")
    parser.add_argument("--adata", required=True, help="cells to find the like of: h5ad, zarr, 10x .h5 or SOMA")
    parser.add_argument("--model", required=True, help="folder or hub id of the atlas' model or a student of it")
    parser.add_argument("-k", type=int, default=10, help="nearest cells of each (default: 10)")
    parser.add_argument("--out", help="CSV of all nearest cells, with distances and labels")
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    parser.add_argument("--exact", action="store_true", help="compare with all vectors, whatever the index")
    parser.add_argument("--dim", type=int, help="coordinates of a vector, the first ones (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--force", action="store_true", help="search although nothing is near")
    add_reading_arguments(parser)
    add_soma_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Search, print the majority of each column, and write the neighbours."""
    from tahoe_distill.atlas import search
    from tahoe_distill.embedding.output import check_place
    from tahoe_distill.files import replace_text

    if args.out is not None:
        if not args.out.endswith(".csv"):
            raise ValueError(f"--out is {args.out}; expected a name that ends with .csv")
        check_place(args.out, overwrite=args.overwrite)
    reading = {"layer": args.layer, "gene_key": args.gene_key, "symbols": args.symbols}
    source = chosen_cells([args.adata], args)[0]
    found = search(
        args.index, source, args.model, k=args.k, exact=args.exact, force=args.force, device=args.device, dim=args.dim,
        **reading,
    )  # fmt: skip
    for line in summary(found):
        print(line)
    if args.out is not None:
        replace_text(args.out, found.neighbours().to_csv(index=False))
        print(f"nearest cells in {args.out}")


def summary(found: SearchResult) -> list[str]:
    """What the majorities say: the commonest labels of each column, and how sure they are."""
    import numpy as np

    lines = [f"{len(found.cells):,} cells, {found.rows.shape[1]} nearest each; distance of the nearest: median "
             f"{np.median(found.distances[:, 0]):.4f}"]  # fmt: skip
    majority = found.majority()
    for name in found.labels:
        shares = majority.groupby(name, sort=False)[f"{name}_share"].agg(["size", "mean"])
        shares = shares.sort_values("size", ascending=False, kind="stable")
        told = [f"{label} {int(row['size']):,} ({100 * row['mean']:.0f} %)" for label, row in shares.head(8).iterrows()]
        more = f" and {len(shares) - 8} more" if len(shares) > 8 else ""
        lines.append(f"{name}: {', '.join(told) or 'none'}{more}")
    return lines
