"""What will happen when a file is embedded, found out before it does."""

import os
import time
from dataclasses import dataclass

import numpy as np

from tahoe_distill.embedding.gene_ids import describe_genes
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.embedding.session import open_session
from tahoe_distill.embedding.survey import survey_cells

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"

# Cells that are embedded to estimate the time of all.
_TRIAL = 16


@dataclass(frozen=True)
class Finding:
    """One thing the doctor has to say.

    Args:
        level: ``ok``, ``note``, ``warning``, or ``error`` where embedding would be meaningless.
        topic: What it is about, in a word or two.
        text: What was found, and what to do where something is to be done.
    """

    level: str
    topic: str
    text: str


def examine(
    path: str | os.PathLike[str],
    model: ModelSource,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    estimate: bool = True,
) -> list[Finding]:
    """Look at a file through the eyes of a model.

    Args:
        path: h5ad or zarr file.
        model: As in :func:`tahoe_distill.embed`.
        layer: Layer to read instead of ``X``.
        gene_key: Column of ``var`` with Ensembl ids.
        estimate: Embed a few cells to estimate the time of all.

    Returns:
        A list of :class:`Finding`.
    """
    with open_session(path, model, layer=layer, gene_key=gene_key) as session:
        cells = session.cells
        findings = [_storage(cells.source)]
        if cells.n_obs == 0 or cells.n_vars == 0:
            text = f"{cells.n_obs} cells by {cells.n_vars} genes: nothing to embed"
            return [*findings, Finding(ERROR, "cells", text)]
        tokens, genes = _genes(cells)
        survey = survey_cells(cells.source, tokens)
        findings += [*genes, *_values(survey)]
        if any(finding.level == ERROR for finding in findings):
            return findings
        findings += [*_coverage(survey), *_cells(survey, session.processor), *_duplicates(survey, tokens)]
        if estimate and survey.lengths.any():
            findings.append(_estimate(session, survey))
    return findings


def _storage(source):
    text = f"{source.n_obs:,} cells by {source.n_vars:,} genes, stored as {source.storage}"
    if source.storage == "csc":
        return Finding(WARNING, "storage", f"{text}: loaded whole; adata.X.tocsr() lets it be read in pieces")
    return Finding(OK, "storage", f"{text}; read in pieces")


def _genes(cells):
    """Tokens of the columns, and findings about the gene names."""
    try:
        tokens = cells.tokens
    except ValueError as error:
        return np.full(cells.n_vars, -1), [Finding(ERROR, "genes", str(error))]
    genes = cells.source.genes
    seen = describe_genes(genes.var_names if cells.gene_key is None else genes.var[cells.gene_key])
    share = float((tokens >= 0).mean())
    level = OK if share >= 0.5 else WARNING
    text = f"{(tokens >= 0).sum():,} of {tokens.size:,} genes are in the vocabulary ({100 * share:.1f} %)"
    return tokens, [Finding(level, "genes", f"{text}; names look like {seen.species} {seen.system}")]


def _values(survey):
    """What the numbers are: counts, log1p of counts, or something that binning makes nonsense of."""
    if survey.bad:
        return [Finding(ERROR, "values", f"{survey.bad:,} values are NaN or infinite; expected raw or log1p counts")]
    if survey.negative:
        return [
            Finding(
                ERROR,
                "values",
                f"{survey.negative:,} values are negative, so the matrix was scaled or centred; embed "
                "the raw counts, perhaps in a layer (--layer)",
            )  # fmt: skip
        ]
    cells = int((survey.lengths > 0).sum())
    if not survey.fractional:
        return [Finding(OK, "values", f"raw counts: whole numbers up to {survey.largest:,.0f}")]
    if survey.log1p > 0.9 * survey.fractional:
        return [
            Finding(
                OK,
                "values",
                "log1p of scaled counts: gives the tokens of the raw counts, but for rounding at bin edges",
            )
        ]
    if survey.largest < 20:
        text = "log-like fractions that are not plain log1p of counts; only ranks matter, so they are usable"
        return [Finding(NOTE, "values", f"{text}, but the raw counts are safer")]
    text = f"fractions in {survey.fractional:,} of {cells:,} cells, neither counts nor log1p (corrected counts, TPM?)"
    return [Finding(WARNING, "values", f"{text}; ranks are used, raw counts are safer")]


