"""Writing a model folder that `AutoModel.from_pretrained` loads with plain torch and transformers, and the proof.

The proof are golden vectors: a few inputs of the model and its outputs to them, kept beside its weights.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import tahoe_distill.models as models_package
from tahoe_distill.files import finished_folder, replace_text
from tahoe_distill.hub.folder import CODE_FILES, CONFIG_FILE, GOLDEN_FILE, is_classifier, read_record, to_json
from tahoe_distill.models import Tx1Config, Tx1ForCellClassification, Tx1Model, Tx1Processor

_AUTO_MAP = {"AutoConfig": "configuration_tx1.Tx1Config", "AutoModel": "modeling_tx1.Tx1Model"}
# Of a folder with a classifier's head too: without one, transformers would make up the weights of a head.
_AUTO_CLASSIFIER = {"AutoModelForSequenceClassification": "classification_tx1.Tx1ForCellClassification"}
Exportable = Tx1Model | Tx1ForCellClassification
TOLERANCE = 1e-5

# Runs in a fresh interpreter, away from this package's folder: the exported code has to stand by itself. It loads all
# that a user loads, and takes the way from counts too.
_READER = """
import signal, sys
# What a scheduler tells all processes of a run is for the run to hear.
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
import anndata, numpy as np, torch
from transformers import AutoModel, AutoProcessor
torch.set_num_threads(1)
folder, inputs, counts, output, classifies = sys.argv[1:]
inputs, counts = np.load(inputs), np.load(counts)
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval().float()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
adata = anndata.AnnData(counts["counts"])
adata.var_names = counts["genes"].astype(str)
batch = {name: torch.from_numpy(inputs[name]) for name in inputs.files}
with torch.no_grad():
    answers = {"golden": model(**batch).pooler_output, "cells": model(**processor(adata)).pooler_output}
if classifies == "yes":
    from transformers import AutoModelForSequenceClassification
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval().float()
    with torch.no_grad():
        answers["logits"] = model(**batch).logits
np.savez(output, **{name: answer.numpy() for name, answer in answers.items()})
"""
# Genes of the two made-up cells that go the whole way.
_CELL_GENES = 40


class GoldenMismatchError(RuntimeError):
    """A model folder does not load, or its outputs to the golden inputs are not those of the model it was made of."""


class Golden(NamedTuple):
    """Golden vectors.

    Attributes:
        batch: Inputs by argument name.
        outputs: (C, e) float32 cell embeddings of the model.
    """

    batch: dict[str, NDArray]
    outputs: NDArray[np.float32]


def write_model_folder(
    model: Exportable,
    processor: Tx1Processor,
    folder: str | os.PathLike[str],
    *,
    extra_files: Mapping[str, str] | None = None,
    verify: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model as a self-contained Hugging Face folder.

    Args:
        model: A :class:`Tx1Model` with its real weights, or a :class:`Tx1ForCellClassification`.
        processor: Its :class:`Tx1Processor`.
        folder: Where to; must not exist unless ``overwrite`` is on.
        extra_files: File name to text, such as a card or metrics.
        verify: Load the folder in a fresh process before it gets its name, and compare.
        overwrite: See :func:`finished_folder`.

    Raises:
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
        GoldenMismatchError: When the model gives something else than numbers, or the verification other outputs.
    """
    with finished_folder(folder, overwrite) as temporary:
        model.save_pretrained(temporary, safe_serialization=True)
        processor.save_pretrained(temporary)
        source = Path(models_package.__file__).parent
        for name in CODE_FILES:
            shutil.copyfile(source / name, temporary / name)
        config = _with_classes(model, read_record(temporary, CONFIG_FILE))
        golden = golden_vectors(_without_head(model))
        files = {CONFIG_FILE: to_json(config), **(extra_files or {}), GOLDEN_FILE: golden_text(golden)}
        for name, text in files.items():
            replace_text(temporary / name, text)
        if verify:
            verify_model_folder(temporary, golden, pair=(model, processor), what=f"{folder} reloaded")


