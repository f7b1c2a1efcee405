"""A fitted student as a folder: the one that a training run exports, its card written from the same records."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from tahoe_distill.fitting.fit import CLOSED_FORM, REFINED, RIDGE, Fitted
from tahoe_distill.hub.card import write_card
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.folder import (
    CARD_FILE,
    CONFIDENCE_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    TRAINING_FILE,
    to_json,
)

_LABELS = {
    RIDGE: "ridge from log-counts",
    CLOSED_FORM: "student, closed form",
    "before": "student, before",
    REFINED: "student, refined",
    "before_other": "other cells, before",
    "other": "other cells, after",
}


def check_out(folder: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that cannot be written.

    Raises:
        FileExistsError: When it exists and ``overwrite`` is off.
    """
    if Path(folder).exists() and not overwrite:
        raise FileExistsError(f"{folder} exists already; name another folder, or pass overwrite to replace it")


def write_fitted(fitted: Fitted, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Fitted:
    """Write a student with its card, settings, metrics and golden vectors, loaded in a fresh process and compared.

    Args:
        fitted: What a fit gave.
        folder: Where to; must not exist unless ``overwrite`` is on.
        overwrite: Replace what is there.

    Returns:
        The same with its ``folder``.

    Raises:
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
        GoldenMismatchError: When the student gives something else than numbers, or other vectors once it is reloaded.
    """
    # The baselines are in the record: what the hub lists as metrics is the student's own.
    metrics = {name: value for name, value in fitted.metrics.items() if name.startswith(f"{REFINED}/")}
    model, processor, recorded = fitted.model, fitted.processor, to_json(fitted.record)
    # From the record as it will be read, so that the folder alone gives the same card again.
    known: dict[str, Any] = {"genes": processor.vocab.naming, "training": fitted.training}
    files = {
        CARD_FILE: write_card(model.config, json.loads(recorded), metrics, **known),
        HYPERPARAMETERS_FILE: recorded,
        METRICS_FILE: to_json(metrics),
        TRAINING_FILE: to_json(fitted.training),
    }
    if fitted.confidence is not None:
        files[CONFIDENCE_FILE] = fitted.confidence.to_text()
    write_model_folder(model, processor, folder, extra_files=files, verify=True, overwrite=overwrite)
    return dataclasses.replace(fitted, folder=Path(folder))


def table(fitted: Fitted) -> str:
    """The numbers of a fit for people: the student's beside those of ridge, or of itself before."""
    cells = fitted.record["variables"]["cells"]
    views, steps = fitted.record["fit"]["views"], fitted.record["fit"]["steps"]
    labels = {name: label for name, label in _LABELS.items() if f"{name}/knn_overlap" in fitted.metrics}
    head = f"{cells['evaluation']['cells']:,} held-out cells"
    lines = [f"{head:<26}centred cosine   10-neighbour overlap"]
    for name, label in labels.items():
        cosine = fitted.metrics.get(f"{name}/centered_cosine")
        shown = "-" if cosine is None else f"{cosine:.3f}"
        lines.append(f"{label:<26}{shown:>14}   {fitted.metrics[f'{name}/knn_overlap']:>20.3f}")
    learned = f"{cells['training']['cells']:,} cells in {views} view{'s' if views > 1 else ''} each"
    lines.append(f"learned from {learned}, {steps:,} batches, in {fitted.training['seconds']:.0f} s")
    return "\n".join(lines)
