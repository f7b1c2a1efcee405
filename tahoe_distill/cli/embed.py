"""Embed the cells of files of any size (h5ad, zarr, 10x .h5) or of a SOMA experiment with a student or a teacher.

Of one file it writes a copy with the vectors in obsm; of several, of a pattern in quotes or of a SOMA, one store of
their tables and vectors (.zarr, .parquet or .soma), on this machine, in shares or on a Ray cluster. Memory does not
grow with the cells; a run that was killed or interrupted carries on when the same command is given again.
"""

import argparse
import glob
import sys
import time
from typing import Any

from tahoe_distill.cli.reading import add_reading_arguments, add_soma_arguments, chosen_cells
from tahoe_distill.embedding import BACKENDS

EXAMPLE = """tahoe-distill embed --model runs/quickstart/hf --adata cells.h5ad --out embedded.h5ad
  tahoe-distill embed --model runs/quickstart/hf --adata 'atlas/*.h5ad' --out atlas.zarr --ray"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--model", required=True, help="folder or hub id of an exported student or converted teacher")
    parser.add_argument(
        "--adata",
        required=True,
        nargs="+",
        help="h5ad, zarr, 10x .h5 or SOMA, counts or log1p of them; or patterns",
    )
    parser.add_argument(
        "--out", required=True, help="of one file: zarr where it is, h5ad otherwise; else .zarr, .parquet or .soma"
    )
    parser.add_argument("--key-added", default="X_tx1", help="key of obsm (default: X_tx1)")
    add_reading_arguments(parser)
    add_soma_arguments(parser)
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
    _add_atlas_arguments(parser)


def _add_atlas_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is for many files."""
    group = parser.add_argument_group("many files in one store")
    group.add_argument(
        "--on-error", choices=["stop", "skip"], default="stop", help="at a file that cannot be read (default: stop)"
    )
    group.add_argument(
        "--shard", metavar="I/N", type=_shard, help="do one of N shares; the last to end writes the output"
    )
    group.add_argument(
        "--about", nargs="+", metavar="NAME=TEXT", type=_field, help="of a .soma output: title, contact_name and others"
    )
    group.add_argument(
        "--store", metavar="DIR", help="keep cells by their content there, and compute none of them twice"
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="use a Ray cluster (default: start one on this machine)",
    )
    group.add_argument("--actors", type=int, help="actors of the cluster (default: as many as fit)")
    group.add_argument("--actor-cores", type=int, default=1, help="CPU cores set aside for each (default: 1)")
    group.add_argument("--actor-memory", type=float, default=2.0, metavar="GB", help="memory of each (default: 2 GB)")


def run(args: argparse.Namespace) -> None:
    """Embed; Ctrl-C leaves a state that the same command carries on from."""
    began = time.perf_counter()
    args.adata = chosen_cells(args.adata, args)
    try:
        told = _embed_many(args) if _is_atlas(args) else _embed_one(args, began)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command carries on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(told)


def _is_atlas(args: argparse.Namespace) -> bool:
    """Whether tables and vectors alone are wanted, and not a copy of one file with all it holds."""
    from tahoe_distill.cells.formats import is_address

    several = len(args.adata) > 1 or glob.has_magic(args.adata[0]) or is_address(args.adata[0])
    alone = args.out.endswith((".parquet", ".soma"))
    return several or alone or any(way is not None for way in (args.shard, args.store, args.ray, args.about))


def _embed_one(args: argparse.Namespace, began: float) -> str:
    from tahoe_distill.embedding import embed_file
    from tahoe_distill.embedding.summary import summary

    out = embed_file(args.adata[0], args.model, args.out, genes=args.genes, **_settings(args))
    return summary(out, args.key_added, time.perf_counter() - began)


def _embed_many(args: argparse.Namespace) -> str:
    from tahoe_distill.atlas import embed_atlas
    from tahoe_distill.atlas.ray_way import RaySettings

    ray = None
    if args.ray is not None:
        ray = RaySettings(args.ray, actors=args.actors, cores=args.actor_cores, memory=args.actor_memory)
    if args.genes:
        raise ValueError("--genes is for the genes of one file; leave it out, or embed each file alone")
    found = embed_atlas(
        args.adata, args.model, args.out, on_error=args.on_error, shard=args.shard, store=args.store, ray=ray,
        about=dict(args.about or ()),
        **_settings(args),
    )  # fmt: skip
    for path, reason in found.skipped.items():
        print(f"left out {path}: {reason}", file=sys.stderr)
    if found.out is None:
        return f"{found.computed:,} cells done; {found.windows_left:,} windows are left to the other shards"
    left_out = f", {len(found.skipped):,} inputs left out" if found.skipped else ""
    return f"{found.cells:,} cells, {found.computed:,} of them now{left_out}; vectors in {found.out}"


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "key_added": args.key_added,
        "layer": args.layer,
        "gene_key": args.gene_key,
        "symbols": args.symbols,
        "drug_key": args.drug_key,
        "overwrite": args.overwrite,
        "force": args.force,
        "confidence": args.confidence,
        "progress": True,
        "normalize": not args.no_normalize,
        "dim": args.dim,
        "batch_size": args.batch_size,
        "device": args.device,
        "devices": args.devices,
        "dtype": args.dtype,
        "backend": args.backend,
        "workers": args.workers,
        "window": args.window,
    }


def _shard(text: str) -> tuple[int, int] | str:
    if text == "merge":
        return text
    number, slash, count = text.partition("/")
    if not (slash and number.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; expected I/N, such as 3/16, or merge")
    return int(number), int(count)


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no field; expected NAME=TEXT, such as title='Cells of lungs'")
    return name, value


def _batch_size(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text
