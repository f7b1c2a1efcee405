"""Fixtures of the whole suite: a small teacher, real cells, seeds."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Processor
from tests.helpers import REPOSITORY
from tests.helpers.tiny_student import randomised

os.environ.setdefault("HF_HUB_OFFLINE", "1")
STUDENT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


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
    from tahoe_distill.teacher.write_release import write_release

    torch.manual_seed(1)
    config = Tx1Config(
        vocab_size=len(small_vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, context_length=32
    )
    model = randomised(config, 0.1)
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


@pytest.fixture
def student_spec():
    """The smallest student worth the name."""
    return dict(STUDENT)


@pytest.fixture(scope="session")
def shards(tmp_path_factory, small_cells, small_vocab):
    """Folder of prepared shards of the small cells."""
    from tahoe_distill.data import prepare_shards

    folder = tmp_path_factory.mktemp("shards")
    small_cells.write_h5ad(folder / "cells.h5ad")
    prepare_shards([folder / "cells.h5ad"], folder / "mds", small_vocab, val_fraction=0.2)
    return folder / "mds"


@pytest.fixture
def run_config(tmp_path, shards, small_teacher):
    """A whole run's YAML as a dict: 6 batches of 8 cells, exporting to ``tmp_path/hf``."""
    loader = {
        "name": "tahoe_mds",
        "dataset": {"local": str(shards / "train"), "shuffle": True, "shuffle_seed": 1, "num_canonical_nodes": 1},
        "collator": {"do_mlm": False, "max_length": 32},
        "drop_last": True,
        "num_workers": 0,
    }
    evaluation = {**loader, "dataset": {**loader["dataset"], "local": str(shards / "val"), "shuffle": False}}
    return {
        "run_name": "test",
        "seed": 1,
        "max_seq_len": 32,
        "tokenizer": {},
        "model": {
            "name": "tahoe_distill",
            "teacher": str(small_teacher),
            "student": dict(STUDENT),
            "objectives": {"cosine": 1.0, "mse": 0.5},
        },
        "train_loader": loader,
        "eval_loader": {**evaluation, "drop_last": False},
        "global_train_batch_size": 8,
        "device_eval_batch_size": 8,
        "device_train_microbatch_size": 8,
        "accumulate_train_batch_on_tokens": False,
        "max_duration": "6ba",
        "eval_interval": "6ba",
        "precision": "fp32",
        "optimizer": {"name": "decoupled_adamw", "lr": 1.0e-3, "weight_decay": 0.0},
        "scheduler": {"name": "constant_with_warmup", "t_warmup": "0ba"},
        "callbacks": {"hf_student": {"folder": str(tmp_path / "hf")}, "distillation": {}},
        "progress_bar": False,
        "log_to_console": False,
        "python_log_level": "warning",
    }
