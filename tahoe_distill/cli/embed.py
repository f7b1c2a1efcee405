"""Embed the cells of a file of any size (h5ad, zarr, 10x .h5) with a student or a converted teacher.

Writes a copy of the input with the vectors in obsm. Memory does not grow with the file; a run that was killed or
interrupted carries on when the same command is given again.
"""

import argparse
import sys
import time

from tahoe_distill.cli.reading import add_reading_arguments
from tahoe_distill.embedding import BACKENDS

EXAMPLE = "tahoe-distill embed --model runs/quickstart/hf --adata cells.h5ad --out embedded.h5ad"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--model", required=True, help="folder or hub id of an exported student or converted teacher")
    parser.add_argument("--adata", required=True, help="h5ad, zarr or 10x .h5 with raw counts or log1p of them")
    parser.add_argument("--out", required=True, help="file to write: zarr where the input is, h5ad otherwise")
    parser.add_argument("--key-added", default="X_tx1", help="key of obsm (default: X_tx1)")
    add_reading_arguments(parser)
    parser.add_argument("--drug-key", help="column of obs with drug names, for a model with a drug token")
    parser.add_argument("--genes", action="store_true", help="also write the mean embedding of each gene to varm")
    parser.add_argument(
        "--confidence", action="store_true", help="also write how close each vector is expected to be to the teacher's"
    )
    parser.add_argument("--no-normalize", action="store_true", help="leave vectors at their own length")
    parser.add_argument("--dim", type=int, help="coordinates of a vector, the first ones (default: all)")
    parser.add_argument(
        "--batch-size", default="auto", type=_batch_size, help="cells of a batch at most (default: auto)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--devices", help="several, one process each: cuda:0,cuda:1 or a number")
    parser.add_argument(
        "--dtype", default="auto", help="auto (bfloat16 on GPUs, float32 on CPUs), float32, bfloat16, float16"
    )
    parser.add_argument("--backend", default="torch", choices=BACKENDS, help="how to compute (default: torch)")
    parser.add_argument("--workers", default=0, type=int, help="processes that tokenise; 0 for a thread (default)")
    parser.add_argument("--window", type=int, help="cells that are sorted by length and committed together")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output or key")
    parser.add_argument(
        "--force", action="store_true", help="embed cells that doctor calls meaningless, whose vectors mean nothing"
    )


def run(args: argparse.Namespace) -> None:
    """Embed the file; Ctrl-C leaves a state that the same command carries on from."""
    from tahoe_distill.embedding import embed_file
    from tahoe_distill.embedding.summary import summary

    began = time.perf_counter()
    try:
        out = embed_file(
            args.adata,
            args.model,
            args.out,
            key_added=args.key_added,
            layer=args.layer,
            gene_key=args.gene_key,
            symbols=args.symbols,
            drug_key=args.drug_key,
            overwrite=args.overwrite,
            force=args.force,
            confidence=args.confidence,
            progress=True,
            genes=args.genes,
            normalize=not args.no_normalize,
            dim=args.dim,
            batch_size=args.batch_size,
            device=args.device,
            devices=args.devices,
            dtype=args.dtype,
            backend=args.backend,
            workers=args.workers,
            window=args.window,
        )
    except KeyboardInterrupt:
        print("\ninterrupted; the same command carries on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(summary(out, args.key_added, time.perf_counter() - began))


def _batch_size(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text
