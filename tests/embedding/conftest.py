"""Fixtures of the embedding tests: the tiny student, its cells, and their vectors by the plain model."""

import pytest
import torch

from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture(scope="session")
def session_pair():
    return tiny_pair()


@pytest.fixture(scope="session")
def student_dir(session_pair, tmp_path_factory):
    return save_pair(session_pair, tmp_path_factory.mktemp("student"))


@pytest.fixture
def pair(session_pair):
    return session_pair


@pytest.fixture
def adata():
    return tiny_cells()


@pytest.fixture
def reference(session_pair, adata):
    """(40, 32) vectors by the plain model, one cell at a time."""
    model, processor = session_pair
    with torch.no_grad():
        rows = [model(**processor(adata[number])).pooler_output for number in range(adata.n_obs)]
    return torch.nn.functional.normalize(torch.cat(rows), dim=1).numpy()
