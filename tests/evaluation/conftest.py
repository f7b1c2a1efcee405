"""A bench of cells with labels, batches and conditions, and vectors to judge; one evaluation to write and draw."""

import copy
import json

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from tahoe_distill.evaluation import Bench, Columns, Subject, evaluate, to_record, write_record
from tahoe_distill.evaluation.maps import add_maps
from tahoe_distill.teacher import load_teacher

KINDS = np.array(["a", "b", "c"])


def make_cells(count=90, seed=0):
    """Counts of three kinds of cells over 30 genes; donors, batches and a drug in ``obs``."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 3
    rates = np.random.default_rng(1).gamma(0.5, 4, (3, 30))
    obs = pd.DataFrame(
        {
            "kind": KINDS[kinds],
            "batch": np.array(["x", "y"])[np.arange(count) % 2],
            "donor": np.array([f"d{n}" for n in range(6)])[np.arange(count) % 6],
            "drug": np.array(["DMSO", "one", "two", "three"])[np.arange(count) % 4],
        },
        index=[f"cell{number}" for number in range(count)],
    )
    adata = anndata.AnnData(rng.poisson(rates[kinds]).astype(np.float32), obs=obs)
    adata.var_names = [f"ENSG{number:011d}" for number in range(1, 31)]
    return adata


def vectors_of(cells, seed=0, noise=0.3, width=8):
    """(n, width) vectors around a centre for each kind."""
    centers = np.random.default_rng(2).normal(size=(3, width))
    rng = np.random.default_rng(seed)
    kinds = np.searchsorted(KINDS, cells.obs["kind"].to_numpy(dtype=str))
    return (centers[kinds] + noise * rng.normal(size=(len(kinds), width))).astype(np.float32)


@pytest.fixture
def make_bench():
    """A bench of vectors alone: the teacher's, and those of a subject under test."""

    def make(columns=None, query=None, reference=None, teacher=None, student=None, **subject):
        query = make_cells() if query is None else query
        bench = Bench(query, reference, columns or Columns(label="kind"))
        known = None if reference is None else vectors_of(reference)
        teacher = vectors_of(query) if teacher is None else teacher
        bench.subjects["teacher"] = Subject("teacher", "teacher", teacher, known, shared_space=True)
        vectors = teacher.copy() if student is None else student
        settings = {"shared_space": True, "reference": known, **subject}
        bench.subjects["student"] = Subject("student", "student", vectors, **settings)
        return bench

    return make


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
