"""Judge students beside their teacher, baselines and controls, on cells that none of them was trained on.

Runs every evaluator that the cells and the models allow, and says which it left out and why. Without labels it still
does all that needs none.
"""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tahoe_distill.cli.reading import add_reading_arguments

if TYPE_CHECKING:
    from anndata import AnnData

    from tahoe_distill.evaluation import Columns, Evaluation, TeacherVectors
    from tahoe_distill.evaluation.subjects import Pair

log = logging.getLogger(__name__)

EXAMPLE = (
    "tahoe-distill evaluate --student runs/quickstart/hf --teacher tx1-nano --adata held_out.h5ad "
    "--reference train.h5ad --label-key cell_type --out evaluation"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("--student", required=True, nargs="+", metavar="MODEL", help="folders or hub ids (name/student@REVISION)")
    add_evaluation_arguments(parser, required=True)
    add("--margin", type=float, help="macro-F1 that a student may lose and still replace its teacher (default 0.02)")
    add("--swap", action="store_true", help="exit 1 unless --swap-threshold of the macro-F1 is kept")
    add("--swap-threshold", type=float, default=0.95, help="share to keep (default 0.95)")
    add("--out", metavar="FOLDER", help="write metrics.json, tables and report.html here")
    add("--card", action="store_true", help="put the evaluation into the student's folder and write its card anew")
    add("--dataset", metavar="ID", help="with --card: hub id of the benchmark that the cells are (owner/name[:TASK])")
    add("--export-for", choices=("cz-benchmarks",), help="also write vectors and a script that runs its tasks to --out")
    add("--figures", choices=("png", "svg"), help="also write each figure of the report as an image")
    add("--overwrite", action="store_true", help="replace what an earlier evaluation wrote to --out")


def add_evaluation_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add what says against which teacher and by which cells to judge, and how.

    Args:
        parser: A command's.
        required: Whether there must be cells.
    """
    add = parser.add_argument
    add("--teacher", metavar="MODEL", help="release folder, hub id, converted folder, tx1-nano, or a teacher cache")
    add("--teacher-key", metavar="KEY", help="instead of a teacher: obsm key of its vectors, in every file")
    add("--size", help="teacher size where the source holds several (70m, 1b, 3b)")
    add("--adata", required=required, help="cells to judge by, which no model was trained on: h5ad, zarr, 10x .h5")
    add("--reference", help="cells to learn labels and baselines from; folds of --adata serve without")
    add_column_arguments(parser)
    add_reading_arguments(parser)
    add("--drug-key", metavar="COLUMN", help="obs column with drug names, for models with a drug token")
    add("--num-samples", type=int, metavar="N", help="judge by so many of the cells, in their labels' proportions")
    add("--seed", type=int, default=0, help="of all that is drawn (default 0)")
    add("--only", nargs="+", default=[], metavar="NAME", help="evaluators to run, or module.path:ClassName")
    add("--skip", nargs="+", default=[], metavar="NAME", help="evaluators to leave out")


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which columns of ``obs`` mean what."""
    parser.add_argument("--label-key", metavar="COLUMN", help="obs column with cell types")
    parser.add_argument("--batch-key", metavar="COLUMN", help="obs column with batches")
    parser.add_argument("--condition-key", metavar="COLUMN", help="obs column with conditions, such as drugs")
    parser.add_argument("--control", metavar="NAME", help="the condition that is none, such as DMSO")
    parser.add_argument("--group-key", metavar="COLUMN", help="obs column, such as donor, that no fold may divide")


def run(args: argparse.Namespace) -> None:
    """Evaluate, print a table and a verdict, write what was found."""
    from tahoe_distill.evaluation.record import check_output, to_record
    from tahoe_distill.evaluation.verdict import MARGIN
    from tahoe_distill.metrics.tables import terminal_table

    if args.export_for and not (args.out and args.label_key):
        raise ValueError("--export-for cz-benchmarks needs labels (--label-key) and a folder to write to (--out)")
    if args.figures and not args.out:
        raise ValueError("--figures needs --out, the folder to write them to")
    check_card(args)
    if args.out:
        check_output(args.out, overwrite=args.overwrite)
    found = evaluate_files(args)
    record = to_record(found, files=describe_inputs(args), margin=MARGIN if args.margin is None else args.margin)
    print(terminal_table(record))
    print(summary(record))
    if args.out:
        write_results(found, record, args)
    if args.card:
        write_card(args)
    if args.swap:
        _check_swap(record, args.swap_threshold)


def evaluate_files(args: argparse.Namespace, *, baselines: bool = True) -> "Evaluation":
    """The evaluation of ``args.student`` that the other arguments ask for.

    Args:
        args: Those of this command.
        baselines: Judge baselines and controls beside the students.

    Raises:
        ValueError: When files, columns or models do not fit.
    """
    from tahoe_distill.cells import read_symbols
    from tahoe_distill.evaluation import Columns, Reading, evaluate
    from tahoe_distill.evaluation.run import choose_evaluators

    choose_evaluators(args.only, args.skip)
    columns = Columns(args.label_key, args.batch_key, args.condition_key, args.control, args.group_key)
    symbols = None if args.symbols is None else read_symbols(args.symbols)
    query, given = _read(args.adata, args, columns, args.num_samples)
    reference, known = _read(args.reference, args, columns) if args.reference else (None, None)
    students, sources = _students(args.student)
    teacher, query = _teacher(args, query, given, known)
    return evaluate(
        students,
        teacher,
        query,
        reference=reference,
        columns=columns,
        reading=Reading(gene_key=args.gene_key, symbols=symbols, drug_key=args.drug_key),
        sources={"teacher": args.teacher or args.teacher_key, **sources},
        only=args.only,
        skip=args.skip,
        baselines=baselines,
        seed=args.seed,
        progress=True,
    )


def describe_inputs(args: argparse.Namespace) -> dict[str, Any]:
    """What is known of the files of cells."""
    from tahoe_distill.evaluation.record import describe_file

    inputs = {"adata": args.adata, "reference": args.reference}
    return {name: describe_file(path) for name, path in inputs.items() if path}


def _read(path: str, args: argparse.Namespace, columns: "Columns", count: int | None = None) -> "tuple[AnnData, Any]":
    """Cells in memory, all or a sample of them, and the teacher's vectors where they are in the file."""
    from tahoe_distill.cells import open_cells
    from tahoe_distill.evaluation.bench import sample

    with open_cells(path, layer=args.layer) as cells:
        numbers = None if count is None else sample(cells.obs, columns, count, seed=args.seed)
        vectors = None
        if args.teacher_key:
            vectors = cells.embedding(args.teacher_key)[:]
            vectors = vectors if numbers is None else vectors[numbers]
        return cells.to_anndata(numbers), vectors


def _students(names: list[str]) -> "tuple[dict[str, Pair], dict[str, str]]":
    from tahoe_distill.embedding import load_student

    shown = _short_names(names)
    return {name: load_student(source) for name, source in shown.items()}, shown


def _short_names(sources: list[str]) -> dict[str, str]:
    """A name for each model: ``student`` for the only one, else the end of its path that tells it from the others."""
    if len(sources) == 1:
        return {"student": sources[0]}
    if len(set(sources)) < len(sources):
        raise ValueError(f"--student names a model twice: {', '.join(sources)}")
    parts = [Path(source).parts for source in sources]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names) and "teacher" not in names:
            break
    return dict(zip(names, sources, strict=True))


