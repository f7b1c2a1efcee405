"""One evaluation of a tiny teacher's noisy copies, shared by the tests of what comes out of it."""

import copy
import json

import pytest
import torch

from tahoe_distill.evaluation import Columns, evaluate, to_record, write_record
from tahoe_distill.evaluation.maps import add_maps
from tahoe_distill.teacher import load_teacher


def noisy(model, scale, seed):
    """A copy of a model with noise on every weight."""
    noise, changed = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    for parameter in changed.parameters():
        parameter.data += scale * torch.randn(parameter.shape, generator=noise)
    return changed


@pytest.fixture(scope="session")
def judged(small_teacher, small_cells):
    """An evaluation of two students, ``near`` and ``far``, by cells with hostile names in their labels."""
    teacher = load_teacher(small_teacher)
    students = {name: (noisy(teacher.model, s, 3), teacher.processor) for name, s in (("near", 0.02), ("far", 0.3))}
    cells = small_cells.copy()
    cells.obs["kind"] = cells.obs["kind"].replace("kind0", "</script><b>bold</b> & 'x'").astype(str)
    cells.obs["plate"] = ["p1", "p2", "p3"] * 20
    found = evaluate(
        students,
        (teacher.model, teacher.processor),
        cells,
        columns=Columns(label="kind", batch="plate"),
        only=("fidelity", "annotation", "clustering"),
    )
    add_maps(found)
    # As a measurement would add, which takes seconds.
    found.higher_is_better |= {"cost/cells_per_second": True, "cost/parameters": False}
    for number, name in enumerate(("teacher", "near", "far")):
        found.values[name] |= {"cost/cells_per_second": 100.0 * 4**number, "cost/parameters": 9000.0 / 3**number}
    return found


@pytest.fixture(scope="session")
def judged_folder(judged, tmp_path_factory):
    """The folder that evaluation left, without a report."""
    folder = tmp_path_factory.mktemp("judged")
    write_record(judged, to_record(judged), folder)
    return folder


@pytest.fixture
def record(judged_folder):
    """Its record, to be changed at will."""
    return json.loads((judged_folder / "metrics.json").read_text(encoding="utf-8"))