def _coverage(survey):
    share = survey.known / survey.total if survey.total else 0.0
    text = f"{100 * share:.1f} % of the counts fall on genes of the vocabulary"
    if share < 0.1:
        return [Finding(ERROR, "coverage", f"{text}: too little to say anything about a cell; check the gene ids")]
    if share < 0.5:
        return [Finding(WARNING, "coverage", f"{text}; expected more than half, check the gene ids")]
    return [Finding(OK, "coverage", text)]


def _cells(survey, processor):
    room = processor.max_length - len(processor.special_tokens)
    count, empty = survey.lengths.size, int((survey.lengths == 0).sum())
    above = int((survey.lengths > room).sum())
    findings = []
    if empty == count:
        findings.append(Finding(ERROR, "empty cells", "no cell expresses a gene of the vocabulary"))
    elif empty:
        text = f"{empty:,} cells express no gene of the vocabulary and would all get one vector; filter them"
        findings.append(Finding(WARNING, "empty cells", text))
    else:
        findings.append(Finding(OK, "empty cells", "none"))
    level = OK if above == 0 else NOTE
    text = f"{above:,} cells ({100 * above / count:.1f} %) express more than the {room:,} genes of the context"
    if above:
        text += "; each is cut to a fixed sample of its genes"
    return [*findings, Finding(level, "context", f"{text}; median {np.median(survey.lengths):,.0f} genes a cell")]


def _duplicates(survey, tokens):
    known = tokens[tokens >= 0]
    twice = known.size - np.unique(known).size
    findings = []
    if survey.twins:
        findings.append(
            Finding(WARNING, "duplicates", f"{survey.twins:,} cells repeat the counts of another cell exactly")
        )
    if twice:
        findings.append(
            Finding(NOTE, "duplicates", f"{twice:,} columns share a gene with another; their counts are added")
        )
    return findings or [Finding(OK, "duplicates", "no cell or gene twice")]


def _estimate(session, survey):
    """Time of a few typical cells, scaled to all; memory of the model and of a window."""
    cells, processor = session.cells, session.processor
    device = session.options.places()[0]
    engine = session.engine(device)
    numbers = np.unique(np.linspace(0, cells.n_obs - 1, min(_TRIAL, cells.n_obs)).astype(np.int64))
    trial = [cells.encode(number, number + 1)[0] for number in numbers.tolist()]
    drugs = np.zeros(len(trial), dtype=np.int64) if processor.use_chem_token else None
    engine.window(trial[:2], None if drugs is None else drugs[:2])
    start = time.perf_counter()
    engine.window(trial, drugs)
    pace = sum(len(tokens) for tokens, _ in trial) / (time.perf_counter() - start)
    work = np.minimum(survey.lengths + len(processor.special_tokens), processor.max_length).sum()
    weights = sum(parameter.numel() * parameter.element_size() for parameter in engine.model.parameters())
    window = 16 * session.options.windows(cells.n_obs)[0][1] * float(survey.lengths.mean())
    memory = weights + window + 8 * engine.model.batch_tokens * engine.model.config.intermediate_size
    pace_cells, vectors = cells.n_obs * pace / work, 4 * cells.n_obs * engine.model.config.embedding_size
    text = f"about {_duration(work / pace)} on this {device.type} ({pace_cells:,.0f} cells/s)"
    return Finding(
        NOTE, "estimate", f"{text}, {0.5 + memory / 1e9:.1f} GB of memory, {vectors / 1e6:,.1f} MB of vectors"
    )


def _duration(seconds):
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