def _teacher(
    args: argparse.Namespace, query: "AnnData", given: Any, known: Any
) -> "tuple[Pair | TeacherVectors, AnnData]":
    """The teacher, and the cells that it says something of."""
    from tahoe_distill.evaluation import TeacherVectors
    from tahoe_distill.evaluation.cached import is_cache, vectors_of_cache

    if (args.teacher is None) == (args.teacher_key is None):
        raise ValueError("expected one of --teacher MODEL and --teacher-key KEY, found both or neither")
    if args.teacher_key:
        return TeacherVectors(given, known, source=f"obsm[{args.teacher_key!r}]"), query
    if is_cache(args.teacher):
        if args.reference:
            raise ValueError("a teacher cache holds the vectors of its own cells: leave --reference out")
        return vectors_of_cache(args.teacher, query, gene_key=args.gene_key)
    from tahoe_distill.teacher import load_teacher

    teacher = load_teacher(args.teacher, size=args.size)
    return (teacher.model, teacher.processor), query


def write_results(found: "Evaluation", record: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Write everything to ``--out``: whole, or not at all."""
    from tahoe_distill.evaluation.cz_benchmarks import export_for_cz_benchmarks
    from tahoe_distill.evaluation.maps import add_maps
    from tahoe_distill.evaluation.record import write_record
    from tahoe_distill.evaluation.report import write_report
    from tahoe_distill.files import finished_folder

    add_maps(found)
    # What stands there was looked at before the work: an earlier evaluation to replace, or an empty folder.
    with finished_folder(args.out, overwrite=True) as folder:
        write_record(found, record, folder)
        if args.export_for:
            export_for_cz_benchmarks(found, folder)
        write_report(folder, images=args.figures)
        names = sorted(path.name for path in folder.iterdir())
    print(f"\nwritten to {args.out}: {', '.join(names)}")


def check_card(args: argparse.Namespace) -> None:
    """Refuse, before any work, what no card can be written of.

    Raises:
        ValueError: With what is missing.
    """
    from tahoe_distill.hub.evaluation_card import check_dataset

    if args.dataset and not args.card:
        raise ValueError("--dataset says what the card's numbers were measured on: give --card too")
    check_dataset(args.dataset)
    if not args.card:
        return
    if not args.out or len(args.student) != 1 or not Path(args.student[0]).is_dir():
        raise ValueError("--card needs --out, and one student in a local folder, whose card is written anew")
    args.figures = "png"


def write_card(args: argparse.Namespace) -> None:
    """Put the evaluation into the student's folder, and write its card anew."""
    from tahoe_distill.files import replace_text
    from tahoe_distill.hub.card import card_of_folder
    from tahoe_distill.hub.evaluation_card import add_evaluation
    from tahoe_distill.hub.folder import CARD_FILE

    folder = Path(args.student[0])
    written = add_evaluation(folder, args.out, dataset=args.dataset)
    replace_text(folder / CARD_FILE, card_of_folder(folder))
    print(f"written to {folder}: {CARD_FILE}, {', '.join(written)}")


def summary(record: Mapping[str, Any]) -> str:
    """Verdicts, controls that did not fail, what was left out and why, as text."""
    lines = []
    answers = {True: "yes", False: "no", None: "cannot be told"}
    for verdict in record["verdicts"]:
        answer = answers[verdict["replaces_teacher"]]
        lines.append(f"{verdict['student']} may replace the teacher for annotation: {answer}. {verdict['because']}")
    for control in record["controls"]:
        if not control["failed_as_it_must"]:
            lines.append(
                f"WARNING: the control {control['control']} should have failed: {control['number']} is "
                f"{control['value']:.3f}, expected below {control['must_be_below']:.3f}. Do not trust these numbers"
            )
    lines += [f"note: {note}" for note in record["notes"]]
    reasons: dict[tuple[str, str], list[str]] = {}
    for left in record["skipped"]:
        reasons.setdefault((left["evaluator"], left["reason"]), []).append(left["subject"])
    lines += [f"left out: {evaluator} ({', '.join(who)}): {why}" for (evaluator, why), who in reasons.items()]
    return "\n" + "\n".join(lines)


def _check_swap(record: Mapping[str, Any], threshold: float) -> None:
    teacher = record["subjects"]["teacher"]["values"].get("annotation/knn_macro_f1")
    for name, subject in record["subjects"].items():
        if subject["role"] != "student":
            continue
        swapped = subject["values"].get("annotation/swap_knn_macro_f1")
        if swapped is None or not teacher:
            raise ValueError(
                "the swap test needs labels (--label-key) and a student whose embedding lies in its teacher's space "
                "(projection_dim)"
            )
        if swapped / teacher < threshold:
            raise ValueError(
                f"a classifier fitted on teacher vectors keeps {swapped / teacher:.3f} of its macro-F1 on the vectors "
                f"of {name}; expected at least {threshold}: do not replace this teacher by this student"
            )
