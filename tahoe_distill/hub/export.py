"""Writing a model folder that `AutoModel.from_pretrained` loads with plain torch and transformers."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import tahoe_distill.models as models_package
from tahoe_distill.files import finished_folder
from tahoe_distill.hub.golden import GOLDEN_FILE, golden_text

CODE_FILES = ("configuration_tx1.py", "modeling_tx1.py", "processing_tx1.py")
_AUTO_MAP = {"AutoConfig": "configuration_tx1.Tx1Config", "AutoModel": "modeling_tx1.Tx1Model"}

# Runs in a fresh interpreter, away from this package's folder: the exported code has to stand by itself.
_PROBE = """
import sys
import numpy as np, torch
from transformers import AutoModel
torch.set_num_threads(1)
probe = np.load(sys.argv[2])
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval().float()
batch = {name: torch.from_numpy(probe[name]) for name in probe.files}
with torch.no_grad():
    np.save(sys.argv[3], model(**batch).pooler_output.numpy())
"""


class ExportMismatchError(RuntimeError):
    """A folder just written does not give the outputs of the model it was written from."""


def write_model_folder(model, processor, folder, extra_files=None, verify=False, overwrite=False):
    """Write a model as a self-contained Hugging Face folder.

    Args:
        model: A :class:`Tx1Model` with its real weights.
        processor: Its :class:`Tx1Processor`.
        folder: Where to; must not exist unless ``overwrite`` is on.
        extra_files: File name to text, such as a card or metrics.
        verify: Load the folder in a fresh process before it gets its name, and compare.
        overwrite: See :func:`finished_folder`.

    Raises:
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
        ExportMismatchError: When the verification gives other outputs.
    """
    with finished_folder(folder, overwrite) as temporary:
        model.save_pretrained(temporary, safe_serialization=True)
        processor.save_pretrained(temporary)
        source = Path(models_package.__file__).parent
        for name in CODE_FILES:
            shutil.copyfile(source / name, temporary / name)
        _set_auto_map(temporary / "config.json")
        for name, text in (extra_files or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        batch = probe_batch(model.config)
        (temporary / GOLDEN_FILE).write_text(golden_text(batch, embed_probe(model, batch)), encoding="utf-8")
        if verify:
            verify_model_folder(model, temporary)


def _set_auto_map(path):
    config = json.loads(path.read_text(encoding="utf-8"))
    config["auto_map"] = _AUTO_MAP
    config["architectures"] = ["Tx1Model"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def probe_batch(config, cells=4, genes=24, seed=0):
    """A small made-up batch for any model of this configuration, as NumPy arrays by argument name."""
    rng = np.random.default_rng(seed)
    genes = max(1, min(genes, config.vocab_size - 3, config.context_length - 2))
    special = [config.cls_token_id] + ([config.drug_token_id] if config.num_drugs else [])
    tokens = np.stack([rng.choice(np.arange(2, config.vocab_size), genes, replace=False) for _ in range(cells)])
    head = np.tile(special, (cells, 1))
    bins = rng.integers(1, config.num_bins, tokens.shape).astype(np.float32)
    batch = {
        "gene_ids": np.concatenate([head, tokens], axis=1).astype(np.int64),
        "expression_bins": np.concatenate([np.full(head.shape, config.pad_value, np.float32), bins], axis=1),
    }
    batch["gene_ids"][-1, -genes // 2 :] = config.pad_token_id
    batch["expression_bins"][-1, -genes // 2 :] = config.pad_value
    if config.num_drugs:
        batch["drug_ids"] = rng.integers(0, config.num_drugs, cells).astype(np.int64)
    return batch


def verify_model_folder(model, folder, tolerance=1e-5):
    """Load ``folder`` by ``AutoModel`` in a fresh process and compare its cell embeddings with ``model``'s.

    Args:
        model: What the folder was written from.
        folder: An exported folder.
        tolerance: Largest difference allowed, relative to the largest output.

    Returns:
        The largest difference found, relative to the largest output.

    Raises:
        ExportMismatchError: When the folder does not load, or its outputs differ.
    """
    batch = probe_batch(model.config)
    expected = embed_probe(model, batch)
    with tempfile.TemporaryDirectory() as scratch:
        probe, output = Path(scratch) / "probe.npz", Path(scratch) / "output.npy"
        np.savez(probe, **batch)
        environment = clean_environment(scratch)
        command = [sys.executable, "-c", _PROBE, str(Path(folder).resolve()), str(probe), str(output)]
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ExportMismatchError(f"{folder} does not load in a fresh process:\n{done.stderr[-2000:]}")
        found = np.load(output)
    scale = np.abs(expected).max()
    difference = float(np.abs(found - expected).max() / scale) if found.shape == expected.shape else float("inf")
    if not difference <= tolerance:
        raise ExportMismatchError(
            f"{folder} reloaded gives other cell embeddings: first values {found.ravel()[:3]} where the model has "
            f"{expected.ravel()[:3]} (difference {difference:.2e} of the largest value, allowed {tolerance:.0e})"
        )
    return difference


def embed_probe(model, batch):
    """Cell embeddings (C, e) that ``model`` gives for a :func:`probe_batch`, computed in float32, as NumPy."""
    if model.dtype != torch.float32:
        # The check is on the weights as stored; half precision would add rounding of its own.
        model = copy.deepcopy(model).float()
    training, device = model.training, model.device
    model.eval()
    with torch.no_grad():
        out = model(**{name: torch.from_numpy(array).to(device) for name, array in batch.items()})
    model.train(training)
    return out.pooler_output.float().cpu().numpy()


def clean_environment(scratch):
    """This process's environment without its distributed run, its GPUs or its cache of remote code."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped and name != "PYTHONPATH"}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**kept, **offline, "HF_MODULES_CACHE": str(Path(scratch) / "modules"), "CUDA_VISIBLE_DEVICES": ""}
