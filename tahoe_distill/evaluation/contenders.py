"""Students that can be compared: the same cells were judged against the same teacher."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.record import read_cells, read_record
from tahoe_distill.evaluation.subjects import STUDENT, TEACHER
from tahoe_distill.hub.folder import EVALUATION_FILES
from tahoe_distill.metrics.tables import names_of

# Two runs of one teacher differ by rounding, two teachers by far more.
_SAME_TEACHER = 0.02


@dataclass(frozen=True)
class Contender:
    """A student of an evaluation.

    Args:
        name: To be shown.
        subject: As the evaluation calls it.
        record: The evaluation's record.
        cells: The evaluation's table of cells.
        source: Where the evaluation was read from.
    """

    name: str
    subject: str
    record: Mapping[str, Any] = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    source: str = "this evaluation"

    @property
    def values(self) -> dict[str, float]:
        """Its numbers."""
        return self.record["subjects"][self.subject]["values"]

    def ends(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of one of its numbers, where there is one."""
        ends = self.record["subjects"][self.subject]["intervals"].get(metric)
        return None if ends is None else (ends[0], ends[1])


def read_contenders(sources: Sequence[str | os.PathLike[str]]) -> list[Contender]:
    """The students of evaluations that were written.

    Args:
        sources: Folders of evaluations, or their ``metrics.json``.

    Raises:
        FileNotFoundError: When one is no evaluation, or its table of cells is gone.
        ValueError: When two are of other cells or of another teacher, or one holds no student.
    """
    found: list[Contender] = []
    for source in map(Path, sources):
        record, folder = read_record(source), source if source.is_dir() else source.parent
        cells, students = read_cells(folder), names_of(record, STUDENT)
        if not students:
            raise ValueError(f"{source} holds no student to compare")
        for student in students:
            name = folder.resolve().name if len(students) == 1 else f"{folder.resolve().name}/{student}"
            found.append(Contender(name, student, record, cells, str(source)))
    return check_comparable(_told_apart(found))


def read_published(folder: str | os.PathLike[str]) -> Contender | None:
    """The student of a model folder, by the evaluation that it carries; ``None`` where it carries none.

    Args:
        folder: A model folder, with what :func:`tahoe_distill.hub.push.push_folder` puts beside the model.

    Raises:
        ValueError: When it is no evaluation of one student.
    """
    record, cells = (Path(folder) / name for name in EVALUATION_FILES)
    return read_one(record, cells) if record.is_file() and cells.is_file() else None


def read_one(record: Path, cells: Path) -> Contender:
    """The only student of an evaluation.

    Args:
        record: Its ``metrics.json``, under whatever name.
        cells: Its ``cells.csv.gz``, under whatever name.

    Raises:
        ValueError: When it judged no student or several.
    """
    found = contenders_of(read_record(record), read_cells(cells))
    if len(found) != 1:
        raise ValueError(f"{record} judges {len(found)} students; expected the model it is about: evaluate it alone")
    return found[0]


def contenders_of(record: Mapping[str, Any], cells: pd.DataFrame) -> list[Contender]:
    """The students of one evaluation.

    Args:
        record: Its record.
        cells: Its table of cells.
    """
    return [Contender(name, name, record, cells) for name in names_of(record, STUDENT)]


def _told_apart(contenders: list[Contender]) -> list[Contender]:
    """Names that differ: by more of the path where the ends of two are the same."""
    names = [contender.name for contender in contenders]
    return [
        Contender(f"{one.source}:{one.subject}", one.subject, one.record, one.cells, one.source)
        if names.count(one.name) > 1
        else one
        for one in contenders
    ]


def check_comparable(contenders: list[Contender]) -> list[Contender]:
    """Refuse students that were not judged by the same cells against the same teacher.

    Raises:
        ValueError: With what differs.
    """
    first = contenders[0]
    for other in contenders[1:]:
        if reason := why_not_comparable(first, other):
            raise ValueError(
                f"{other.source} cannot be compared with {first.source}: {reason}; evaluate both with the same "
                "--adata, --reference, --num-samples, --seed and --teacher, or give the models and these to compare"
            )
    return contenders


def why_not_comparable(first: Contender, other: Contender) -> str | None:
    """What differs between two evaluations that must be the same; ``None`` where nothing does."""
    mine, theirs = (contender.record["cells"] for contender in (first, other))
    if mine["names"] != theirs["names"]:
        return f"it judged other cells ({theirs['query']:,}, not these {mine['query']:,})"
    for kind, what in (("adata", "cells"), ("reference", "reference")):
        hashes = [cells["files"].get(kind, {}).get("sha256") for cells in (mine, theirs)]
        if all(hashes) and hashes[0] != hashes[1]:
            return f"its file of the {what} has the same names and another content"
    if mine["reference"] != theirs["reference"]:
        counts = ["none" if cells["reference"] is None else f"{cells['reference']:,}" for cells in (theirs, mine)]
        return f"it learned from {counts[0]} reference cells, not from {counts[1]}"
    sketches = [np.array(contender.record["subjects"][TEACHER].get("sketch", ())) for contender in (first, other)]
    if sketches[0].shape != sketches[1].shape or np.abs(sketches[0] - sketches[1]).max(initial=0) > _SAME_TEACHER:
        names = [contender.record["subjects"][TEACHER]["source"] for contender in (other, first)]
        return f"its teacher ({names[0]}) gives these cells other vectors than {names[1]} does"
    return None
