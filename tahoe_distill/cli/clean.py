"""List what killed runs left in a folder and in shared memory; remove it with --yes.

Nothing that a command carries on from is removed, nor anything that changed in the last quarter of an hour.
"""

import argparse

EXAMPLE = """tahoe-distill clean runs/70m
  tahoe-distill clean runs/70m --yes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tahoe-distill clean`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run, or any above it")
    parser.add_argument("--yes", action="store_true", help="remove what is listed")


def run(args: argparse.Namespace) -> None:
    """List, and remove where that is asked for."""
    # Imported here: `--help` must not pay for it.
    from tahoe_distill.training.resume.leftovers import find_leftovers, remove_leftovers

    found = find_leftovers(args.folder)
    if not found:
        print(f"{args.folder}: nothing was left behind")
        return
    for leftover in found:
        note = f" [kept: {leftover.kept}]" if leftover.kept else ""
        print(f"{_megabytes(leftover.size):>10}  {leftover.path}  ({leftover.what}){note}")
    free = [leftover for leftover in found if leftover.kept is None]
    if args.yes:
        print(f"removed {len(free)} of {len(found)}, {_megabytes(remove_leftovers(found))}")
    elif free:
        total = _megabytes(sum(leftover.size for leftover in free))
        print(f"{len(free)} of {len(found)} can go, {total}: tahoe-distill clean {args.folder} --yes")


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
