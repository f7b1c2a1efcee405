"""Small batches and shards for the training tests."""

import pytest
import torch

STUDENT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def student_spec():
    """The smallest student worth the name."""
    return dict(STUDENT)


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
        "expr_raw": bins,
        "gen_mask": masked,
    }


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


@pytest.fixture(scope="session")
def runs(shards):
    """Starts whole runs by forking a process that has the imports behind it, which saves some 10 s each."""
    from tests.helpers.whole_runs import WarmRuns, remove_blocks

    warm = WarmRuns()
    yield warm
    warm.close()
    remove_blocks(shards.parent)
