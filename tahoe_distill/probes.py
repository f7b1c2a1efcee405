"""Probes: linear classifiers on vectors of cells, what they are called to say, and the files that keep them.

Shapes: n cells, e width of a vector, k labels.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

PROBE_FILE = "probe.json"
PROBE_WEIGHTS = "probe.safetensors"
_VERSION = 1
# Beside the classifier itself, what its record may say of it.
_OWN = ("version", "id2label", "temperature", "fingerprint")


@dataclass(frozen=True)
class Probe:
    """A linear classifier on vectors of length 1.

    Args:
        coef: (k, e) float32.
        intercept: (k,) float32.
        labels: Its k labels, in the order of the rows.
        temperature: What logits are divided by, so that their softmax are calibrated probabilities.
        fingerprint: SHA-256, in hexadecimal, of the tensors and the vocabulary of the model whose vectors it reads.
        record: What it was learned from and how good it is, as JSON can hold it.

    Raises:
        ValueError: When the parts do not fit each other.
    """

    coef: np.ndarray = field(repr=False)
    intercept: np.ndarray = field(repr=False)
    labels: tuple[str, ...]
    temperature: float
    fingerprint: str
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        known = len(self.labels)
        if known < 2 or len(set(self.labels)) < known:
            raise ValueError(f"a probe needs two different labels or more, found {', '.join(self.labels) or 'none'}")
        if self.coef.ndim != 2 or len(self.coef) != known or self.intercept.shape != (known,):
            raise ValueError(
                f"a probe of {known} labels needs coef ({known}, e) and intercept ({known},), found {self.coef.shape} "
                f"and {self.intercept.shape}"
            )
        if not (np.isfinite(self.coef).all() and np.isfinite(self.intercept).all() and self.temperature > 0):
            raise ValueError("a probe needs finite weights and a temperature above 0")

    @property
    def width(self) -> int:
        """e, the width of the vectors that it reads."""
        return self.coef.shape[1]

    def calibrated(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (k, e) and bias (k,) of calibrated logits: the temperature divided into them."""
        scale = np.float32(self.temperature)
        return (self.coef / scale).astype(np.float32), (self.intercept / scale).astype(np.float32)

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Calibrated logits (n, k) float32 of vectors (n, e) of any length.

        Raises:
            ValueError: When the vectors have another width.
        """
        if vectors.shape[1] != self.width:
            raise ValueError(
                f"the probe reads vectors of {self.width} coordinates, found {vectors.shape[1]}; it belongs to another "
                "model, or the vectors were cut"
            )
        weight, bias = self.calibrated()
        return unit(vectors) @ weight.T + bias

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n, k) float32 of vectors (n, e) of any length."""
        return softmax(self.logits(vectors))

    def require_model(self, fingerprint: str, who: str) -> None:
        """Refuse vectors of another model.

        Args:
            fingerprint: Of the model that gives the vectors.
            who: What that is, for the message.

        Raises:
            ValueError: When the probe was fitted on the vectors of another model.
        """
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"the probe was fitted on vectors of the model {self.fingerprint[:12]} "
                f"({self.record.get('source', 'not recorded')}), {who} is {fingerprint[:12]}: its vectors mean "
                "something else; fit a probe on this model with `tahoe-distill probe`, or name the model of the probe"
            )

    def to_text(self) -> str:
        """As ``probe.json`` holds it, without the weights."""
        own = {
            "version": _VERSION,
            "id2label": {str(number): label for number, label in enumerate(self.labels)},
            "temperature": self.temperature,
            "fingerprint": self.fingerprint,
        }
        return json.dumps({**own, **self.record}, indent=2) + "\n"

    def save_into(self, folder: str | os.PathLike[str]) -> None:
        """Write both files into a folder that is there."""
        weights = {"coef": self.coef, "intercept": self.intercept}
        tensors = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
        save_file(tensors, Path(folder) / PROBE_WEIGHTS)
        (Path(folder) / PROBE_FILE).write_text(self.to_text(), encoding="utf-8")


def load_probe(folder: str | os.PathLike[str]) -> Probe:
    """Read what ``tahoe-distill probe`` wrote.

    Args:
        folder: Its folder.

    Raises:
        ValueError: When there is none, or its files are damaged or do not fit each other.
    """
    folder = Path(folder)
    missing = [name for name in (PROBE_FILE, PROBE_WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} holds no probe: {' and '.join(missing)} missing; write one with `tahoe-distill probe --model "
            "MODEL --adata labelled.h5ad --label COLUMN --out FOLDER`"
        )
    try:
        tensors = load_file(folder / PROBE_WEIGHTS)
        content = json.loads((folder / PROBE_FILE).read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"expected version {_VERSION}, found {content['version']!r}")
        return Probe(
            tensors["coef"],
            tensors["intercept"],
            labels_of(content["id2label"]),
            float(content["temperature"]),
            str(content["fingerprint"]),
            {name: value for name, value in content.items() if name not in _OWN},
        )
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{folder}: the probe is damaged or of another version ({error}); fit it again") from error


def labels_of(id2label: Mapping[Any, str]) -> tuple[str, ...]:
    """Labels in the order of their numbers.

    Raises:
        ValueError: When the numbers are not 0, 1, 2, …
    """
    numbered = {int(number): str(label) for number, label in id2label.items()}
    if sorted(numbered) != list(range(len(numbered))):
        raise ValueError(f"id2label must number the labels from 0, found {sorted(numbered)}")
    return tuple(numbered[number] for number in range(len(numbered)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, e) divided by their lengths, float32."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) of logits (n, k)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
