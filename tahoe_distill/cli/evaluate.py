"""Compare a student with its teacher on labelled cells: cosines, label transfer, speed."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tahoe_distill.cli.reading import add_reading_arguments

if TYPE_CHECKING:
    from anndata import AnnData

    from tahoe_distill.evaluation import Report

EXAMPLE = (
    "tahoe-distill evaluate --student runs/quickstart/hf --teacher tx1-nano --reference train.h5ad "
    "--adata heldout.h5ad --label-key cell_type"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--student", required=True, help="folder or hub id of an exported student")
    parser.add_argument("--teacher", required=True, help="release folder, hub id, converted folder, or tx1-nano")
    parser.add_argument("--size", help="teacher size where the source holds several (70m, 1b, 3b)")
    parser.add_argument("--adata", required=True, help="held-out cells: h5ad or zarr, labels in obs")
    parser.add_argument("--reference", required=True, help="labelled cells whose labels are carried over")
    parser.add_argument("--label-key", required=True, help="obs column with the labels")
    add_reading_arguments(parser)
    parser.add_argument("--swap", action="store_true", help="exit 1 unless --swap-threshold of the macro-F1 is kept")
    parser.add_argument("--swap-threshold", type=float, default=0.95, help="share to keep (default 0.95)")
    parser.add_argument("--out", help="write the numbers as JSON here")


def run(args: argparse.Namespace) -> None:
    """Evaluate, print a table, write JSON."""
    from tahoe_distill.cells import read_symbols
    from tahoe_distill.evaluation import evaluate
    from tahoe_distill.models import Tx1Model, Tx1Processor
    from tahoe_distill.teacher import load_teacher

    teacher = load_teacher(args.teacher, size=args.size)
    student = (Tx1Model.from_pretrained(args.student).eval(), Tx1Processor.from_pretrained(args.student))
    symbols = None if args.symbols is None else read_symbols(args.symbols)
    query, reference = (_read(path, args.layer) for path in (args.adata, args.reference))
    pair = (teacher.model, teacher.processor)
    report = evaluate(
        student,
        pair,
        query,
        reference=reference,
        label_key=args.label_key,
        gene_key=args.gene_key,
        symbols=symbols,
    )
    if args.out:
        Path(args.out).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    print(format_report(report))
    if args.swap:
        _check_swap(report, args.swap_threshold)


def _read(path: str, layer: str | None) -> "AnnData":
    from tahoe_distill.cells import open_cells

    with open_cells(path, layer=layer) as cells:
        return cells.to_anndata()


def format_report(report: "Report") -> str:
    """The report as a table for people."""
    cosine = "different spaces" if report.cosine is None else f"{report.cosine:.4f}"
    centered = "different spaces" if report.cosine is None else f"{report.centered_cosine:.4f}"
    swap = "different spaces" if report.swap_macro_f1 is None else f"{report.swap_macro_f1:.3f}"
    rows = [
        ("", "teacher", "student"),
        ("parameters", f"{report.teacher_parameters:,}", f"{report.student_parameters:,}"),
        (
            "  outside the gene table",
            f"{report.teacher_parameters_outside_genes:,}",
            f"{report.student_parameters_outside_genes:,}",
        ),
        ("cosine, centered", "", centered),
        ("cosine, plain", "", cosine),
        ("label transfer, macro-F1", f"{report.teacher_macro_f1:.3f}", f"{report.student_macro_f1:.3f}"),
        ("  by the teacher's neighbours", "", swap),
        ("label transfer, accuracy", f"{report.teacher_accuracy:.3f}", f"{report.student_accuracy:.3f}"),
        ("cells per second", f"{report.teacher_cells_per_second:.0f}", f"{report.student_cells_per_second:.0f}"),
    ]
    lines = [f"{name:<31}{teacher:>12}{student:>18}" for name, teacher, student in rows]
    return "\n".join([f"{report.cells} held-out cells", *lines])


def _check_swap(report: "Report", threshold: float) -> None:
    if report.swap_macro_f1 is None:
        raise ValueError("the swap test needs a student whose embedding lies in its teacher's space (projection_dim)")
    kept = report.swap_macro_f1 / report.teacher_macro_f1
    if kept < threshold:
        raise ValueError(
            f"a classifier fitted on teacher vectors keeps {kept:.3f} of its macro-F1 on student vectors; expected at "
            f"least {threshold}: do not replace this teacher by this student"
        )
