"""Fit a classifier of labelled cells on the vectors of a teacher or a student: logistic regression, calibrated.

Prints how good it is on cells kept aside. With --export also writes the model with it, as one folder that labels cells.
"""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tahoe_distill.cli.reading import add_reading_arguments

if TYPE_CHECKING:
    from tahoe_distill.annotation.labelled import Labelled
    from tahoe_distill.models import Tx1Model, Tx1Processor

EXAMPLE = """tahoe-distill probe --model runs/70m/hf --adata labelled.h5ad --label cell_type --out probe
  tahoe-distill probe --teacher tahoebio/Tahoe-x1 --size 70m --adata labelled.h5ad --label cell_type --out probe
  tahoe-distill probe --cache runs/70m/cache --label cell_type"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="folder or hub id of an exported student or converted teacher")
    source.add_argument("--teacher", help="a teacher as training names it: hub id, release folder, tx1-nano")
    source.add_argument("--cache", metavar="FOLDER", help="a teacher cache that carries the labels (prepare --keep)")
    add("--size", help="which of a release's sizes: 70m, 1b, 3b")
    add("--adata", help="labelled cells: h5ad, zarr or 10x .h5")
    add("--label", required=True, metavar="COLUMN", help="column of obs, or of the cache's shards, with the labels")
    add("--group", metavar="COLUMN", help="column with groups, such as donors, that no split may divide")
    add("--out", metavar="FOLDER", help="folder to write (default: probe in the folder of --cache)")
    add("--export", metavar="FOLDER", help="also write the model of --model with the probe as its head")
    add_reading_arguments(parser)
    add("--drug-key", help="column of obs with drug names, for a model with a drug token")
    add("--folds", type=int, default=5, help="one of so many parts of the cells is kept aside (%(default)s)")
    add("--min-cells", type=int, default=10, help="cells that each label needs (%(default)s)")
    add("--strength", type=float, default=1.0, help="inverse strength of the regularisation (%(default)s)")
    add("--seed", type=int, default=17, help="of the split (%(default)s)")
    add("--overwrite", action="store_true", help="replace what is at --out and --export")


def run(args: argparse.Namespace) -> None:
    """Fit, write, print what was found."""
    out = _check(args)
    from tahoe_distill.annotation import ProbeSettings, export_classifier, fit_probe, save_probe

    settings = ProbeSettings(folds=args.folds, min_cells=args.min_cells, strength=args.strength, seed=args.seed)
    cells, pair = _labelled(args, settings.min_cells)
    probe = fit_probe(cells, settings)
    save_probe(probe, out, overwrite=args.overwrite)
    print(summary(probe.record, probe.temperature, out))
    if args.export:
        student = args.model if os.path.isdir(args.model) else None
        export_classifier(pair, probe, args.export, student=student, overwrite=args.overwrite)
        print(f"written to {args.export}: the model with labels; try tahoe-distill annotate --model {args.export}")


def _check(args: argparse.Namespace) -> str:
    """Refuse what does not go together, before anything heavy is imported; the folder to write."""
    if (args.cache is None) == (args.adata is None):
        raise ValueError("expected labelled cells by --adata with --model or --teacher, or a cache that carries labels")
    if args.size and not args.teacher:
        raise ValueError("--size says which of a release's models to take: give --teacher with it")
    if args.export and not args.model:
        raise ValueError("--export writes a model with labels: give it by --model (a release: tahoe-distill convert)")
    out = args.out or (args.cache and os.path.join(args.cache, "probe"))
    if out is None:
        raise ValueError("expected --out FOLDER, the folder to write the probe to")
    for folder in filter(None, (out, args.export)):
        if os.path.exists(folder) and not args.overwrite:
            raise ValueError(f"{folder} exists already; name another folder, or pass --overwrite to replace it")
    return str(out)


def _labelled(args: argparse.Namespace, min_cells: int) -> "tuple[Labelled, Any]":
    """The labelled vectors, and the model and processor that gave them."""
    from tahoe_distill.annotation import labelled_cache, labelled_cells
    from tahoe_distill.annotation.probing import check_labels

    if args.cache:
        return labelled_cache(args.cache, args.label, group=args.group), None
    pair = _pair(args)
    reading = {name: getattr(args, name) for name in ("layer", "gene_key", "symbols", "drug_key")}
    return labelled_cells(
        args.adata,
        pair,
        args.label,
        group=args.group,
        source=args.model or args.teacher,
        check=lambda labels, where: check_labels(labels, where, min_cells),
        reading=reading,
        progress=True,
    ), pair


def _pair(args: argparse.Namespace) -> "tuple[Tx1Model, Tx1Processor]":
    if args.model:
        from tahoe_distill.embedding import load_student

        return load_student(args.model)
    from tahoe_distill.teacher import load_teacher

    teacher = load_teacher(args.teacher, args.size)
    return teacher.model, teacher.processor


def summary(record: Mapping[str, Any], temperature: float, out: str) -> str:
    """What a probe is and how good it is, for people."""
    judged, labels = record["held_out"], record["cells_of_label"]
    return (
        f"{len(labels)} labels learned from {record['cells']['learned']:,} cells; on {judged['cells']:,} others: "
        f"macro-F1 {judged['macro_f1']:.3f}, accuracy {judged['accuracy']:.3f}\n"
        f"calibration error {judged['ece']:.3f} at temperature {temperature:.2f} ({judged['ece_before']:.3f} at 1)\n"
        f"written to {out}: probe.json, probe.safetensors"
    )
