"""Every command in the documents is one that there is, and says what it needs beyond this machine.

Blocks of shell are parsed by the real parsers and not run: `tests/cli/` and `tests/training/` run each command. A block
with a command that needs a GPU, a network or other machines has a comment that says so: `# needs …`.
"""

import re
import shlex

import pytest
import yaml
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS

from tahoe_distill.cli import main as cli
from tahoe_distill.cli.defaults import merge
from tahoe_distill.cli.distill import parse
from tests.helpers import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
SHELL = ("", "bash", "console", "sh")
RUN, MODULE, COMMAND = "scripts/distill.py", "tahoe_distill.cli.main", "tahoe-distill"
# What is not on a laptop: releases and shards of the hub or a bucket, runs that only a GPU can do, other machines.
ELSEWHERE = re.compile(
    r"tahoebio/|s3://|scripts/distill\.py .*configs/(?:70m|1b|3b|recipes)|(?:fetch|cache) -f "
    r"|^tahoe-distill push |--ray|--gpus",
    flags=re.MULTILINE,
)


def blocks():
    """Text of each block with a command of ours, and the document that it stands in."""
    for path in DOCUMENTS:
        for language, block in BLOCK.findall(path.read_text(encoding="utf-8")):
            # One command a line.
            text = re.sub(r"^ +", "", re.sub(r"\\\n", " ", block).replace(" && ", "\n"), flags=re.MULTILINE)
            if language in SHELL and any(map(ours, text.splitlines())):
                yield pytest.param(text, id=f"{path.stem}-{text.splitlines()[0][:40]}")


def words(line):
    """What the shell makes of a line; without comments, and without the place for settings."""
    try:
        return shlex.split(line.replace("[key=value …]", ""), comments=True)
    except ValueError:  # a quotation over several lines
        return []


def ours(line):
    """The entry point of this project that a line calls, and its arguments; ``None`` where it calls none."""
    found = words(line)
    for name in (RUN, MODULE):
        if name in found:
            return name, found[found.index(name) + 1 :]
    return (COMMAND, found[1:]) if found[:1] == [COMMAND] else None


def check_run(arguments):
    """The configuration is there, unless the reader or a sweep writes it, and its settings are llm-foundry's."""
    args = parse(arguments)
    assert {override.partition("=")[0].partition(".")[0] for override in args.overrides} <= TRAIN_CONFIG_KEYS
    if args.config.startswith(("test_run", "sweeps/")):
        return
    run = merge(yaml.safe_load((REPOSITORY / args.config).read_text(encoding="utf-8")), args.overrides)
    assert run.model.name == "tahoe_distill"


BLOCKS = list(blocks())


@pytest.mark.parametrize("text", BLOCKS)
def test_commands_are_what_the_parsers_take(text, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    for line in text.splitlines():
        name, arguments = ours(line) or (None, [])
        if name is None or "…" in arguments:
            continue
        try:
            if name == RUN:
                check_run(arguments)
            else:
                cli._parse(cli.build_parser(), arguments)
        except SystemExit:
            pytest.fail(f"{line}\n{capsys.readouterr().err}")


@pytest.mark.parametrize("text", BLOCKS)
def test_what_is_not_on_a_laptop_is_said(text):
    assert not ELSEWHERE.search(text) or "# needs " in text


def test_there_are_commands():
    assert len(BLOCKS) >= 25
