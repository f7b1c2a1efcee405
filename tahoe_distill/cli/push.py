"""Publish an exported student on the Hugging Face hub, checked before and after."""

import argparse

EXAMPLE = "tahoe-distill push runs/70m/hf my-lab/tx1-student --only-if-better eval/cosine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dir", metavar="DIR", help="exported folder")
    parser.add_argument("repo", metavar="REPO", help="repository, owner/name; created when it does not exist")
    parser.add_argument(
        "--only-if-better",
        metavar="METRIC",
        help="refuse unless this metric of metrics.json is better than the published one; a number of the evaluations, "
        "such as fidelity/knn_overlap_10, where both versions carry one of the same cells",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.0,
        help="what may be lost of a number of the evaluations, by the paired 95 %% interval (default 0)",
    )
    parser.add_argument(
        "--mode",
        choices=("max", "min"),
        help="which values of that metric are better, the highest or the lowest; needed only for one of your own",
    )
    parser.add_argument("--private", action="store_true", help="create the repository as a private one")
    parser.add_argument("--dry-run", action="store_true", help="check and compare, but upload nothing")


def run(args: argparse.Namespace) -> None:
    """Push, and say where it went."""
    from tahoe_distill.evaluation.compare import judge_by_evaluations
    from tahoe_distill.hub.push import push_folder

    report = push_folder(
        args.dir,
        args.repo,
        only_if_better=args.only_if_better,
        mode=args.mode,
        private=args.private,
        dry_run=args.dry_run,
        judge=judge_by_evaluations(args.margin) if args.only_if_better else None,
    )
    if report.revision is None:
        print(f"{args.dir} is fit to be published as {report.repo_id}; a push would upload")
        print("  " + "\n  ".join(report.files))
        return
    print(f"{report.url}: {len(report.files)} files in one commit")
    print(f"  loaded again from the hub in a fresh process, golden vectors within {report.difference:.1e}")
