"""From a model and a probe to a classifier that can be exported, and back."""

from typing import Any

import numpy as np
import torch

from tahoe_distill.models import Tx1Config, Tx1ForCellClassification, Tx1Model
from tahoe_distill.probes import Probe, labels_of


def with_head(model: Tx1Model, probe: Probe) -> Tx1ForCellClassification:
    """A classifier of a model and a probe on its vectors; it shares its weights with the model.

    Args:
        model: The model, which is not changed.
        probe: The probe, whose temperature goes into the weights of the head.

    Raises:
        ValueError: When the probe reads vectors of another width.
    """
    if probe.width != model.config.embedding_size:
        raise ValueError(
            f"the probe reads vectors of {probe.width} coordinates, the model gives {model.config.embedding_size}; fit "
            "one on this model with `tahoe-distill probe`"
        )
    labels = dict(enumerate(probe.labels))
    settings = model.config.to_dict()
    settings |= {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
    with torch.device("meta"):
        classifier = Tx1ForCellClassification(Tx1Config.from_dict(settings))
    weight, bias = (torch.from_numpy(array.copy()).to(model.dtype) for array in probe.calibrated())
    tensors: dict[str, Any] = {f"tx1.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {"classifier.weight": weight, "classifier.bias": bias}
    classifier.load_state_dict(tensors, assign=True, strict=True)
    return classifier.eval()


def head_of(classifier: Tx1ForCellClassification, fingerprint: str) -> Probe:
    """The head of a classifier as a probe.

    Args:
        classifier: The classifier.
        fingerprint: Of the model inside.
    """
    weight, bias = (
        tensor.detach().cpu().float().numpy().astype(np.float32)
        for tensor in (classifier.classifier.weight, classifier.classifier.bias)
    )
    return Probe(weight, bias, labels_of(classifier.config.id2label), 1.0, fingerprint)
