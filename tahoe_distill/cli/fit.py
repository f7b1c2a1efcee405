"""Fit a student without attention on this machine's CPU, without Composer: cells and a teacher in, a student out.

Begins with a closed form, which takes seconds, and refines it on thinned and mixed views of the cells, which the
teacher labels. Prints both beside a ridge regression, on cells held out. Instead of a teacher, vectors of the cells
will do: those of any model. With both, the teacher labels no more than the views.
"""

import argparse
from typing import TYPE_CHECKING, Any

from tahoe_distill.cli.reading import add_reading_arguments

if TYPE_CHECKING:
    from tahoe_distill.fitting import Fitted

EXAMPLE = "tahoe-distill fit cells.h5ad --teacher tx1-nano --student static-small --out student"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("adata", help="h5ad, zarr or 10x .h5 with raw counts (log1p of them allows no views), 100 cells at least")
    add("--out", required=True, help="folder to write the student to")
    add_teacher_arguments(parser)
    add("--student", default="static-small", help="static-tiny, static-small or static-medium (default: static-small)")
    add_reading_arguments(parser)
    add_fit_arguments(parser)


def add_teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says whose vectors to learn."""
    add = parser.add_argument
    add(
        "--teacher", metavar="MODEL", help="release folder, hub id, converted folder, or tx1-nano; or vectors, or both:"
    )
    add("--teacher-vectors", metavar="FILE", help="its vectors: .npy, one for each cell, in order")
    add("--teacher-key", metavar="KEY", help="obsm key of its vectors")
    add("--size", help="teacher size where the source holds several (70m, 1b, 3b)")


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how long and on what to learn; left out, the defaults of the library hold."""
    add = parser.add_argument
    add("--views", type=int, help="views of each cell, itself among them (default: as many as make 20,000, at most 60)")
    add("--steps", type=int, help="batches of training; 0 for none")
    add("--batch-size", type=int, help="cells of a batch (default 64)")
    add("--lr", type=float, help="learning rate at its highest")
    add("--context", type=int, help="genes of a cell to learn from at most (default 1024); embedding reads all")
    add("--held-out", type=float, help="share of the cells to judge by (default 0.1; 20 cells at least)")
    add("--seed", type=int, help="of all that is drawn (default 17)")
    add("--objectives", metavar="JSON", help="as model.objectives of a run (default: those of the static recipe)")
    add("--cells", type=int, default=20_000, metavar="N", help="read so many cells at most (%(default)s)")
    add("--device", choices=("auto", "cpu"), help="a GPU where there is one (default), or the CPU")
    add("--overwrite", action="store_true", help="replace the folder")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> None:
    """Fit, write, print what was found."""
    from tahoe_distill.fitting import distill

    tell(distill(args.adata, args.teacher, args.student, settings=settings(args), **options(args)), args.out)


def tell(fitted: "Fitted", out: str) -> None:
    """Print what was found, and what to do with the student in ``out``."""
    from tahoe_distill.fitting.folder import table

    print(table(fitted))
    print(f"the student is in {out}; embed with it: tahoe-distill embed --model {out} --adata … --out …")


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a fit that are taken as they are given, whatever student it starts from."""
    return {
        "out": args.out,
        "vectors": args.teacher_vectors,
        "teacher_key": args.teacher_key,
        "objectives": objectives(args.objectives),
        "size": args.size,
        "layer": args.layer,
        "gene_key": args.gene_key,
        "symbols": args.symbols,
        "max_cells": args.cells,
        "overwrite": args.overwrite,
        "progress": not args.quiet,
    }


def settings(args: argparse.Namespace, **defaults: Any) -> Any:
    """The :class:`FitSettings` of the arguments that were given, and of ``defaults`` for others."""
    from tahoe_distill.fitting import FitSettings

    names = ("views", "steps", "batch_size", "lr", "context", "held_out", "seed", "device")
    return FitSettings(**defaults | {name: getattr(args, name) for name in names if getattr(args, name) is not None})


def objectives(text: str | None) -> dict[str, Any] | None:
    """What ``--objectives`` says.

    Raises:
        ValueError: When it is no JSON object.
    """
    import json

    if text is None:
        return None
    expected = """--objectives must be a JSON object such as '{"cosine": 1.0}'"""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{expected}, found {text!r} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{expected}, found {text!r}")
    return found
