"""What will happen when a file is embedded, found out before it does; and the refusal where it would mean nothing."""

import logging
import time
from dataclasses import dataclass

import numpy as np

from tahoe_distill.cells.formats import Source
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.cells.values import LARGEST_LOG, complaint, require_cells
from tahoe_distill.embedding.confidence import load_confidence
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.embedding.session import Session, open_session
from tahoe_distill.embedding.summary import duration
from tahoe_distill.embedding.survey import Survey, survey_cells

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"

# Cells that are embedded first to estimate the time of all; and how long the last trial is to take.
_TRIAL, _TRIAL_SECONDS = 32, 0.7
# Closeness to the teacher whose loss is worth a warning.
_COSTLY = 0.05
# Files with fewer genes are not whole transcriptomes.
_WHOLE = 6000

log = logging.getLogger(__name__)


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
    path: Source,
    model: ModelSource,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    estimate: bool = True,
) -> list[Finding]:
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
    with open_session(path, model, layer=layer, gene_key=gene_key, symbols=symbols) as session:
        cells = session.cells
        findings = [_storage(cells.source)]
        if cells.n_obs == 0 or cells.n_vars == 0:
            text = f"{cells.n_obs} cells by {cells.n_vars} genes: nothing to embed"
            return [*findings, Finding(ERROR, "cells", text)]
        survey = survey_cells(cells.source, cells.match.tokens)
        findings += [_genes(cells.match), *_values(survey)]
        if any(finding.level == ERROR for finding in findings):
            return findings
        findings += [*_coverage(survey), *_cells(survey, session.processor), *_duplicates(survey, cells.match)]
        findings += [*_selection(cells, survey, session.processor), *_fidelity(session, survey)]
        if estimate and survey.lengths.any():
            findings.append(_estimate(session, survey))
    return findings


def check_cells_make_sense(session: Session, *, most: int | None = None) -> Survey:
    """Look at all cells before they are embedded, by the thresholds of :func:`examine`; warns where it would.

    Args:
        session: Model and cells. A forced one takes cells that have next to nothing to do with the vocabulary; values
            that no cell can have are refused all the same.
        most: Cells to look at, the first ones; ``None`` for all.

    Returns:
        What was seen: lengths, sums, and whatever one look at all cells tells.

    Raises:
        ValueError: When there are no cells, a value is none that a cell can have, the source is damaged, or the
            vectors would mean nothing.
    """
    cells = session.cells
    require_cells(cells.source)
    survey = survey_cells(cells.source, cells.tokens, closely=False, most=most)
    if survey.wrong:
        raise ValueError(f"{cells.source.where}: {complaint(survey.wrong)}")
    findings = [*_coverage(survey), *_cells(survey, session.processor)]
    errors = "; ".join(finding.text for finding in findings if finding.level == ERROR)
    if errors and not cells.force:
        raise ValueError(
            f"{cells.source.where}: {errors}. The vectors would mean nothing; pass --force (force=True) to write them "
            "all the same"
        )
    for finding in findings:
        if finding.topic == "coverage" and finding.level in (WARNING, ERROR):
            log.warning("%s: %s", cells.source.where, finding.text)
    return survey


def _storage(source):
    text = f"{source.n_obs:,} cells by {source.n_vars:,} genes, stored as {source.storage}"
    if source.storage == "csc":
        way = "in memory" if source.path is None else "through temporary files"
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
    share = survey.share
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
        text = f"{survey.twins:,} cells repeat the counts of another cell exactly"
        findings.append(Finding(WARNING, "duplicates", text))
    if match.duplicates:
        text = f"{match.duplicates:,} columns share a gene with another; their counts are added"
        findings.append(Finding(NOTE, "duplicates", text))
    return findings or [Finding(OK, "duplicates", "no cell or gene twice")]


def _selection(cells, survey, processor):
    """Panels and highly variable genes: cells that are shorter than any that the model has seen."""
    genes = sum(not token.startswith("<") for token in processor.vocab.tokens)
    if cells.n_vars >= _WHOLE or cells.match.count >= genes / 2:
        return []
    text = (
        f"{cells.n_vars:,} genes, {np.median(survey.lengths):,.0f} a cell: a selection of genes; the model reads cells "
        f"by how their genes rank, and knows {genes:,}; give it all that were measured (layer raw, where adata.raw "
        "has them)"
    )
    return [Finding(WARNING, "selection", text)]


def _fidelity(session, survey):
    """What genes that the model does not know cost in closeness to its teacher, where an export measured it."""
    try:
        trust = load_confidence(session.name)
    except ValueError:
        return []
    unknown = 1 - survey.lengths.sum() / max(survey.expressed, 1)
    cost = trust.cost_of_hiding(unknown)
    text = (
        f"{100 * unknown:.1f} % of the expressed genes are not in the vocabulary; hiding so many cost {cost:.3f} of "
        f"the {trust.closeness[0]:.3f} closeness to the teacher on {trust.cells:,} held-out cells"
    )
    return [Finding(WARNING if cost > _COSTLY else OK, "fidelity", text)]


def _estimate(session, survey):
    """Time of some of the cells, scaled to all; memory of the model and of a window."""
    cells, processor = session.cells, session.processor
    device = session.options.places()[0]
    engine = session.engine(device)
    pace, reading = _pace(session, engine)
    work = np.minimum(survey.lengths + len(processor.special_tokens), processor.max_length).sum()
    # Cells are read and computed at the same time.
    seconds = max(work / pace, cells.n_obs * reading)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in engine.model.parameters())
    window = 16 * session.options.windows(cells.n_obs)[0][1] * float(survey.lengths.mean())
    memory = weights + window + 8 * engine.model.batch_tokens * engine.model.config.intermediate_size
    vectors = 4 * cells.n_obs * engine.model.config.embedding_size
    text = f"about {duration(seconds)} on this {device.type} ({cells.n_obs / seconds:,.0f} cells/s)"
    return Finding(
        NOTE, "estimate", f"{text}, {0.5 + memory / 1e9:.1f} GB of memory, {vectors / 1e6:,.1f} MB of vectors"
    )


def _pace(session, engine):
    """Tokens a second, and seconds to read a cell: more and more of the file's own cells, for about a second."""
    most = min(session.cells.n_obs, session.options.windows(session.cells.n_obs)[0][1])
    count = min(_TRIAL, most)
    # The first batch of a model pays for what the others use.
    _timed(session, engine, min(2, most))
    while True:
        tokens, reading, seconds = _timed(session, engine, count)
        if seconds >= _TRIAL_SECONDS or count == most:
            return tokens / seconds, reading / count
        count = min(most, max(2 * count, int(count * _TRIAL_SECONDS / seconds)))


def _timed(session, engine, count):
    """Tokens of about ``count`` cells from all over the file; seconds to read them, and to compute them."""
    cells, pieces = session.cells, min(8, count)
    size = count // pieces
    starts = np.linspace(0, cells.n_obs - size, pieces).astype(np.int64).tolist()
    began = time.perf_counter()
    trial = [cell for start in starts for cell in cells.encode(start, start + size)]
    drugs = [cells.drugs(start, start + size) for start in starts]
    read = time.perf_counter()
    engine.window(trial, None if drugs[0] is None else np.concatenate(drugs))
    return sum(len(tokens) for tokens, _ in trial), read - began, time.perf_counter() - read
