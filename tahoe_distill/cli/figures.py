"""Draw the figures and write the tables of a paper, from `metrics.json` and `trials.csv` files and nothing else.

Give what `tahoe-distill evaluate --out` and `tahoe-distill sweep` wrote. Tables are Markdown and LaTeX (booktabs).
"""

import argparse

EXAMPLE = "tahoe-distill figures evaluations/new evaluations/old sweeps/temperature --out paper --format svg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("results", nargs="+", metavar="RESULTS", help="metrics.json, trials.csv, or folders that hold one")
    add("--out", required=True, metavar="FOLDER", help="where to write; files of the same names are replaced")
    add("--format", choices=("svg", "png"), default="svg", help="of the figures (default svg)")


def run(args: argparse.Namespace) -> None:
    """Draw, and say what was written."""
    from tahoe_distill.sweeps.paper import draw_results

    files, left_out = draw_results(args.results, args.out, kind=args.format)
    print(f"written to {args.out}: {', '.join(path.name for path in files)}")
    for sentence in left_out:
        print(sentence)
