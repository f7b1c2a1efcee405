"""Fixtures of the whole suite: a small teacher, real cells, seeds."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tests.helpers import REPOSITORY

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_collection_modifyitems(items):
    """Skip what this machine cannot run, and say why."""
    data = shared_data()
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
        if item.get_closest_marker("shared_data") and data is None:
            item.add_marker(pytest.mark.skip(reason="needs the real cells named by TAHOE_DISTILL_DATA"))


def shared_data():
    """Folder of real cells: ``TAHOE_DISTILL_DATA``, or ``shared/data`` beside the repository; ``None`` without."""
    folder = Path(os.environ.get("TAHOE_DISTILL_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "pbmc1k.h5ad").is_file() else None


@pytest.fixture(scope="session")
def real_data():
    """Folder of real cells and the real vocabulary, for tests that are marked ``shared_data``."""
    return shared_data() or pytest.skip("needs the real cells named by TAHOE_DISTILL_DATA")


@pytest.fixture(scope="session")
def upstream_package():
    """Upstream's package, the oracle, imported without leaving a trace in streaming.

    Importing it replaces the S3 downloader of the whole process; the other tests need streaming's own.
    """
    download = pytest.importorskip("streaming.base.storage.download")
    before = dict(vars(download.S3Downloader))
    pytest.importorskip("tahoe_x1", reason="the oracle is the wheel tahoe-x1==1.0.0, installed with --no-deps")
    import tahoe_x1.data
    import tahoe_x1.model.model

    for name in set(vars(download.S3Downloader)) - set(before):
        delattr(download.S3Downloader, name)
    for name, value in before.items():
        if vars(download.S3Downloader)[name] is not value:
            setattr(download.S3Downloader, name, value)
    return tahoe_x1


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for each test, alone or in the suite."""
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_vocab():
    """Three special tokens and 40 made-up human Ensembl ids."""
    genes = [f"ENSG{number:011d}" for number in range(1, 41)]
    return GeneVocab({token: number for number, token in enumerate(["<pad>", "<cls>", "<eoc>", *genes])})


@pytest.fixture(scope="session")
def small_teacher(tmp_path_factory, small_vocab):
    """Folder of a tiny random Tahoe-x1 in the release format, both heads included."""
    from tahoe_distill.teacher.release import write_release

    torch.manual_seed(1)
    config = Tx1Config(
        vocab_size=len(small_vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, context_length=32
    )
    model = Tx1Model(config).eval()
    folder = tmp_path_factory.mktemp("teacher") / "release"
    write_release(model, Tx1Processor(small_vocab, max_length=32), folder)
    return folder


@pytest.fixture(scope="session")
def small_cells(small_vocab):
    """AnnData of 60 made-up cells of three kinds over the small vocabulary, labels in ``obs["kind"]``."""
    import anndata
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 60)
    rates = rng.gamma(0.5, 4, (3, 40))
    counts = rng.poisson(rates[kinds]) + (rng.random((60, 40)) < 0.1)
    adata = anndata.AnnData(csr_matrix(counts.astype(np.float32)))
    adata.var_names = [token for token in small_vocab.tokens if token.startswith("ENSG")]
    adata.obs["kind"] = [f"kind{kind}" for kind in kinds]
    return adata
