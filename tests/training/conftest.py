"""Small batches and shards for the training tests."""

import pytest
import torch


@pytest.fixture
def batch():
    """A batch as the ``tahoe_mds`` loader makes it: 4 cells, 9 positions, the last cell padded."""
    genes = torch.randint(3, 43, (4, 9))
    genes[:, 0] = 1
    bins = torch.randint(1, 51, (4, 9)).float()
    bins[:, 0] = -2.0
    genes[3, 6:], bins[3, 6:] = 0, -2.0
    masked = torch.zeros(4, 9, dtype=torch.bool)
    masked[:, 2:4] = True
    return {
        "gene": genes,
        "expr": bins.masked_fill(masked, -1.0),
        "expr_target": bins,
        "gen_mask": masked,
    }


@pytest.fixture(scope="session")
def runs(shards):
    """Starts whole runs by forking a process that has the imports behind it, which saves some 10 s each."""
    from tests.helpers.whole_runs import WarmRuns, remove_blocks

    warm = WarmRuns()
    yield warm
    warm.close()
    remove_blocks(shards.parent)
