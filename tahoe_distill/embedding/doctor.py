"""What will happen when a file is embedded, found out before it does."""

import time
from dataclasses import dataclass

import numpy as np

from tahoe_distill.cells import match_genes, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.cells.values import LARGEST_LOG, complaint
from tahoe_distill.embedding.engine import Engine
from tahoe_distill.embedding.loading import load_student
from tahoe_distill.embedding.options import Options
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


def examine(path, model, *, layer=None, gene_key=None, symbols=None, estimate=True):
    """Look at cells through the eyes of a model.

    Args:
        path: File as :func:`tahoe_distill.embedding.embed_file` takes it, or an AnnData.
        model: As in :func:`tahoe_distill.embed`.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        estimate: Embed a few cells to estimate the time of all.

    Returns:
        A list of :class:`Finding`.
    """
    student, processor = load_student(model)
    with open_cells(path, layer=layer) as cells:
        findings = [_storage(cells)]
        if cells.n_obs == 0 or cells.n_vars == 0:
            text = f"{cells.n_obs} cells by {cells.n_vars} genes: nothing to embed"
            return [*findings, Finding(ERROR, "cells", text)]
        match = match_genes(cells, processor.vocab, gene_key=gene_key, symbols=symbols)
        survey = survey_cells(cells, match.tokens)
        findings += [_genes(match), *_values(survey)]
        if any(finding.level == ERROR for finding in findings):
            return findings
        findings += [*_coverage(survey), *_cells(survey, processor), *_duplicates(survey, match)]
        if estimate and survey.lengths.any():
            findings.append(_estimate(cells, student, processor, match.tokens, survey))
    return findings


def _storage(cells):
    text = f"{cells.n_obs:,} cells by {cells.n_vars:,} genes, stored as {cells.storage}"
    if cells.storage == "csc":
        way = "in memory" if cells.path is None else "through temporary files"
        return Finding(NOTE, "storage", f"{text}, by columns: turned around once, {way}; adata.X.tocsr() spares that")
    return Finding(OK, "storage", f"{text}; read in pieces")


def _genes(match):
    """What is said of the gene names: how many are known, where they stand, what they look like."""
    seen = f"names look like {match.seen.species} {match.seen.system}"
    if match.problem:
        return Finding(ERROR, "genes", f"{match.problem} ({seen})")
    return Finding(OK if match.share >= 0.5 else WARNING, "genes", f"{match}; {seen}")


def _values(survey):
    """What the numbers are: counts, log1p of counts, or something that binning makes nonsense of."""
    if survey.wrong:
        return [Finding(ERROR, "values", complaint(survey.wrong))]
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
    if survey.largest <= LARGEST_LOG:
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


def _duplicates(survey, match):
    findings = []
    if survey.twins:
        findings.append(
            Finding(WARNING, "duplicates", f"{survey.twins:,} cells repeat the counts of another cell exactly")
        )
    if match.duplicates:
        findings.append(
            Finding(
                NOTE, "duplicates", f"{match.duplicates:,} columns share a gene with another; their counts are added"
            )
        )
    return findings or [Finding(OK, "duplicates", "no cell or gene twice")]


def _estimate(source, model, processor, tokens, survey):
    """Time of a few typical cells, scaled to all; memory of the model and of a window."""
    options = Options()
    device = options.places()[0]
    engine = Engine(model, processor, options, device)
    numbers = np.unique(np.linspace(0, source.n_obs - 1, min(_TRIAL, source.n_obs)).astype(np.int64))
    cells = [processor.encode_rows(source.rows(number, number + 1), tokens)[0] for number in numbers.tolist()]
    drugs = cell_drugs(source, processor)
    drugs = None if drugs is None else drugs[: len(cells)]
    engine.window(cells[:2], None if drugs is None else drugs[:2])
    start = time.perf_counter()
    engine.window(cells, drugs)
    pace = sum(len(tokens) for tokens, _ in cells) / (time.perf_counter() - start)
    context = processor.max_length
    work = np.minimum(survey.lengths + len(processor.special_tokens), context).sum()
    weights = sum(parameter.numel() * parameter.element_size() for parameter in engine.model.parameters())
    windows = options.windows(source.n_obs)
    memory = (
        weights + 16 * windows[0][1] * float(survey.lengths.mean()) + 8 * engine.tokens * model.config.intermediate_size
    )
    pace_cells, vectors = source.n_obs * pace / work, 4 * source.n_obs * model.config.embedding_size
    text = f"about {_duration(work / pace)} on this {device.type} ({pace_cells:,.0f} cells/s)"
    return Finding(
        NOTE, "estimate", f"{text}, {0.5 + memory / 1e9:.1f} GB of memory, {vectors / 1e6:,.1f} MB of vectors"
    )


def _duration(seconds):
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
