"""Recompute a random share of an atlas from its sources; exit with 1 where a vector is another.

It says how many cells of the whole may differ at most, and how likely one forged window would have been found.
"""

import argparse

EXAMPLE = "tahoe-distill audit atlas.zarr --sample 0.001"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("out", metavar="OUT", help="store that `tahoe-distill embed` wrote of many files")
    parser.add_argument("--sample", type=float, default=0.001, help="share of the cells to look at (default: 0.001)")
    parser.add_argument("--key-added", default="X_tx1", help="key of the vectors (default: X_tx1)")
    parser.add_argument("--model", help="the model, where it lies elsewhere now")
    parser.add_argument("--tolerance", type=float, help="largest difference allowed (default: by the precision)")
    parser.add_argument(
        "--seed", type=int, help="draw the cells of an earlier audit (default: nobody knows them before)"
    )
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: as it was)")


def run(args: argparse.Namespace) -> None:
    """Audit, print, and leave with 1 where something differs."""
    from tahoe_distill.atlas import audit

    found = audit(
        args.out, sample=args.sample, key_added=args.key_added, model=args.model, tolerance=args.tolerance,
        seed=args.seed, device=args.device,
    )  # fmt: skip
    print(found)
    if found.wrong:
        raise SystemExit(1)
