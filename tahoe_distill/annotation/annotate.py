"""`annotate`: AnnData in, labels and their probabilities in `obs`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from transformers.utils import cached_file

from tahoe_distill.annotation.labelled import labelled_cells
from tahoe_distill.annotation.probing import ProbeSettings, check_labels, fit_probe
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.files import FileVectors, vectors_into_file
from tahoe_distill.embedding.in_memory import check_free, require_anndata, vectors_in_memory, writable
from tahoe_distill.embedding.loading import ModelSource, is_path, load_student, split_revision
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import Added, check_key, check_place
from tahoe_distill.embedding.session import Session, open_session
from tahoe_distill.hub.folder import is_classifier
from tahoe_distill.hub.heads import head_of
from tahoe_distill.models import Tx1Config, Tx1ForCellClassification, Tx1Model, Tx1Processor
from tahoe_distill.naming import unknown
from tahoe_distill.probes import PROBE_FILE, Probe, load_probe
from tahoe_distill.teacher.load import fingerprint_of

UNKNOWN = "unknown"
# Cells classified at a time.
_STEP = 8192
Pair = tuple[Tx1Model, Tx1Processor]


@dataclass(frozen=True)
class Annotator:
    """A model, the classifier on its vectors, and what to write.

    Args:
        pair: Model and processor.
        probe: The classifier.
        model: The model as the user named it, where that is a folder or hub id: what is noted.
        key: Column of ``obs``.
        min_probability: Below it a label is ``unknown``; ``None`` for never.
        all_probabilities: Write those of all labels too.
        origin: Where the classifier comes from: ``model``, ``probe`` or ``reference``.
    """

    pair: Pair
    probe: Probe
    model: str | None
    key: str
    min_probability: float | None
    all_probabilities: bool
    origin: str

    def add(self, vectors: np.ndarray, noted: Mapping[str, object]) -> Added:
        """What the vectors (n, e) of cells come to."""
        probe = self.probe
        starts = range(0, max(len(vectors), 1), _STEP)
        probabilities = np.concatenate([probe.probabilities(np.asarray(vectors[s : s + _STEP])) for s in starts])
        best, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
        names = list(probe.labels)
        if self.min_probability is not None:
            best = np.where(highest < self.min_probability, len(names), best)
            names = [*names, UNKNOWN]
        return Added(
            obs={self.key: pd.Categorical.from_codes(best, names), f"{self.key}_probability": highest},
            obsm={f"{self.key}_probabilities": probabilities} if self.all_probabilities else {},
            uns={self.key: {**noted, "model": self.model or "in memory", **self._noted()}},
        )

    def _noted(self) -> dict[str, object]:
        record = self.probe.record
        noted: dict[str, object] = {
            "labels": np.array(self.probe.labels, dtype=object),
            "classifier": self.origin,
            "temperature": self.probe.temperature,
        }
        known = {"method": record.get("method"), "label_column": record.get("column")}
        known |= {f"held_out_{name}": value for name, value in (record.get("held_out") or {}).items()}
        if self.min_probability is not None:
            noted["min_probability"] = self.min_probability
        return {**noted, **{name: value for name, value in known.items() if value is not None}}


def written_keys(key: str, all_probabilities: bool) -> list[str]:
    """Everything that is written, such as ``obs/tx1_label``."""
    more = [f"obsm/{key}_probabilities"] if all_probabilities else []
    return [f"obs/{key}", f"obs/{key}_probability", f"uns/{key}", *more]


def annotate(
    adata: AnnData,
    model: ModelSource,
    *,
    probe: str | os.PathLike[str] | Probe | None = None,
    reference: AnnData | str | os.PathLike[str] | None = None,
    label: str | None = None,
    key_added: str = "tx1_label",
    min_probability: float | None = None,
    probabilities: bool = False,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    drug_key: str | None = None,
    copy: bool = False,
    overwrite: bool = False,
    force: bool = False,
    progress: bool = False,
    **settings: Any,
) -> AnnData | None:
    """Label every cell of an AnnData with a classifier on a model's vectors.

    Args:
        adata: Cells by genes; raw counts or log1p of them.
        model: As in :func:`tahoe_distill.embed`: an exported classifier, or any student or converted teacher with
            ``probe`` or ``reference``.
        probe: A probe that ``tahoe-distill probe`` fitted on this model, or its folder.
        reference: Labelled cells, on whose vectors a probe is fitted on the fly; AnnData or a file.
        label: Column of the reference's ``obs`` with the labels.
        key_added: Column of ``obs`` for the label; beside it ``…_probability``, and ``uns`` for where both come from.
        min_probability: Call cells ``unknown`` whose most probable label is less probable than this; by default none.
        probabilities: Also write the probabilities of all labels to ``obsm[f"{key_added}_probabilities"]``, in the
            order of ``uns[key_added]["labels"]``.
        layer: As in :func:`tahoe_distill.embed`, and so the rest.
        gene_key: The same.
        symbols: The same.
        drug_key: The same.
        copy: Return an annotated copy and leave ``adata`` alone.
        overwrite: Replace labels of an earlier call under the same key.
        force: As in :func:`tahoe_distill.embed`.
        progress: Show a progress bar.
        **settings: ``batch_size``, ``device``, ``devices``, ``dtype``, ``backend``, ``workers`` and ``window``, as in
            :func:`tahoe_distill.embed`.

    Returns:
        ``None``, or the copy.

    Raises:
        ValueError: When model, probe, reference, cells or options do not fit; the message says what to do.

    Examples:
        >>> from tahoe_distill import annotate
        >>> annotate(adata, "path/to/classifier")  # doctest: +SKIP
        >>> annotate(adata, "path/to/student", reference=labelled, label="cell_type")  # doctest: +SKIP
    """
    require_anndata(adata, copy)
    options = _options(settings)
    reading: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    asked: dict[str, Any] = {"key": key_added, "min_probability": min_probability, "all_probabilities": probabilities}
    _check_asked(**asked)
    check_free(adata, written_keys(key_added, probabilities), overwrite=overwrite)
    source: dict[str, Any] = {"probe": probe, "reference": reference, "label": label}
    annotator = _annotator(model, **source, **asked, options=options, reading=reading, progress=progress)
    with open_session(adata, annotator.pair, options, **reading, force=force) as session:
        vectors = vectors_in_memory(session, progress)
    vectors.totals.warn()
    added = annotator.add(vectors.vectors, vectors.noted)
    target = writable(adata, copy)
    for name, values in added.obs.items():
        target.obs[name] = values
    for name, array in added.obsm.items():
        target.obsm[name] = array
    for name, noted in added.uns.items():
        target.uns[name] = dict(noted)
    return target if copy else None


def annotate_file(
    path: str | os.PathLike[str],
    model: ModelSource,
    out: str | os.PathLike[str],
    *,
    probe: str | os.PathLike[str] | Probe | None = None,
    reference: AnnData | str | os.PathLike[str] | None = None,
    label: str | None = None,
    key_added: str = "tx1_label",
    min_probability: float | None = None,
    probabilities: bool = False,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    drug_key: str | None = None,
    overwrite: bool = False,
    force: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Path:
    """Label the cells of a file of any size, into a copy of it; the file appears whole or not at all.

    A run that was killed carries on when it is called again with the same arguments.

    Args:
        path: Input, as in :func:`tahoe_distill.embedding.embed_file`.
        model: As in :func:`annotate`, and so the rest but for the following.
        out: Output, as in :func:`tahoe_distill.embedding.embed_file`.
        probe: As in :func:`annotate`.
        reference: As in :func:`annotate`.
        label: As in :func:`annotate`.
        key_added: As in :func:`annotate`.
        min_probability: As in :func:`annotate`.
        probabilities: As in :func:`annotate`.
        layer: As in :func:`annotate`.
        gene_key: As in :func:`annotate`.
        symbols: As in :func:`annotate`.
        drug_key: As in :func:`annotate`.
        overwrite: Replace an existing output or key, and drop the unfinished result of another run.
        force: As in :func:`annotate`.
        progress: Show a progress bar.
        **settings: As in :func:`annotate`.

    Returns:
        The path of the output.

    Raises:
        ValueError: When input, model, probe, reference, output or options do not fit; nothing has been written then.
    """
    options = _options(settings)
    reading: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    asked: dict[str, Any] = {"key": key_added, "min_probability": min_probability, "all_probabilities": probabilities}
    _check_asked(**asked)
    check_place(out, overwrite=overwrite)
    source: dict[str, Any] = {"probe": probe, "reference": reference, "label": label}
    annotator = _annotator(model, **source, **asked, options=options, reading=reading, progress=progress)

    def keys(session: Session) -> list[str]:
        return written_keys(key_added, probabilities)

    def add(session: Session, found: FileVectors) -> Added:
        return annotator.add(found.vectors, found.noted)

    given: dict[str, Any] = {"overwrite": overwrite, "force": force, "progress": progress}
    return vectors_into_file(path, annotator.pair, out, keys=keys, add=add, options=options, chosen=reading, **given)


def _options(settings: Mapping[str, Any]) -> Options:
    """How to embed; whatever changes or adds to the vectors has no meaning here."""
    known = ("batch_size", "device", "devices", "dtype", "backend", "workers", "window")
    for name in settings:
        if name not in known:
            raise TypeError(unknown("argument of annotate", name, known))
    return Options(**settings)


def _check_asked(key: str, min_probability: float | None, all_probabilities: bool) -> None:
    check_key(key)
    if min_probability is not None and not 0 < min_probability < 1:
        raise ValueError(f"min_probability (--min-probability) must lie between 0 and 1, found {min_probability}")


def _annotator(
    model: ModelSource,
    *,
    probe: str | os.PathLike[str] | Probe | None,
    reference: AnnData | str | os.PathLike[str] | None,
    label: str | None,
    options: Options,
    reading: Mapping[str, Any],
    progress: bool,
    **asked: Any,
) -> Annotator:
    """The model and its classifier, whichever way it comes."""
    if probe is not None and reference is not None:
        raise ValueError("give a probe (--probe) or a labelled reference (--reference), not both")
    if (reference is None) != (label is None):
        raise ValueError(
            "a reference (--reference) and the column of its labels (--label) belong together, found one of the two"
        )
    pair, own = load_classifier(model)
    name = str(model) if is_path(model) else None
    if probe is not None:
        found = probe if isinstance(probe, Probe) else load_probe(probe)
        found.require_model(fingerprint_of(pair[0].state_dict(), pair[1].vocab), name or "the model")
        return Annotator(pair, found, name, **asked, origin="probe")
    if reference is not None and label is not None:
        settings = ProbeSettings()
        labelled = labelled_cells(
            reference,
            pair,
            label,
            source=name or "in memory",
            check=lambda labels, where: check_labels(labels, where, settings.min_cells),
            options=options,
            reading=reading,
            progress=progress,
        )
        return Annotator(pair, fit_probe(labelled, settings), name, **asked, origin="reference")
    if own is None:
        raise ValueError(
            f"{name or 'the model'} has no classifier: give a probe (--probe), a labelled reference (--reference FILE "
            "--label COLUMN), or a student that was exported with labels (`tahoe-distill probe … --export FOLDER`)"
        )
    return Annotator(pair, own, name, **asked, origin="model")


def load_classifier(model: ModelSource) -> tuple[Pair, Probe | None]:
    """A model and its processor, and its own classifier where it has one.

    Args:
        model: As in :func:`tahoe_distill.embed`, or a pair of a ``Tx1ForCellClassification`` and its processor.

    Raises:
        ValueError: When it is no such model.
    """
    if not is_path(model):
        given = model.model if hasattr(model, "model") else model[0] if isinstance(model, (tuple, list)) else None
        if not isinstance(given, Tx1ForCellClassification):
            return load_student(model), None
        processor = model.processor if hasattr(model, "processor") else model[1]  # type: ignore[index]
        pair = load_student((given.tx1, processor))
        return pair, head_of(given, fingerprint_of(pair[0].state_dict(), pair[1].vocab))
    pair = load_student(model)
    name, revision = split_revision(str(model))
    chosen = {} if revision is None else {"revision": revision}
    if not is_classifier(Tx1Config.from_pretrained(name, **chosen).to_dict()):
        return pair, None
    classifier = Tx1ForCellClassification.from_pretrained(name, torch_dtype=torch.float32, **chosen)
    found = head_of(classifier, fingerprint_of(pair[0].state_dict(), pair[1].vocab))
    return pair, replace(found, record=_record_of(name, revision))


def _record_of(name: str, revision: str | None) -> dict[str, Any]:
    """What the export tells of its head."""
    path = cached_file(
        name,
        PROBE_FILE,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
