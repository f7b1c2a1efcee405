"""Write MDS shards for training from h5ad files, zarr stores, 10x .h5 files and SOMA experiments."""

import argparse
from typing import Any

from tahoe_distill.cli.reading import add_reading_arguments, add_soma_arguments, chosen_cells

EXAMPLE = "tahoe-distill prepare cells/*.h5ad --vocab vocab.json --out shards --keep cell_type --split-by donor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("inputs", nargs="+", help="h5ad files, zarr stores, 10x .h5 files, SOMA; globs are expanded")
    parser.add_argument("--out", required=True, help="folder to write; must not exist")
    parser.add_argument("--vocab", required=True, help="vocab.json of the teacher")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="validation share of the cells (%(default)s)")
    parser.add_argument("--split-by", metavar="COLUMN", help="obs column whose groups stay whole in one split")
    parser.add_argument("--seed", type=int, default=17, help="decides the split (%(default)s)")
    add_reading_arguments(parser)
    add_soma_arguments(parser)
    parser.add_argument("--keep", nargs="+", default=(), metavar="COLUMN", help="obs columns to carry along")
    parser.add_argument("--teacher-key", metavar="KEY", help="obsm key of a teacher embedding to carry along")
    parser.add_argument("--min-genes", type=int, default=1, help="drop cells with fewer expressed genes (%(default)s)")
    parser.add_argument("--format", choices=("typed", "tahoe"), default="typed", help="column encoding (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--compression", default="none", help="MDS compression, such as zstd:1 (%(default)s)")
    parser.add_argument("--chunk-cells", type=int, default=16384, help="cells written at once (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> None:
    """Prepare and print what was written."""
    from tqdm import tqdm

    from tahoe_distill.data.preparing.prepare import prepare_shards

    metadata = prepare_shards(
        chosen_cells(args.inputs, args),
        args.out,
        args.vocab,
        val_fraction=args.val_fraction,
        split_by=args.split_by,
        seed=args.seed,
        layer=args.layer,
        gene_key=args.gene_key,
        symbols=args.symbols,
        keep=args.keep,
        teacher_key=args.teacher_key,
        min_genes=args.min_genes,
        format=args.format,
        workers=args.workers,
        compression=None if args.compression == "none" else args.compression,
        chunk_cells=args.chunk_cells,
        progress=not args.quiet,
    )
    tqdm.write(summary(args.out, metadata))


def summary(out: str, metadata: dict[str, Any]) -> str:
    """A paragraph for people: cells by split, drops, genes and counts matched, examples that did not match."""
    cells = metadata["cells"]
    lines = [
        f"{out}: {cells['train']} cells for training, {cells['val']} for validation, {cells['dropped']} dropped "
        f"in {metadata['seconds']} s; {metadata['counts_matched']:.1%} of the counts are of genes in the vocabulary"
    ]
    for item in metadata["inputs"]:
        genes = item["gene_report"]
        places = f"{genes['column']}, {genes['by_symbol']} by symbol" if genes["by_symbol"] else genes["column"]
        text = f"  {item['path']}: {item['values']}, {genes['matched']} of {genes['genes']} genes ({places})"
        examples = ", ".join(genes["unmatched_examples"][:5])
        lines.append(f"{text}; not matched: {examples}" if examples else text)
    return "\n".join(lines)