def verify_model_folder(
    folder: str | os.PathLike[str],
    golden: Golden | None = None,
    *,
    pair: tuple[Exportable, Tx1Processor] | None = None,
    what: str = "",
) -> float:
    """Load a folder by the Auto classes in a fresh process, with the code in it, and compare its outputs.

    Two made-up cells go through its processor as well, so that a vocabulary that was cut short is noticed. A
    classifier's logits of the golden inputs are compared too.

    Args:
        folder: An exported folder.
        golden: What it should give; its own golden vectors when left out.
        pair: The model and processor that it was written from; loaded from the folder when left out.
        what: What to call the folder in a message; its path when left out.

    Returns:
        The largest difference, relative to the largest golden value.

    Raises:
        GoldenMismatchError: When the folder does not load, or its outputs differ.
        ValueError: When it has no golden vectors and none are given.
    """
    golden, what = golden or read_golden(folder), what or str(folder)
    with tempfile.TemporaryDirectory() as scratch:
        inputs, counts, output = (Path(scratch) / f"{name}.npz" for name in ("inputs", "counts", "output"))
        np.savez(inputs, **golden.batch)
        model, processor = pair or _load(folder, what)
        expected = _made_up_cells(_without_head(model), processor, counts)
        classifies = "yes" if isinstance(model, Tx1ForCellClassification) else "no"
        arguments = (Path(folder).resolve(), inputs, counts, output, classifies)
        command = [sys.executable, "-c", _READER, *map(str, arguments)]
        environment = _clean_environment(scratch)
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GoldenMismatchError(f"{what} does not load in a fresh process:\n{done.stderr[-2000:]}")
        with np.load(output) as found:
            require_equal(found["cells"], expected, f"{what}, from counts through its processor,")
            if isinstance(model, Tx1ForCellClassification):
                require_equal(found["logits"], _logits(model, golden), f"{what}, as a classifier,", outputs="logits")
            return require_equal(found["golden"], golden.outputs, what)


def _without_head(model: Exportable) -> Tx1Model:
    return model.tx1 if isinstance(model, Tx1ForCellClassification) else model


def _with_classes(model: Exportable, config: Mapping[str, Any]) -> dict[str, Any]:
    """A written configuration, and which classes load the folder."""
    known = dict(config)
    if isinstance(model, Tx1Model):
        # A student that goes on from a classifier has its configuration, and not its head.
        for name in ("id2label", "label2id"):
            known.pop(name, None)
    auto_map = _AUTO_MAP if isinstance(model, Tx1Model) else {**_AUTO_MAP, **_AUTO_CLASSIFIER}
    return {**known, "auto_map": auto_map, "architectures": [type(model).__name__]}


def _logits(model: Tx1ForCellClassification, golden: Golden) -> NDArray[np.float32]:
    """(C, k) the classifier's logits of golden vectors, by the weights as they are stored."""
    with torch.no_grad():
        return copy.deepcopy(model).cpu().float().logits(torch.from_numpy(golden.outputs)).numpy()


def _load(folder: str | os.PathLike[str], what: str) -> tuple[Exportable, Tx1Processor]:
    kind = Tx1ForCellClassification if is_classifier(read_record(folder, CONFIG_FILE)) else Tx1Model
    try:
        return kind.from_pretrained(folder).eval(), Tx1Processor.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise GoldenMismatchError(f"{what} does not load: {error}") from error


def _made_up_cells(model: Tx1Model, processor: Tx1Processor, path: Path) -> NDArray[np.float32]:
    """Write two cells' counts for the fresh process; return what the model gives for them, (2, e)."""
    tokens = processor.vocab.tokens
    # The last ones: they are the first to be missing from a vocabulary that was cut short.
    genes = sorted((token for token in tokens if not token.startswith("<")), key=tokens.__getitem__)[-_CELL_GENES:]
    counts = np.random.default_rng(1).poisson(2.0, (2, len(genes))).astype(np.float32)
    # None of them may be empty.
    counts[:, 0] += 1
    np.savez(path, counts=counts, genes=np.array(genes))
    batch = processor.pad(processor.encode_rows(counts, processor.vocab.gene_tokens(genes)))
    return golden_vectors(model, {name: tensor.numpy() for name, tensor in batch.items()}).outputs


