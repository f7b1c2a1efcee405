"""Whether a student keeps which genes are alike in context."""

import numpy as np
import torch

from tahoe_distill.embedding import embed
from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.intervals import bootstrap, mean_of
from tahoe_distill.evaluation.subjects import KEY, Subject, bare_cells
from tahoe_distill.metrics import shared_neighbors

NEIGHBORS = 10
# Genes in fewer cells have an embedding of those cells rather than of the gene.
MIN_CELLS = 5


@register_evaluator
class Genes(Evaluator):
    """Share of each gene's ten nearest genes (cosine of mean embeddings in context) that are the teacher's too.

    Over the genes that both vocabularies hold and at least five of the cells express.
    """

    name = "genes"
    needs = frozenset({"teacher", "model", "gene_embeddings"})
    primary = "gene_overlap_10"
    of_controls = False

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        expressed = np.asarray((bench.query.X > 0).sum(axis=0)).ravel() >= MIN_CELLS
        mine, theirs = (_gene_table(x, bench) for x in (subject, bench.teacher))
        kept = expressed & np.isfinite(mine).all(axis=1) & np.isfinite(theirs).all(axis=1)
        if kept.sum() <= NEIGHBORS:
            raise NotEvaluable(f"{int(kept.sum())} genes are in both vocabularies and in {MIN_CELLS} cells; too few")
        student, teacher = (torch.as_tensor(table[kept]) for table in (mine, theirs))
        shares = (shared_neighbors(student, teacher, NEIGHBORS) / NEIGHBORS).double().numpy()
        interval = bootstrap(mean_of(shares), len(shares), seed=bench.seed)
        values = {"gene_overlap_10": float(shares.mean()), "genes_compared": float(kept.sum())}
        return Scores(values, {"gene_overlap_10": interval})


def _gene_table(subject: Subject, bench: Bench) -> np.ndarray:
    """(n_vars, D) mean embedding of each gene in context, NaN where there is none; computed once for each subject."""
    key = ("genes", subject.name)
    if key not in bench.memory:
        cells, reading = bare_cells(bench.query), subject.reading
        embed(cells, subject.pair, key_added=KEY, genes=True, progress=reading.progress, **reading.options)
        bench.memory[key] = np.asarray(cells.varm[KEY])
    return bench.memory[key]
