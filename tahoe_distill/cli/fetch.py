"""Fetch a teacher from the Hugging Face hub or S3 beforehand, for machines without a network.

A run fetches its teacher by itself; this does the same without starting it, and says what to put into the YAML. What is
there already is not fetched again.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tahoe_distill.cli.defaults import merge
from tahoe_distill.cli.distill import read_run
from tahoe_distill.settings import plain

EXAMPLE = """tahoe-distill fetch -f configs/70m.yaml
  tahoe-distill fetch --source tahoebio/Tahoe-x1 --size 70m --cache-dir /shared/teachers
  tahoe-distill fetch --source s3://bucket/checkpoints/70m"""

_KEYS = ("source", "size", "revision", "cache_dir")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("-f", "--file", dest="config", metavar="CONFIG", help="a run's YAML, whose teacher is fetched")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the YAML's")
    parser.add_argument("--source", help="hub repository, or s3://bucket/path of a folder or a Composer .pt")
    parser.add_argument("--size", help="size of the release: 70m, 1b or 3b")
    parser.add_argument("--revision", help="branch, tag or commit of a hub repository")
    parser.add_argument("--cache-dir", help="where downloads are kept (default: the cache of the Hugging Face hub)")


def run(args: argparse.Namespace) -> None:
    """Fetch the teacher, and say where it is and how a run names it."""
    given = {key: getattr(args, key) for key in _KEYS if getattr(args, key) is not None}
    where = {**_of_config(args), **given}
    if not where.get("source"):
        raise ValueError("no teacher to fetch; give --source, such as tahoebio/Tahoe-x1, or -f CONFIG that names one")
    from tahoe_distill.teacher.sources import fetch_source

    print(told(where, fetch_source(**where)))


def told(where: Mapping[str, Any], place: Path) -> str:
    """A paragraph for people: where the teacher is, and what to put into the YAML.

    Args:
        where: Arguments of :func:`fetch_source`.
        place: What it returned.
    """
    from tahoe_distill.teacher.download import commit_of

    commit = commit_of(place)
    # With its commit a repository is found in the cache, whatever its branches do; and a card can still name it.
    spec = {**where, "revision": commit} if commit else where
    yaml = ", ".join(f"{key}: {value}" for key, value in spec.items())
    offline = "\nwhere there is no network, set HF_HUB_OFFLINE=1 and keep the same cache" if commit else ""
    return f"{where['source']} is in {place}\nput into the YAML:\n  model:\n    teacher: {{{yaml}}}{offline}"


def _of_config(args: argparse.Namespace) -> dict[str, Any]:
    if args.config is None:
        if args.overrides:
            raise ValueError(f"{args.overrides[0]!r} replaces a setting of a YAML, and none was given; add -f CONFIG")
        return {}
    section = plain((merge(*read_run(args.config, args.overrides)).get("model") or {}).get("teacher"))
    options = {"source": section} if isinstance(section, str) else section or {}
    return {key: options[key] for key in _KEYS if options.get(key) is not None}
