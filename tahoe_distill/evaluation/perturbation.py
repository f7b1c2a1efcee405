"""Whether a subject moves cells as its teacher does when something is done to them.

Shapes: p conditions beside the control, e width.
"""

import numpy as np
from scipy.stats import spearmanr

from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.subjects import Subject

# Fewer cells of a condition have no mean worth comparing.
MIN_CELLS = 5


@register_evaluator
class Perturbation(Evaluator):
    """A condition's shift is the mean vector of its cells minus that of the control's.

    ``effect_spearman`` is the rank agreement of the shifts' lengths. In the teacher's space also ``shift_cosine``, the
    mean cosine of a condition's two shifts, and ``retrieval``, the share of conditions whose shift is nearer (by
    cosine) to the teacher's shift of that very condition than to any other.
    """

    name = "perturbation"
    needs = frozenset({"teacher", "conditions"})
    primary = "shift_cosine"

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        names, few = _conditions(bench)
        mine, theirs = (_shifts(vectors, names, bench) for vectors in (subject.query, bench.teacher.query))
        values, tables, notes = {"conditions": float(len(names))}, {}, few
        if len(names) > 2:
            values["effect_spearman"] = float(spearmanr(*(np.linalg.norm(x, axis=1) for x in (mine, theirs))).statistic)
        if subject.shared_space:
            unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (mine, theirs)]
            cosines = unit[0] @ unit[1].T
            values["shift_cosine"] = float(np.diag(cosines).mean())
            if len(names) > 1:
                values["retrieval"] = float((cosines.argmax(axis=1) == np.arange(len(names))).mean())
            tables["shift_cosine"] = dict(zip(names.tolist(), np.diag(cosines).tolist(), strict=True))
        return Scores(values, tables=tables, notes=notes)


def _conditions(bench: Bench) -> tuple[np.ndarray, tuple[str, ...]]:
    """The conditions that have enough cells, and a note on the others."""
    names, counts = np.unique(bench.conditions[bench.conditions != ""], return_counts=True)
    enough = counts >= MIN_CELLS
    control = bench.columns.control
    if control not in names[enough]:
        raise NotEvaluable(f"the control {control!r} has fewer than {MIN_CELLS} cells")
    kept = names[enough & (names != control)]
    if not kept.size:
        raise NotEvaluable(f"no condition beside the control {control!r} has {MIN_CELLS} cells")
    few = names[~enough]
    return kept, (f"conditions of fewer than {MIN_CELLS} cells left out: {', '.join(few[:10])}",) if few.size else ()


def _shifts(vectors: np.ndarray, names: np.ndarray, bench: Bench) -> np.ndarray:
    """(p, e) in float64."""
    vectors = vectors.astype(np.float64)
    control = vectors[bench.conditions == bench.columns.control].mean(axis=0)
    return np.stack([vectors[bench.conditions == name].mean(axis=0) - control for name in names])
