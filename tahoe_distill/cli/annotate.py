"""Label the cells of a file of any size (h5ad, zarr, 10x .h5), with calibrated probabilities.

By a student that was exported with labels, by a probe on a model's vectors, or by a labelled reference. Writes a copy
of the input; a run that was killed or interrupted carries on when the same command is given again.
"""

import argparse
import sys
from pathlib import Path

from tahoe_distill.cli.reading import add_reading_arguments
from tahoe_distill.embedding import BACKENDS

EXAMPLE = """tahoe-distill annotate --model classifier --adata cells.h5ad --out annotated.h5ad
  tahoe-distill annotate --model student --reference labelled.h5ad --label cell_type --adata cells.h5ad"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("--model", required=True, help="folder or hub id of a student, with labels or with one of the next two")
    add("--probe", metavar="FOLDER", help="what tahoe-distill probe wrote for this model")
    add("--reference", metavar="FILE", help="labelled cells to learn from: h5ad, zarr or 10x .h5")
    add("--label", metavar="COLUMN", help="column of the reference's obs with the labels")
    add("--adata", required=True, help="h5ad, zarr or 10x .h5 with raw counts or log1p of them")
    add("--out", help="file to write (default: NAME.annotated.h5ad, or .zarr, beside the input)")
    add("--key-added", default="tx1_label", help="column of obs for the labels (default: tx1_label)")
    add(
        "--min-probability",
        type=float,
        metavar="P",
        help="call less probable labels unknown (default: none)",
    )
    add("--probabilities", action="store_true", help="also write the probabilities of all labels to obsm")
    add_reading_arguments(parser)
    add("--drug-key", help="column of obs with drug names, for a model with a drug token")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--backend", default="torch", choices=BACKENDS, help="how to compute (default: torch)")
    add("--overwrite", action="store_true", help="replace an existing output or key")
    add("--force", action="store_true", help="label cells that doctor calls meaningless, whose labels mean nothing")


def run(args: argparse.Namespace) -> None:
    """Label the file; Ctrl-C leaves a state that the same command carries on from."""
    out = args.out or _beside(args.adata)
    from tahoe_distill.annotation import annotate_file

    given = (
        *("probe", "reference", "label", "key_added", "min_probability", "probabilities", "layer", "gene_key"),
        *("symbols", "drug_key", "device", "backend", "overwrite", "force"),
    )
    try:
        written = annotate_file(
            args.adata, args.model, out, progress=True, **{name: getattr(args, name) for name in given}
        )
    except KeyboardInterrupt:
        print("\ninterrupted; the same command carries on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(summary(written, args.key_added))


def _beside(path: str) -> str:
    source = Path(path)
    return str(source.with_name(f"{source.stem}.annotated{'.zarr' if source.suffix == '.zarr' else '.h5ad'}"))


def summary(path: Path, key: str) -> str:
    """How many cells have each label, for people."""
    from anndata.io import read_elem

    from tahoe_distill.cells.stores import opened

    with opened(path) as root:
        labels, probability = read_elem(root[f"obs/{key}"]), read_elem(root[f"obs/{key}_probability"])
    counts = labels.value_counts()
    shown = ", ".join(f"{name} {count:,}" for name, count in counts[counts > 0].sort_values(ascending=False).items())
    return (
        f"{len(labels):,} cells: {shown}\nmean probability {float(probability.mean()):.2f}; labels in obs[{key!r}] and "
        f"obs['{key}_probability'] of {path}"
    )
