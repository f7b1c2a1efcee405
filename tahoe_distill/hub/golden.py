"""Golden vectors: a few inputs of a model and its outputs to them, kept beside its weights."""

import json
from pathlib import Path

import numpy as np

from tahoe_distill.hub.records import read_record

GOLDEN_FILE = "golden.json"
TOLERANCE = 1e-5


class GoldenMismatchError(RuntimeError):
    """A model's outputs to the golden inputs are not the recorded ones."""


def golden_text(batch, outputs):
    """JSON text of inputs and outputs.

    Args:
        batch: Argument name to NumPy array.
        outputs: The model's ``pooler_output`` (C, e) for it.

    Raises:
        GoldenMismatchError: When an output is not a finite number.
    """
    if not np.isfinite(outputs).all():
        place = np.argwhere(~np.isfinite(outputs))[0]
        raise GoldenMismatchError(
            f"the model gives {outputs[tuple(place)]} for value {place[1]} of test cell {place[0]}, expected a "
            "finite number; its weights are damaged or its training diverged"
        )
    inputs = {name: {"dtype": str(array.dtype), "values": array.tolist()} for name, array in batch.items()}
    return json.dumps({"inputs": inputs, "pooler_output": outputs.astype(np.float32).tolist()}) + "\n"


def read_golden(folder):
    """Inputs by argument name and outputs, as NumPy arrays, of a folder with golden vectors.

    Raises:
        ValueError: When the file is absent or damaged.
    """
    record = read_record(folder, GOLDEN_FILE)
    try:
        batch = {name: np.array(part["values"], dtype=part["dtype"]) for name, part in record["inputs"].items()}
        return batch, np.array(record["pooler_output"], dtype=np.float32)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{Path(folder) / GOLDEN_FILE}: expected inputs and pooler_output, found damaged content ({error!r}); "
            "delete the file, it is made again at the push"
        ) from error


def require_equal(found, expected, what, tolerance=TOLERANCE):
    """Compare outputs with golden ones.

    Args:
        found: Outputs (C, e) to judge.
        expected: Golden outputs (C, e).
        what: Whose outputs they are, for the message.
        tolerance: Largest difference allowed, relative to the largest golden value.

    Returns:
        The largest difference, relative to the largest golden value.

    Raises:
        GoldenMismatchError: With both numbers, when they differ.
    """
    if found.shape != expected.shape:
        raise GoldenMismatchError(f"{what} outputs shape {found.shape}, the golden vectors have {expected.shape}")
    distance = np.abs(found - expected)
    # A NaN output has no distance, and counts as the largest.
    distance[np.isnan(distance)] = np.inf
    worst = np.unravel_index(distance.argmax(), distance.shape)
    difference = float(distance[worst] / max(np.abs(expected).max(), np.finfo(np.float32).tiny))
    if difference > tolerance:
        raise GoldenMismatchError(
            f"{what} gives other cell embeddings: value {worst[1]} of test cell {worst[0]} is {found[worst]:.7g}, "
            f"expected {expected[worst]:.7g} (difference {difference:.2e} of the largest value, allowed "
            f"{tolerance:.0e})"
        )
    return difference
