"""The Dockerfile as its stages: what each is made from, and its steps."""

import re

from tests.helpers import REPOSITORY


def stages():
    """By name, ``(base, [(instruction, rest)])`` in order; lines that are continued are one, comments are gone."""
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    found, name = {}, None
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = (base, [])
        elif instruction:
            found[name][1].append((instruction, rest))
    return found


def steps(name):
    """All steps of a stage, those of the stages it is made from first."""
    every = stages()
    base, own = every[name]
    return [*(steps(base) if base in every else []), *own]
