"""Put students in order, with paired intervals of their differences, and let the first one through or not.

Give folders that `tahoe-distill evaluate --out` wrote (or their metrics.json), all of the same cells and teacher; or
models, with --teacher and --adata, which are then evaluated together.
"""

import argparse
from typing import TYPE_CHECKING, Any

from tahoe_distill.cli.evaluate import add_evaluation_arguments

if TYPE_CHECKING:
    from tahoe_distill.evaluation.compare import Comparison, Gate
    from tahoe_distill.evaluation.contenders import Contender

EXAMPLE = (
    "tahoe-distill compare evaluations/new evaluations/old --gate fidelity/knn_overlap_10 --margin 0.02 --out compared"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("given", nargs="+", metavar="EVALUATION|MODEL", help="evaluations, or with --adata models; the first is judged")
    add("--metric", default="fidelity/knn_overlap_10", help="number to order by (default fidelity/knn_overlap_10)")
    add("--gate", metavar="METRIC", help="exit 1 unless the first is no worse than every other by this number")
    add("--margin", type=float, default=0.02, help="what it may lose by the paired 95 %% interval (default 0.02)")
    add("--out", metavar="FOLDER", help="write comparison.json, .md and .html here, and the evaluation of models")
    add("--figures", choices=("png", "svg"), help="also write the figure as an image")
    add("--overwrite", action="store_true", help="replace what an earlier comparison wrote to --out")
    add_evaluation_arguments(parser, required=False)


def run(args: argparse.Namespace) -> None:
    """Compare, print a table, write it, and refuse where the gate does."""
    from tahoe_distill.evaluation.compare import compare, gate
    from tahoe_distill.evaluation.compare_page import COMPARISON_FILE, terminal_comparison
    from tahoe_distill.evaluation.record import check_output

    if args.figures and not args.out:
        raise ValueError("--figures needs --out, the folder to write them to")
    if args.out:
        check_output(args.out, overwrite=args.overwrite, file=COMPARISON_FILE)
    contenders, evaluation = _contenders(args)
    comparison = compare(contenders, args.metric)
    verdict = gate(contenders, args.gate, args.margin) if args.gate else None
    print(f"{comparison.cells:,} cells\n\n{terminal_comparison(comparison)}")
    if args.out:
        _write(args, comparison, contenders, verdict, evaluation)
    if verdict is not None:
        print("\n" + "\n".join(verdict.because))
        if not verdict.passed:
            raise ValueError(f"{comparison.first} is not shown to be no worse by {args.gate}; do not put it in place")


def _contenders(args: argparse.Namespace) -> "tuple[list[Contender], Any]":
    """The students; and the evaluation, where one was made of them."""
    from tahoe_distill.evaluation.contenders import contenders_of, read_contenders

    if args.adata is None:
        if args.teacher or args.teacher_key:
            raise ValueError("a teacher was given, but no cells to judge the models by: add --adata")
        return read_contenders(args.given), None
    from tahoe_distill.cli.evaluate import describe_inputs, evaluate_files
    from tahoe_distill.evaluation import to_record
    from tahoe_distill.evaluation.record import cell_table

    args.student = args.given
    found = evaluate_files(args)
    record = to_record(found, files=describe_inputs(args))
    return contenders_of(record, cell_table(found)), (found, record)


def _write(
    args: argparse.Namespace,
    comparison: "Comparison",
    contenders: "list[Contender]",
    verdict: "Gate | None",
    evaluation: Any,
) -> None:
    from tahoe_distill.evaluation.compare_page import write_comparison
    from tahoe_distill.evaluation.maps import add_maps
    from tahoe_distill.evaluation.record import write_record
    from tahoe_distill.evaluation.report import write_report
    from tahoe_distill.files import finished_folder

    with finished_folder(args.out, overwrite=True) as folder:
        lacking = write_comparison(comparison, contenders, folder, verdict=verdict, images=args.figures)
        if evaluation is not None:
            found, record = evaluation
            add_maps(found)
            write_record(found, record, folder)
            write_report(folder, images=args.figures)
        names = sorted(path.name for path in folder.iterdir())
    print(f"\nwritten to {args.out}: {', '.join(names)}" + (f"\n{lacking}" if lacking else ""))
