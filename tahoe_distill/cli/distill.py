"""Entry point of a training run: arguments, early checks, then llm-foundry."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tahoe_distill.cli.defaults import merge, with_defaults
from tahoe_distill.training.resume.preflight import prepare_run

# What Composer says about a checkpoint at the end of its run, which is no failure here.
_NOTHING_LEFT = "No training would occur."
# What a wrong config or teacher raises; anything else keeps its traceback.
_INPUT_ERRORS = (ValueError, OSError, ImportError, KeyError, TypeError)


def parse(argv: Sequence[str] | None = None) -> tuple[str, list[str]]:
    """The config path and the ``key=value`` overrides.

    Raises:
        SystemExit: Where no config was given.
    """
    parser = argparse.ArgumentParser(
        prog="composer scripts/distill.py",
        description="Distil a Tahoe-x1 teacher into a student, as the YAML says.",
        epilog="example:\n  composer scripts/distill.py -f configs/quickstart.yaml max_duration=100ba",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", "--file", dest="config", help="the run's YAML")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the YAML's")
    args = parser.parse_intermixed_args(argv)
    overrides = list(args.overrides)
    if args.config is None and overrides and "=" not in overrides[0]:
        args.config = overrides.pop(0)
    if args.config is None:
        parser.error("no config given; expected -f CONFIG, such as -f configs/quickstart.yaml")
    return args.config, overrides


def check(path: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Find what can be found wrong without loading anything heavy; return the YAML's content.

    Raises:
        FileNotFoundError: When the config is missing.
        ValueError: When it cannot be read as a mapping, or an override is not ``key=value``.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the config {path} does not exist; expected a YAML such as configs/quickstart.yaml")
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the config {path} is not readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"the config {path} holds a {type(content).__name__}; expected keys such as model: and train_loader:"
        )
    wrong = [override for override in overrides if "=" not in override]
    if wrong:
        raise ValueError(f"cannot read the override {wrong[0]!r}; expected key=value, such as max_duration=100ba")
    return content


def main(argv: Sequence[str] | None = None) -> None:
    """Run it; a problem with the input ends in one paragraph on stderr and exit code 1.

    A run that had ended and is started again says so and ends well.
    """
    path, overrides = parse(argv)
    # Composer's FSDP1 insists on CUDA; FSDP2 also runs on CPU ranks.
    os.environ.setdefault("FSDP_VERSION", "2")
    with _one_paragraph(*_INPUT_ERRORS):
        content = check(path, overrides)
        overrides = with_defaults(content, overrides)
        run = merge(content, overrides)
        show_log(run)
        prepare_run(run)
        # Imported here: a config that cannot work is told at once, and not after seconds of imports.
        from llmfoundry.command_utils.train import train_from_yaml

        from tahoe_distill.data import ShardError
        from tahoe_distill.hub.export import GoldenMismatchError

    with _one_paragraph(*_INPUT_ERRORS, ShardError, GoldenMismatchError):
        train_from_yaml(path, overrides)


@contextlib.contextmanager
def _one_paragraph(*errors: type[Exception]) -> Iterator[None]:
    """Tell these errors as a user's own and end the process with 1; tell the end of a run that had ended, and go on."""
    try:
        yield
    except errors as error:
        if _NOTHING_LEFT in str(error):
            print(f"distill: {_ended(error)}", flush=True)
            return
        if os.environ.get("TAHOE_DISTILL_TRACEBACK"):
            raise
        message = f"missing key {error}" if isinstance(error, KeyError) else error
        hint = "(set TAHOE_DISTILL_TRACEBACK=1 for the traceback)"
        print(f"distill: error: {message}\n{hint}", file=sys.stderr, flush=True)
        sys.exit(1)


def show_log(run: Mapping[str, Any]) -> None:
    """Give this package's messages the level ``python_log_level``: llm-foundry gives it to its own alone.

    Raises:
        ValueError: For a level that there is not.
    """
    level = run.get("python_log_level", "debug")
    if level is not None:
        logging.getLogger("tahoe_distill").setLevel(str(level).upper())


def _ended(error: Exception) -> str:
    numbers = str(error).split(_NOTHING_LEFT)[0].strip()
    return (
        f"the run has ended, and there is nothing left to train: {numbers} Raise max_duration to train on, or give "
        "another save_folder to start afresh"
    )
