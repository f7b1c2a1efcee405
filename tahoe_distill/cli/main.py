"""`tahoe-distill`: one subcommand per module of this package."""

import argparse
import importlib
import logging
import sys
import warnings
from collections.abc import Sequence

from tahoe_distill.errors import is_spoken, paragraph, rest

# By who needs them: subcommand -> (module of tahoe_distill.cli, one line of help). A module has EXAMPLE,
# `add_arguments(parser)` and `run(args)`; its docstring is the description.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "with a student and cells": {
        "embed": ("embed", "embed an h5ad with a student or teacher"),
        "annotate": ("annotate", "label the cells of a file, with calibrated probabilities"),
        "doctor": ("doctor", "tell what embedding a file will do, before it does"),
        "page": ("page", "write a page that embeds cells in a browser, by a student without attention"),
    },
    "for a student of your own, on this machine": {
        "fit": ("fit", "fit a student without attention on this machine, without Composer"),
        "specialise": ("specialise", "prune a student without attention to an atlas, and adapt it"),
        "probe": ("probe", "fit a classifier of labelled cells on a model's vectors"),
    },
    "around a training run": {
        "prepare": ("prepare", "write MDS shards from h5ad files"),
        "fetch": ("fetch", "fetch a teacher beforehand, for machines without a network"),
        "convert": ("convert", "write a Tahoe-x1 release as a plain transformers folder"),
        "plan": ("plan", "tell what a run will take, before it is started"),
        "cache": ("cache", "run the teacher once over the shards and keep what it says"),
        "sweep": ("sweep", "try settings of a run by short ones, and write the best as the run to start"),
        "copy": ("copy", "copy a student or a teacher cache to an object store, or from one"),
        "clean": ("clean", "list what killed runs left behind, and remove it"),
    },
    "to judge and to publish": {
        "evaluate": ("evaluate", "judge students beside their teacher, baselines and controls"),
        "compare": ("compare", "order students by a number, and let the first through or not"),
        "figures": ("figures", "draw a paper's figures and tables from evaluations and sweeps that were written"),
        "push": ("push", "publish an exported student on the hub"),
    },
    "for an atlas": {
        "audit": ("audit", "recompute a random share of an atlas from its sources"),
        "index": ("index", "make the vectors of an atlas searchable"),
        "search": ("search", "find the nearest cells of an atlas, with their labels, by a student"),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


def overview() -> str:
    """All commands by who needs them, for those who name none."""
    lines = ["Distil Tahoe-x1 and embed cells with students."]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<12}{text}" for name, (_, text) in commands.items())]
    lines += ["", "tahoe-distill COMMAND --help says more; a training run is `composer scripts/distill.py -f CONFIG`."]
    return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
    """The whole command's; its help is the overview, without a list of its own."""

    def format_help(self) -> str:
        return f"{self.format_usage()}\n{overview()}\n\n-h, --help: this text; -v, --verbose: log details\n"


def build_parser() -> argparse.ArgumentParser:
    """The whole command's argument parser."""
    parser = _Parser(prog="tahoe-distill")
    parser.add_argument("-v", "--verbose", action="store_true", help="log details")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=argparse.ArgumentParser
    )
    for name, (module_name, help_text) in COMMANDS.items():
        module = importlib.import_module(f"tahoe_distill.cli.{module_name}")
        sub = commands.add_parser(
            name,
            help=help_text,
            description=module.__doc__,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def _parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Settings (``key=value``) may stand anywhere, as they may behind the entry point of a run."""
    args, rest = parser.parse_known_args(argv)
    if rest and not (hasattr(args, "overrides") and all("=" in item and item[0] != "-" for item in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or print one paragraph and return 1 when the input is at fault.

    Without a subcommand print all of them, by who needs them, and return 2.
    """
    if not (sys.argv[1:] if argv is None else argv):
        print(overview(), file=sys.stderr)
        return 2
    try:
        args = _parse(build_parser(), argv)
    except KeyboardInterrupt:
        print("tahoe-distill: interrupted", file=sys.stderr)
        return 130
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        with warnings.catch_warnings():
            # What libraries say of themselves and of their users' habits; ours is logged.
            if not args.verbose:
                warnings.simplefilter("ignore")
            args.run(args)
    except KeyboardInterrupt:
        print(f"tahoe-distill {args.command}: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        reason = str(error) or "no more could be had"
        print(
            f"tahoe-distill {args.command}: error: there is too little memory ({reason}). Either the input is damaged "
            "and says that it is larger than it is, or it needs a larger machine",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        if args.verbose:
            logging.exception("tahoe-distill %s failed", args.command)
        told = paragraph(error) if is_spoken(error) else f"{paragraph(error)}\n{rest(error, '-v')}"
        print(f"tahoe-distill {args.command}: error: {told}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
