"""Entry point of a training run: arguments, early checks, then llm-foundry."""

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tahoe_distill.cli.defaults import merge, with_defaults
from tahoe_distill.cli.ending import OnFinish, one_paragraph, told_to_end
from tahoe_distill.cli.upstream import from_upstream, is_upstream
from tahoe_distill.errors import is_full_disk
from tahoe_distill.locks import held, holder_of
from tahoe_distill.settings import plain
from tahoe_distill.training.resume.preflight import SaveSettings, end_with_launcher, prepare_run, shield_helpers
from tahoe_distill.training.run_config import check_run


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments: ``config``, its ``overrides`` (``key=value``), ``check``, ``on_finish`` and ``traceback``.

    Raises:
        SystemExit: Where no config was given.
    """
    parser = argparse.ArgumentParser(
        prog="composer scripts/distill.py",
        description="Distil a Tahoe-x1 teacher into a student, as the YAML says.",
        epilog="example:\n  composer scripts/distill.py -f configs/70m.yaml max_duration=100ba",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", "--file", dest="config", help="the run's YAML")
    parser.add_argument("--check", action="store_true", help="resolve the configuration and refuse it, or end")
    parser.add_argument(
        "--on-finish",
        metavar="CMD",
        help="a shell command for the end of the run, however it ends; its state is in $TAHOE_DISTILL_STATE",
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the YAML's")
    args = parser.parse_intermixed_args(argv)
    if args.config is None and args.overrides and "=" not in args.overrides[0]:
        args.config = args.overrides.pop(0)
    if args.config is None:
        parser.error("no config given; expected -f CONFIG, such as -f configs/70m.yaml")
    return args


def check(path: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Find what can be found wrong without loading anything heavy; return the YAML's content.

    Raises:
        FileNotFoundError: When the config is missing.
        ValueError: When it cannot be read as a mapping, or an override is not ``key=value``.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the config {path} does not exist; expected a YAML such as configs/70m.yaml")
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


def read_run(path: str, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The YAML's content and the overrides left to apply; upstream's YAMLs are read as they stand.

    Raises:
        FileNotFoundError: When the config is missing.
        ValueError: When it cannot be read.
    """
    content = check(path, overrides)
    if not is_upstream(content):
        return content, list(overrides)
    run, notes = from_upstream(content, overrides)
    if notes and os.environ.get("RANK", "0") == "0":
        lines = "".join(f"\n  {note}" for note in notes)
        print(f"distill: note: {path} is upstream's; without a meaning here:{lines}", file=sys.stderr, flush=True)
    return run, []


def main(argv: Sequence[str] | None = None) -> None:
    """Run it; a problem ends in one paragraph on stderr and exit code 1, the traceback behind ``--traceback``.

    A run that had ended and is started again says so and ends well. One that was told to end (SIGTERM, SIGUSR1) leaves
    with exit code 75.
    """
    args = parse(argv)
    # Composer's FSDP1 insists on CUDA; FSDP2 also runs on CPU ranks.
    os.environ.setdefault("FSDP_VERSION", "2")
    with one_paragraph(args.traceback), OnFinish(args.on_finish) as finish:
        content, own = read_run(args.config, args.overrides)
        overrides = with_defaults(content, own)
        run = merge(content, overrides)
        finish.run = run
        check_run(run, args.config)
        show_log(run)
        end_with_launcher()
        if args.check:
            _check_whole(run)
            return
        shield_helpers()
        with told_to_end(), _folder_held(run), _nothing_unfinished(run):
            prepare_run(run)
            with _file_of(args.config, content) as path:
                _train(path, overrides, run)


@contextlib.contextmanager
def _file_of(path: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The YAML, or, where that is upstream's, a temporary one with what was made of it: llm-foundry reads a file."""
    with contextlib.ExitStack() as stack:
        if is_upstream(check(path, ())):
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8"))
            yaml.safe_dump(dict(content), file, sort_keys=False)
            file.flush()
            path = file.name
        yield path


def _check_whole(run: Mapping[str, Any]) -> None:
    with _quiet_imports():
        from tahoe_distill.training.whole_check import check_whole_run

    print(check_whole_run(plain(run)), flush=True)


def _train(path: str, overrides: list[str], run: Mapping[str, Any]) -> None:
    # Imported here: a config that cannot work is told at once, and not after seconds of imports.
    with _quiet_imports():
        from llmfoundry.command_utils.train import train_from_yaml

        from tahoe_distill.training.callbacks.run_report import end_lines
        from tahoe_distill.training.whole_check import check_names

    check_names(plain(run))
    started = time.monotonic()
    # An evaluation's last batch is often smaller than a microbatch; that is no news.
    warnings.filterwarnings("ignore", message="Cannot split (tensor|list) of length")
    trainer = train_from_yaml(path, overrides)
    if os.environ.get("RANK", "0") == "0":
        print(end_lines(trainer.state, plain(run), time.monotonic() - started), flush=True)


@contextlib.contextmanager
def _quiet_imports() -> Iterator[None]:
    """What libraries say of each other at import is nothing that a user of this one can mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _folder_held(run: Mapping[str, Any]) -> Iterator[None]:
    """Keep another run out of this one's save_folder; its first process does so for all."""
    settings = SaveSettings.from_config(run)
    if settings.folder is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    what = f"the run {settings.run_name or 'without a name'}"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(settings.folder, what))
        except OSError as error:
            found = holder_of(settings.folder)
            if not is_full_disk(error) or (found is not None and (found.is_alive or not found.is_near)):
                raise
            # What a kill left unfinished there may be the very thing that fills the disk.
            prepare_run(run)
            stack.enter_context(held(settings.folder, what))
        yield


@contextlib.contextmanager
def _nothing_unfinished(run: Mapping[str, Any]) -> Iterator[None]:
    """Where a run fails, take away the checkpoint that it was writing: on a full disk it would keep the space."""
    try:
        yield
    except Exception:
        # The failure is what counts, and is told.
        with contextlib.suppress(OSError, ValueError):
            prepare_run(run)
        raise


class _AboveTheBar(logging.StreamHandler):
    """Prints a message above the progress bar, where a terminal shows one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=self.stream)
        self.flush()


def show_log(run: Mapping[str, Any]) -> None:
    """Give this package's messages the level ``python_log_level``: llm-foundry gives it to its own alone.

    Raises:
        ValueError: For a level that there is not.
    """
    level = run.get("python_log_level", "debug")
    if level is not None:
        logging.getLogger("tahoe_distill").setLevel(str(level).upper())
    # The run's own report is shown at any level, and as it is.
    report = logging.getLogger("tahoe_distill.run")
    report.setLevel(logging.INFO)
    report.propagate = False
    if not report.handlers:
        handler = _AboveTheBar(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        report.addHandler(handler)
