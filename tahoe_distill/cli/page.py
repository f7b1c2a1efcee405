"""Write a page that embeds cells with a student without attention, in any browser: no server, nothing uploaded.

One HTML file with the student's weights in it. An h5ad or a table of counts that is dropped on it gets its vectors, to
save as CSV or .npy, and a picture of them.
"""

import argparse

EXAMPLE = "tahoe-distill page student --out page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("model", help="folder or hub id of a student without attention (encoder: set)")
    parser.add_argument("--out", required=True, help="folder to write index.html to")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def run(args: argparse.Namespace) -> None:
    """Write the page, say where it is and how large."""
    from tahoe_distill.browser import write_page

    path = write_page(args.model, args.out, overwrite=args.overwrite)
    print(f"the page is {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser, and drop cells on it")
