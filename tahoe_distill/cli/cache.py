"""Run the teacher once over the shards of a training configuration, and keep what it says for any number of runs."""

import argparse
import os
import shlex

from tahoe_distill.cache.record import PRECISIONS, STORABLE, CacheRecord
from tahoe_distill.cli.defaults import merge, teacher_cache, with_vocab
from tahoe_distill.cli.distill import read_run

EXAMPLE = """tahoe-distill cache -f configs/70m.yaml --out runs/70m/cache
  composer -n 8 -m tahoe_distill.cli.main cache -f configs/70m.yaml --out runs/70m/cache
  composer scripts/distill.py -f configs/70m.yaml model.teacher.cache=runs/70m/cache"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("-f", "--file", dest="config", required=True, metavar="CONFIG", help="the run's YAML")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the YAML's")
    parser.add_argument("--out", metavar="FOLDER", help="folder to write (model.teacher.cache of the YAML)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float16", help="(%(default)s)")
    parser.add_argument(
        "--store",
        nargs="+",
        default=(),
        choices=STORABLE,
        help="outputs to keep beside the cell embedding and what the objectives read",
    )
    parser.add_argument("--views", type=int, default=1, help="views of each training cell (%(default)s)")
    parser.add_argument("--part-cells", type=int, default=8192, help="cells written at once (%(default)s)")
    parser.add_argument("--cells", type=int, help="take so many cells of each split, spread over it (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> None:
    """Write the cache and say how to train from it."""
    config = with_vocab(merge(*read_run(args.config, args.overrides)))
    folder = args.out or teacher_cache(config)
    if folder is None:
        raise ValueError("no folder to write the cache to; give --out FOLDER, or model.teacher.cache in the YAML")
    from tahoe_distill.training.caching import write_cache

    record = write_cache(
        config,
        folder,
        precision=args.precision,
        store=args.store,
        views=args.views,
        part_cells=args.part_cells,
        cells=args.cells,
        progress=not args.quiet,
    )
    if int(os.environ.get("RANK", 0)) == 0:
        print(summary(folder, shlex.join([args.config, *args.overrides]), record))


def summary(folder: str, run: str, record: CacheRecord) -> str:
    """A paragraph for people: what the cache holds, and the command that trains from it.

    Args:
        folder: The cache.
        run: The configuration and its overrides, as they stand on a command line.
        record: The cache's :class:`CacheRecord`.
    """
    cells = ", ".join(
        f"{split['cells']} cells ({name}{'' if split['views'] == 1 else ', ' + str(split['views']) + ' views'})"
        for name, split in record.splits.items()
    )
    return (
        f"{folder}: {', '.join(record.stored)} of {record.teacher['source']} for {cells}, as {record.precision}; "
        f"fingerprint {record.fingerprint[:12]}\n"
        f"train from it: composer scripts/distill.py -f {run} model.teacher.cache={folder}"
    )
