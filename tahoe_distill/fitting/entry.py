"""One call for a notebook: cells and a teacher in, a student out."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tahoe_distill.cells import Cells, open_cells
from tahoe_distill.cells.formats import Source
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding import load_student
from tahoe_distill.fitting.by_composer import train_transformer
from tahoe_distill.fitting.cells import count_cells
from tahoe_distill.fitting.fit import Fitted, fit_student, is_static
from tahoe_distill.fitting.folder import check_out, write_fitted
from tahoe_distill.fitting.labelled import FitSettings
from tahoe_distill.fitting.specialise import specialise
from tahoe_distill.fitting.targets import Given, check_given
from tahoe_distill.teacher import Teacher, load_teacher

# Cells that are read, where nothing else is asked for: they stay in memory, and more views of them are free.
MOST_CELLS = 20_000


def distill(
    adata: Source,
    teacher: str | os.PathLike[str] | Teacher | None = None,
    student: str | Mapping[str, Any] = "static-small",
    *,
    out: str | os.PathLike[str] | None = None,
    vectors: ArrayLike | str | os.PathLike[str] | None = None,
    teacher_key: str | None = None,
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    size: str | None = None,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    max_cells: int | None = MOST_CELLS,
    overwrite: bool = False,
    progress: bool = True,
) -> Fitted:
    """Distil a teacher, or vectors that stand for one, into a student.

    A student without attention (``static-tiny``, ``static-small``, ``static-medium``) is fitted here, in minutes on a
    CPU. A transformer (``tiny``, ``small``, ``medium``) is trained by Composer, in a process of its own, from shards
    that are written for the run; that needs the extra ``[train]``, a teacher, and ``out``.

    Args:
        adata: Cells by genes, an AnnData or the path of a file; raw counts, or log1p of them (then without views).
        teacher: Release folder, hub id, converted folder, ``tx1-nano``, or a loaded :class:`Teacher`.
        student: A preset, or a mapping of fields as ``model.student`` of a run has them.
        out: Folder to write the student to, as a training run exports it; not written when left out.
        vectors: (n, e) vectors of these cells, or a ``.npy`` file of them, instead of a teacher: views of the cells are
            then thinned and never mixed. Beside the teacher that gave them, it labels the views alone.
        teacher_key: The key of ``obsm`` with such vectors, in the same way.
        objectives: As ``model.objectives`` of a run; cosine around the mean and normalised mse when left out.
        settings: How to fit; a transformer takes ``steps``, ``batch_size``, ``lr``, ``context``, ``held_out``, ``seed``
            and ``device`` from it.
        size: Which of a release's sizes: ``70m``, ``1b``, ``3b``.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
        symbols: Table of gene symbols that overrides those of the teacher and of the package.
        max_cells: Cells to read at most, drawn at random; ``None`` for all.
        overwrite: Replace what stands in ``out``.
        progress: Show bars.

    Returns:
        A :class:`Fitted`, which :func:`tahoe_distill.embed` takes as a model.

    Raises:
        ValueError: When cells, teacher, vectors, student and objectives do not fit each other.
        FileExistsError: When ``out`` exists and ``overwrite`` is off.
        ImportError: When the extra is missing that the student needs; the message names it.

    Examples:
        >>> import tahoe_distill
        >>> fitted = tahoe_distill.distill(adata, "tx1-nano", out="student")  # doctest: +SKIP
        >>> tahoe_distill.embed(adata, fitted)  # doctest: +SKIP
    """
    _check_sources(teacher=teacher, vectors=vectors, teacher_key=teacher_key)
    if out is not None:
        check_out(out, overwrite=overwrite)
    settings = settings or FitSettings()
    if not is_static(student):
        if teacher is not None and (vectors is not None or teacher_key is not None):
            raise ValueError(
                "a transformer's run has the teacher label all cells: leave the vectors out, or prepare shards with "
                "them (tahoe-distill prepare --teacher-key) and start a run with model.teacher: {source: …, cache: …}"
            )
        if teacher is None or out is None:
            raise ValueError(
                "a transformer student needs a teacher, which vectors are not, and a folder to write to (out); found "
                f"teacher {teacher!r} and out {out!r}. A student without attention (static-small) needs neither"
            )
        return train_transformer(
            adata, teacher, student, out=out, objectives=objectives, settings=settings, size=size, overwrite=overwrite,
            progress=progress, layer=layer, gene_key=gene_key, symbols=symbols,
        )  # fmt: skip
    reading: dict[str, Any] = {"gene_key": gene_key, "symbols": symbols}
    with open_cells(adata, layer=layer) as cells:
        target, known = _target(cells, teacher, vectors, teacher_key, size)
        vocab = None if isinstance(target, Given) else target.processor.vocab
        counted = count_cells(cells, vocab, **reading, most=max_cells, seed=settings.seed)
    options: dict[str, Any] = {"objectives": objectives, "settings": settings, "known": known, "progress": progress}
    fitted = fit_student(counted, target, student, **options)
    return fitted if out is None else write_fitted(fitted, out, overwrite=overwrite)


def specialise_student(
    student: str | os.PathLike[str],
    adata: Source,
    teacher: str | os.PathLike[str] | Teacher | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    vectors: ArrayLike | str | os.PathLike[str] | None = None,
    teacher_key: str | None = None,
    other: Source | None = None,
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    size: str | None = None,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    max_cells: int | None = MOST_CELLS,
    overwrite: bool = False,
    progress: bool = True,
) -> Fitted:
    """Prune an exported student without attention to an atlas's genes, and adapt it to its cells.

    Args:
        student: Folder or hub id of the student; not changed.
        adata: The atlas.
        teacher: As in :func:`distill`: the one that the student was distilled from.
        out: Folder to write the new student to; not written when left out.
        vectors: As in :func:`distill`.
        teacher_key: As in :func:`distill`.
        other: Cells of another kind, such as another tissue, to see what is lost on them; needs a teacher.
        objectives: As in :func:`distill`.
        settings: How to fit; 1,000 batches at a rate of 1e-3 when left out.
        size: As in :func:`distill`.
        layer: As in :func:`distill`, of both sources.
        gene_key: As in :func:`distill`, of both sources.
        symbols: As in :func:`distill`.
        max_cells: As in :func:`distill`, of both sources.
        overwrite: Replace what stands in ``out``.
        progress: Show bars.

    Returns:
        A :class:`Fitted`, with numbers before and after.

    Raises:
        ValueError: When student, cells and teacher do not fit each other.
        FileExistsError: When ``out`` exists and ``overwrite`` is off.
    """
    _check_sources(teacher=teacher, vectors=vectors, teacher_key=teacher_key)
    if out is not None:
        check_out(out, overwrite=overwrite)
    options: dict[str, Any] = {"gene_key": gene_key, "symbols": symbols, "most": max_cells}
    with open_cells(adata, layer=layer) as cells:
        target, known = _target(cells, teacher, vectors, teacher_key, size)
        vocab = load_student(student)[1].vocab if isinstance(target, Given) else target.processor.vocab
        counted = count_cells(cells, vocab, **options)
    elsewhere = None
    if other is not None:
        with open_cells(other, layer=layer) as cells:
            elsewhere = count_cells(cells, vocab, **options)
    found = specialise(
        student, counted, target, other=elsewhere, objectives=objectives, settings=settings, known=known,
        progress=progress,
    )  # fmt: skip
    return found if out is None else write_fitted(found, out, overwrite=overwrite)


def _check_sources(*, teacher: object, vectors: object, teacher_key: object) -> None:
    if vectors is not None and teacher_key is not None:
        raise ValueError(
            "expected one source of vectors, found a file or array of them (--teacher-vectors) and a key of obsm "
            f"(--teacher-key {teacher_key}): leave one out"
        )
    if teacher is None and vectors is None and teacher_key is None:
        raise ValueError(
            "expected a teacher, its vectors (--teacher-vectors FILE) or a key of obsm with them (--teacher-key KEY), "
            "found none. A teacher beside its vectors labels thinned and mixed cells"
        )


def _target(
    cells: Cells,
    teacher: str | os.PathLike[str] | Teacher | None,
    vectors: ArrayLike | str | os.PathLike[str] | None,
    teacher_key: str | None,
    size: str | None,
) -> tuple[Teacher | Given, Given | None]:
    """What to learn, and which vectors of it are known where that is a teacher."""
    given = _given(cells, vectors, teacher_key)
    if teacher is None and given is not None:
        return given, None
    return (teacher if isinstance(teacher, Teacher) else load_teacher(teacher or "", size=size)), given


def _given(cells: Cells, vectors: ArrayLike | str | os.PathLike[str] | None, teacher_key: str | None) -> Given | None:
    if teacher_key is not None:
        return Given.from_obsm(cells, teacher_key)
    if vectors is None:
        return None
    if isinstance(vectors, (str, os.PathLike)):
        return Given.from_file(vectors, cells)
    source = "vectors in memory"
    return Given(check_given(np.asarray(vectors), cells.n_obs, source), source)
