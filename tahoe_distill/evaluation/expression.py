"""How well models with an expression head fill in genes that were hidden from them.

Shapes: C cells, G genes.
"""

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.session import open_session
from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.subjects import TEACHER, Subject, bare_cells
from tahoe_distill.metrics import MaskedExpressionMSE, MaskedSpearman
from tahoe_distill.models.modeling_tx1 import inference

MASKED_SHARE = 0.15
# Ratio of the student's error to the teacher's, and what is said of it.
BANDS = ((1.5, "excellent"), (2.0, "good"))


@register_evaluator
class MaskedExpression(Evaluator):
    """Squared error (bins squared) and Spearman's correlation at the 15 % of each cell's genes that are hidden.

    Both models have the same genes of a cell hidden. ``mse_ratio`` is the student's error over the teacher's: under 1.5
    excellent, under 2.0 good. ``bins_kl`` is the divergence of the decoded bins' distribution from the observed one,
    in nats.
    """

    name = "expression"
    needs = frozenset({"model", "expression_head"})
    primary = "masked_mse"
    lower_is_better = frozenset({"masked_mse", "mse_ratio", "bins_kl"})
    of_controls = False

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        values = dict(_measure(subject, bench))
        if subject.role != TEACHER and bench.teacher.model is not None and "expression_head" in bench.teacher.offers:
            error = _measure(bench.teacher, bench)["masked_mse"]
            values["mse_ratio"] = values["masked_mse"] / error if error else float("nan")
        notes = (f"masked expression: {band(values['mse_ratio'])}",) if "mse_ratio" in values else ()
        return Scores(values, notes=notes)


def band(ratio: float) -> str:
    """What a ratio of errors is called."""
    return next((name for limit, name in BANDS if ratio < limit), "poor")


def _measure(subject: Subject, bench: Bench) -> dict[str, float]:
    """Numbers of one model; computed once for each subject."""
    key = ("expression", subject.name)
    if key not in bench.memory:
        bench.memory[key] = _masked(subject, bench)
    return bench.memory[key]


def _masked(subject: Subject, bench: Bench) -> dict[str, float]:
    cells = bare_cells(bench.query)
    error, correlation = MaskedExpressionMSE(), MaskedSpearman()
    bins = subject.pair[1].num_bins
    seen, decoded = np.zeros(bins), np.zeros(bins)
    with open_session(cells, subject.pair, Options(), **subject.reading.options) as session:
        engine = session.engine(session.options.places()[0])
        with inference(engine.model):
            for window in session.options.windows(cells.n_obs):
                for numbers, batch in engine.batches(session.cells.encode(*window), session.cells.drugs(*window)):
                    hidden = _hide(batch, numbers + window[0], session.processor, bench.seed)
                    target = batch["expression_bins"].float()
                    shown = target.masked_fill(hidden, session.processor.mask_value)
                    batch = {**batch, "expression_bins": shown.to(batch["expression_bins"].dtype), "masked": hidden}
                    found = engine.model.in_bins(engine.model(**batch, output_expression=True).expression.float())
                    found, target, hidden = (x.cpu() for x in (found, target, hidden))
                    error.update(found, target, hidden)
                    correlation.update(found, target, hidden)
                    seen += _histogram(target[hidden], bins)
                    decoded += _histogram(found[hidden], bins)
    if not error.count:
        raise NotEvaluable("no cell has genes to hide")
    return {
        "masked_mse": float(error.compute()),
        "masked_spearman": float(correlation.compute()),
        "bins_kl": _divergence(seen, decoded),
    }


def _hide(batch: dict[str, Tensor], numbers: np.ndarray, processor, seed: int) -> Tensor:
    """(C, G) True at the genes to hide; a cell's own, whatever the batch and the order of its genes."""
    genes = batch["gene_ids"].cpu().numpy()
    special = np.isin(genes, [*processor.special_tokens, processor.vocab["<pad>"]])
    # Draws by gene, so that a student that sees fewer of a cell's genes hides the same ones of them.
    draws = [np.random.default_rng([seed, int(number)]).random(len(processor.vocab)) for number in numbers]
    hidden = np.stack([draw[row] < MASKED_SHARE for draw, row in zip(draws, genes)]) & ~special
    return torch.as_tensor(hidden, device=batch["gene_ids"].device)


def _histogram(values: Tensor, bins: int) -> np.ndarray:
    whole = values.round().clamp(0, bins - 1).long().numpy()
    return np.bincount(whole, minlength=bins).astype(float)


def _divergence(seen: np.ndarray, decoded: np.ndarray) -> float:
    """``KL(seen || decoded)`` of two histograms, half a count added to each bin."""
    p, q = ((x + 0.5) / (x + 0.5).sum() for x in (seen, decoded))
    return float((p * np.log(p / q)).sum())
