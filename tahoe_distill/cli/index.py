"""Make the vectors of an atlas searchable: a folder with vectors and labels, which is all that a search needs."""

import argparse

EXAMPLE = "tahoe-distill index atlas.zarr --labels cell_type tissue"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("atlas", metavar="ATLAS", help="what `tahoe-distill embed` wrote (.zarr, .parquet, .soma)")
    parser.add_argument("--out", help="folder to write (default: ATLAS.index)")
    parser.add_argument("--key-added", default="X_tx1", help="key of the vectors (default: X_tx1)")
    parser.add_argument("--labels", nargs="+", metavar="COLUMN", help="obs columns to find (default: all categories)")
    parser.add_argument(
        "--kind", default="auto", choices=("auto", "flat", "hnsw", "ivf"), help="how to search (default: by the cells)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an index that is there")


def run(args: argparse.Namespace) -> None:
    """Index, and say where it is."""
    from tahoe_distill.atlas import build_index
    from tahoe_distill.atlas.index import Index

    out = build_index(
        args.atlas, args.out, key_added=args.key_added, labels=args.labels, kind=args.kind, overwrite=args.overwrite
    )
    notes = Index(out).notes
    labels = ", ".join(notes["labels"]) or "none"
    print(f"{notes['cells']:,} vectors of {notes['width']} values, {notes['kind']}; labels: {labels}; index in {out}")
