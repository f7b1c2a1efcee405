"""What is judged: the vectors of a teacher, a student, a baseline or a control for the same cells."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from anndata import AnnData

from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding import embed
from tahoe_distill.evaluation.base import NEEDS, NotEvaluable
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.models import Tx1Model, Tx1Processor

TEACHER, STUDENT, BASELINE, CONTROL = "teacher", "student", "baseline", "control"
KEY = "X_evaluated"
Pair = tuple[Tx1Model, Tx1Processor]


@dataclass(frozen=True)
class Reading:
    """How models read the cells: the arguments of :func:`tahoe_distill.embed` that say so.

    Args:
        gene_key: Column of ``var`` with gene ids or symbols.
        symbols: Table of gene symbols.
        drug_key: Column of ``obs`` with drug names.
        progress: Show a bar for each model.
    """

    gene_key: str | None = None
    symbols: Symbols | None = None
    drug_key: str | None = None
    progress: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of a call that reads cells, by name."""
        return {"gene_key": self.gene_key, "symbols": self.symbols, "drug_key": self.drug_key}


@dataclass(frozen=True)
class Subject:
    """Vectors to judge.

    Args:
        name: As numbers are listed under.
        role: ``teacher``, ``student``, ``baseline`` or ``control``.
        query: (n, e) vectors of the query cells.
        reference: (m, e) vectors of the reference cells; ``None`` without such cells.
        shared_space: Whether they lie in the teacher's space.
        model: The model and its processor; ``None`` for what is no such model.
        source: Folder or hub id of the model.
        reading: How the model read the cells.
        shuffled_labels: Whether what it learns from has its labels shuffled: a control.
        expects: For a control, what shows that it failed as it must.
        evaluators: The only evaluators that it is for; all where empty.
        about: What JSON should know of it: genes matched, the strength of a penalty.
    """

    name: str
    role: str
    query: np.ndarray = field(repr=False)
    reference: np.ndarray | None = field(default=None, repr=False)
    shared_space: bool = False
    model: Pair | None = None
    source: str | None = None
    reading: Reading = field(default_factory=Reading)
    shuffled_labels: bool = False
    expects: str = ""
    evaluators: frozenset[str] = frozenset()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def pair(self) -> Pair:
        """Its model and processor.

        Raises:
            NotEvaluable: When it is vectors alone.
        """
        if self.model is None:
            raise NotEvaluable(NEEDS["model"])
        return self.model

    @property
    def offers(self) -> set[str]:
        """What it gives of :data:`~tahoe_distill.evaluation.base.NEEDS`."""
        given = {
            "teacher": self.role != TEACHER,
            "teacher_space": self.shared_space,
            "model": self.model is not None,
            "gene_embeddings": self.model is not None,
            "expression_head": self.model is not None and self.model[0].expression_decoder is not None,
        }
        return {need for need, is_given in given.items() if is_given}


def embed_subject(pair: Pair, bench: Bench, *, name: str, role: str, reading: Reading, **known: Any) -> Subject:
    """The vectors of a model.

    Args:
        pair: Model and processor.
        bench: The cells; its teacher, where this is not the teacher, says whether the spaces are the same.
        name: Of the subject.
        role: Of the subject.
        reading: How to read the cells.
        **known: Other fields of :class:`Subject`.

    Raises:
        ValueError: When the cells do not fit the model, or it gives vectors that are not finite.
    """
    query, noted = _vectors(bench.query, pair, reading, name)
    reference = None if bench.reference is None else _vectors(bench.reference, pair, reading, name)[0]
    about: dict[str, Any] = {key: noted[key] for key in ("genes_matched", "genes_total", "cells_empty") if key in noted}
    # One width is no proof, but a student that was trained on other vectors of this width is rare, and scores badly.
    shared = role == TEACHER or query.shape[1] == bench.teacher.query.shape[1]
    return Subject(name, role, query, reference, shared_space=shared, model=pair, reading=reading, about=about, **known)


def bare_cells(cells: AnnData) -> AnnData:
    """The matrix and the two tables, without a copy: what a model reads and may write beside, not into the caller's."""
    return AnnData(cells.X, obs=cells.obs, var=cells.var)


def _vectors(cells: AnnData, pair: Pair, reading: Reading, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    bare = bare_cells(cells)
    embed(bare, pair, key_added=KEY, progress=reading.progress, **reading.options)
    return check_vectors(np.asarray(bare.obsm[KEY]), cells.n_obs, name), dict(bare.uns[KEY])


def check_vectors(vectors: np.ndarray, cells: int, name: str) -> np.ndarray:
    """Vectors (n, e) of ``cells`` cells as they can be judged.

    Raises:
        ValueError: When they are of another number of cells, are NaN or infinite, or are all the same.
    """
    if vectors.ndim != 2 or len(vectors) != cells:
        raise ValueError(f"{name}: expected a vector for each of {cells} cells, found an array of {vectors.shape}")
    wrong = int((~np.isfinite(vectors).all(axis=1)).sum())
    if wrong:
        raise ValueError(
            f"{name}: the vectors of {wrong} of {cells} cells are NaN or infinite, so nothing can be said of them; "
            "check the weights with `tahoe-distill doctor`"
        )
    return vectors
