"""What will happen when a file is embedded, found out before it does."""

import time
from dataclasses import dataclass

import numpy as np

from tahoe_distill.embedding.engine import Engine
from tahoe_distill.embedding.gene_ids import describe_genes
from tahoe_distill.embedding.loading import load_student
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.source import FileSource
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


def examine(path, model, *, layer=None, gene_key=None, estimate=True):
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
    student, processor = load_student(model)
    with FileSource(path, layer) as source:
        findings = [_storage(source)]
        if source.n_obs == 0 or source.n_vars == 0:
            return [
                *findings,
                Finding(ERROR, "cells", f"{source.n_obs} cells by {source.n_vars} genes: nothing to embed"),
            ]
        tokens, genes = _genes(source, processor, gene_key)
        survey = survey_cells(source, tokens)
        findings += [*genes, *_values(survey)]
        if any(finding.level == ERROR for finding in findings):
            return findings
        findings += [*_coverage(survey), *_cells(survey, processor), *_duplicates(survey, tokens)]
        if estimate and survey.lengths.any():
            findings.append(_estimate(source, student, processor, tokens, survey))
    return findings


def _storage(source):
    text = f"{source.n_obs:,} cells by {source.n_vars:,} genes, stored as {source.storage}"
    if source.storage == "csc":
        return Finding(WARNING, "storage", f"{text}: loaded whole; adata.X.tocsr() lets it be read in pieces")
    return Finding(OK, "storage", f"{text}; read in pieces")


def _genes(source, processor, gene_key):
    """Tokens of the columns, and findings about the gene names."""
    try:
        tokens = processor.match(source.genes, gene_key)
    except ValueError as error:
        names = source.genes.var.get(gene_key, source.genes.var_names)
        seen = describe_genes(names)
        return np.full(source.n_vars, -1), [
            Finding(ERROR, "genes", f"{error}. {seen.advice} (looks like {seen.species} {seen.system})")
        ]
    seen = describe_genes(source.genes.var_names if gene_key is None else source.genes.var[gene_key])
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


def _estimate(source, model, processor, tokens, survey):
    """Time of a few typical cells, scaled to all; memory of the model and of a window."""
    options = Options()
    device = options.places()[0]
    engine = Engine(model, processor, options, device)
    numbers = np.unique(np.linspace(0, source.n_obs - 1, min(_TRIAL, source.n_obs)).astype(np.int64))
    cells = [processor.encode_rows(source.rows(number, number + 1), tokens)[0] for number in numbers.tolist()]
    drugs = np.zeros(len(cells), dtype=np.int64) if processor.use_chem_token else None
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