def require_equal(found: NDArray, expected: NDArray, what: str, *, outputs: str = "cell embeddings") -> float:
    """Compare outputs with golden ones, to 1e-5 of the largest golden value.

    Args:
        found: Outputs (C, e) to judge.
        expected: Golden outputs (C, e).
        what: Whose outputs they are, for the message.
        outputs: What they are, for the message.

    Returns:
        The largest difference, relative to the largest golden value.

    Raises:
        GoldenMismatchError: With both numbers, when they differ.
    """
    if found.shape != expected.shape:
        raise GoldenMismatchError(f"{what} outputs shape {found.shape}, the golden vectors have {expected.shape}")
    distance = np.abs(found - expected)
    worst = np.unravel_index(distance.argmax(), distance.shape)
    difference = float(distance[worst] / max(np.abs(expected).max(), np.finfo(np.float32).tiny))
    # This way round, NaN is a difference.
    if not difference <= TOLERANCE:
        raise GoldenMismatchError(
            f"{what} gives other {outputs}: value {worst[1]} of test cell {worst[0]} is {found[worst]:.7g}, "
            f"expected {expected[worst]:.7g} (difference {difference:.2e} of the largest value, allowed "
            f"{TOLERANCE:.0e})"
        )
    return difference


def golden_vectors(model: Tx1Model, batch: Mapping[str, NDArray] | None = None) -> Golden:
    """What a model gives for a batch, made up when left out, computed in float32."""
    batch = _made_up_batch(model.config) if batch is None else dict(batch)
    if model.dtype != torch.float32:
        # The check is on the weights as stored; half precision would add rounding of its own.
        model = copy.deepcopy(model).float()
    training, device = model.training, model.device
    model.eval()
    with torch.no_grad():
        out = model(**{name: torch.from_numpy(array).to(device) for name, array in batch.items()})
    model.train(training)
    return Golden(batch, out.pooler_output.float().cpu().numpy())


def golden_text(golden: Golden) -> str:
    """JSON text of golden vectors.

    Raises:
        GoldenMismatchError: When an output is not a finite number.
    """
    batch, outputs = golden
    if not np.isfinite(outputs).all():
        place = np.argwhere(~np.isfinite(outputs))[0]
        raise GoldenMismatchError(
            f"the model gives {outputs[tuple(place)]} for value {place[1]} of test cell {place[0]}, expected a "
            "finite number; its weights are damaged or its training diverged"
        )
    inputs = {name: {"dtype": str(array.dtype), "values": array.tolist()} for name, array in batch.items()}
    return json.dumps({"inputs": inputs, "pooler_output": outputs.astype(np.float32).tolist()}) + "\n"


def read_golden(folder: str | os.PathLike[str]) -> Golden:
    """The golden vectors of a folder.

    Raises:
        ValueError: When the file is absent or damaged.
    """
    record = read_record(folder, GOLDEN_FILE)
    try:
        batch = {name: np.array(part["values"], dtype=part["dtype"]) for name, part in record["inputs"].items()}
        return Golden(batch, np.array(record["pooler_output"], dtype=np.float32))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{Path(folder) / GOLDEN_FILE}: expected inputs and pooler_output, found damaged content ({error!r}); "
            "delete the file, it is made again at the push"
        ) from error


def _made_up_batch(config: Tx1Config, cells: int = 4, genes: int = 24) -> dict[str, NDArray]:
    """A small batch for any model of this configuration, the same each time; the last cell is padded."""
    rng = np.random.default_rng(0)
    genes = max(1, min(genes, config.vocab_size - 3, config.context_length - 2))
    special = np.array([config.cls_token_id] + ([config.drug_token_id] if config.num_drugs else []), dtype=np.int64)
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


def _clean_environment(scratch: str) -> dict[str, str]:
    """This process's environment without its distributed run, its GPUs, its cache of remote code, or the hub."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped and name != "PYTHONPATH"}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**kept, **offline, "HF_MODULES_CACHE": str(Path(scratch) / "modules"), "CUDA_VISIBLE_DEVICES": ""}
