"""Write a Tahoe-x1 release as a plain transformers folder, which loads without this package."""

import argparse
from pathlib import Path

EXAMPLE = "tahoe-distill convert --source tahoebio/Tahoe-x1 --size 70m --out tahoe-x1-70m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--source", required=True, help="release folder, hub repository, Composer .pt or tx1-nano")
    parser.add_argument("--size", help="size of the release: 70m, 1b or 3b")
    parser.add_argument("--out", required=True, help="folder to write; must not exist")
    parser.add_argument("--use-chem", action="store_true", help="keep the drug token of a release that has one")
    parser.add_argument("--verify", action="store_true", help="load the folder in a fresh process and compare")
    parser.add_argument("--revision", help="branch, tag or commit of a hub repository")
    parser.add_argument("--cache-dir", help="where downloads are kept")


def run(args: argparse.Namespace) -> None:
    """Load the teacher and write the folder."""
    if Path(args.out).exists():
        # Before a download of gigabytes, not after it.
        raise FileExistsError(f"{args.out} exists already; remove it or choose another output folder")
    from tahoe_distill.hub.export import write_model_folder
    from tahoe_distill.teacher import load_teacher

    teacher = load_teacher(
        args.source, size=args.size, use_chem=args.use_chem, revision=args.revision, cache_dir=args.cache_dir
    )
    write_model_folder(teacher.model, teacher.processor, args.out, verify=args.verify)
    print(f"{args.out}: {teacher.model.num_parameters():,} parameters; load it with")
    print(f'  AutoModel.from_pretrained("{args.out}", trust_remote_code=True)')
