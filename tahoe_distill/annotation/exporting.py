"""Probes and classifiers as folders."""

import os
from pathlib import Path

from tahoe_distill.embedding.confidence import CONFIDENCE_FILE
from tahoe_distill.files import finished_folder, replace_text
from tahoe_distill.hub.card import card_of_folder
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.hub.folder import BEST_FILE, CARD_FILE, HYPERPARAMETERS_FILE, METRICS_FILE, TRAINING_FILE
from tahoe_distill.hub.heads import with_head
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.probes import PROBE_FILE, Probe
from tahoe_distill.teacher.load import fingerprint_of

# What a training run recorded of a student, which holds for it with a head too.
_RECORDS = (HYPERPARAMETERS_FILE, METRICS_FILE, TRAINING_FILE, BEST_FILE, CONFIDENCE_FILE)


def save_probe(probe: Probe, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a probe as a folder that appears whole or not at all.

    Raises:
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
    """
    with finished_folder(folder, overwrite) as temporary:
        probe.save_into(temporary)


def export_classifier(
    pair: tuple[Tx1Model, Tx1Processor],
    probe: Probe,
    folder: str | os.PathLike[str],
    *,
    student: str | os.PathLike[str] | None = None,
    verify: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a model with a probe as its head.

    Args:
        pair: Model and processor.
        probe: A probe on the model's vectors.
        folder: Where to.
        student: Folder that the model was exported to before, whose records go along.
        verify: Reload it in a fresh process.
        overwrite: Replace what is there.

    Raises:
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
        ValueError: When the probe belongs to another model.
        GoldenMismatchError: When the reloaded folder gives something else.
    """
    model, processor = pair
    probe.require_model(fingerprint_of(model.state_dict(), processor.vocab), str(student or "the model"))
    records = [Path(student) / name for name in _RECORDS] if student is not None else []
    files = {path.name: path.read_text(encoding="utf-8") for path in records if path.is_file()}
    files[PROBE_FILE] = probe.to_text()
    write_model_folder(
        with_head(model, probe), processor, folder, extra_files=files, verify=verify, overwrite=overwrite
    )
    if {HYPERPARAMETERS_FILE, METRICS_FILE} <= files.keys():
        replace_text(Path(folder) / CARD_FILE, card_of_folder(folder))
