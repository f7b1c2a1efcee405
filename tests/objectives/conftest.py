"""Two tiny models' outputs to one batch."""

import pytest
import torch

from tahoe_distill.objectives import Outputs, Shapes


@pytest.fixture
def make_outputs():
    """Outputs with every position seen unless told otherwise."""

    def make(cells=1, positions=1, /, **fields):
        fields.setdefault("gene_ids", torch.arange(1, positions + 1).expand(cells, positions))
        fields.setdefault("seen", torch.ones(cells, positions, dtype=torch.bool))
        return Outputs(**fields)

    return make


@pytest.fixture
def make_shapes():
    """Sizes of two models of width 2, with changes."""

    def make(**changes):
        sizes = {
            "student_width": 2,
            "student_embedding": 2,
            "student_layers": 2,
            "teacher_width": 2,
            "teacher_embedding": 2,
            "teacher_layers": 4,
        }
        return Shapes(**{**sizes, **changes})

    return make


@pytest.fixture
def shapes(make_shapes):
    return make_shapes()
