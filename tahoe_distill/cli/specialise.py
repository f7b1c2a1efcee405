"""Make a student without attention smaller and closer for one atlas: its genes only, adapted to its cells.

Prints how close it is to the teacher before and after, on held-out cells of the atlas, and on other cells where there
are some.
"""

import argparse

from tahoe_distill.cli.fit import add_fit_arguments, add_teacher_arguments, options, settings, tell
from tahoe_distill.cli.reading import add_reading_arguments

EXAMPLE = "tahoe-distill specialise student --adata my_atlas.h5ad --teacher tx1-nano --out specialised"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("student", help="folder or hub id of an exported student without attention")
    add("--adata", required=True, help="the atlas: h5ad, zarr or 10x .h5 with raw counts, 100 cells at least")
    add("--out", required=True, help="folder to write the new student to")
    add_teacher_arguments(parser)
    add("--other", metavar="FILE", help="cells of another kind, such as another tissue: what is lost on them?")
    add_reading_arguments(parser)
    add_fit_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Specialise, write, print what was found."""
    from tahoe_distill.fitting import specialise_student

    given = {"other": args.other, "settings": settings(args, steps=1000), **options(args)}
    tell(specialise_student(args.student, args.adata, args.teacher, **given), args.out)
