"""Copy an exported student or a teacher cache to an object store, or from one.

What arrives is whole: on a disk the folder appears at the end, in a store the file that it is known by comes last.
"""

import argparse

EXAMPLE = """tahoe-distill copy s3://bucket/runs/70m/hf student
  tahoe-distill copy runs/70m/cache s3://bucket/runs/70m/cache"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("source", metavar="FROM", help="a folder, or s3://, gs://, oci:// … of one")
    parser.add_argument("target", metavar="TO", help="the same; one of the two is in a store")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that exists on this disk")


def run(args: argparse.Namespace) -> None:
    """Copy, and say how much."""
    from tahoe_distill.training.store import is_remote, send_folder, take_folder

    if is_remote(args.source) == is_remote(args.target):
        both = "in a store" if is_remote(args.source) else "on this disk"
        raise ValueError(f"{args.source} and {args.target} are both {both}; expected one of them in a store (s3://…)")
    if is_remote(args.target):
        files = send_folder(args.source, args.target)
    else:
        files = take_folder(args.source, args.target, overwrite=args.overwrite)
    print(f"{args.target}: {files} files of {args.source}")
