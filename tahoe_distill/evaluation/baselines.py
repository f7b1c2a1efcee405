"""What any model must beat, and what must fail: components, selected genes, ridge, random weights, permuted genes."""

import copy
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import anndata
import numpy as np
import torch
from anndata import AnnData
from scipy import sparse

from tahoe_distill.cells.values import COUNTS, recognise
from tahoe_distill.evaluation.bench import FOLDS, Bench
from tahoe_distill.evaluation.subjects import BASELINE, CONTROL, Pair, Subject, embed_subject
from tahoe_distill.models import GeneVocab, Tx1Model, Tx1Processor

log = logging.getLogger(__name__)

COMPONENTS = (30, 100)
VARIABLE_GENES = 2000
# Cells that ridge learns from; more add little and cost their square.
RIDGE_CELLS = 5000
PENALTIES = np.logspace(0, 5, 11)
PERMUTED, SHUFFLED, RANDOM, RIDGE = "permuted genes", "shuffled labels", "random weights", "ridge"


class LogCounts:
    """log1p of counts scaled to 10,000 a cell, over the genes that query and reference share.

    Args:
        bench: The cells.

    Raises:
        ValueError: When they share no gene.
    """

    def __init__(self, bench: Bench):
        self._bench = bench
        cells = [bench.query] if bench.reference is None else [bench.query, bench.reference]
        # Names repeat where symbols do; the first of each stands for it.
        tables = [_normalised(adata[:, ~adata.var_names.duplicated()]) for adata in cells]
        self.joined = anndata.concat(tables, join="inner", index_unique="-")
        if not self.joined.n_vars:
            raise ValueError(
                "query and reference share no gene name, so no baseline can be fitted: give both the same names "
                "(var_names), found " + " and ".join(", ".join(adata.var_names[:3]) for adata in cells)
            )

    @property
    def matrix(self) -> sparse.csr_matrix:
        """(n + m, genes): query cells first."""
        return sparse.csr_matrix(self.joined.X)

    def split(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of the query and, where there is one, of the reference."""
        count = self._bench.query.n_obs
        return vectors[:count], vectors[count:] if self._bench.reference is not None else None

    @cached_property
    def components(self) -> np.ndarray:
        """(n + m, c) principal components, as many as the cells have at most, the first ones first."""
        import scanpy

        most = min(max(COMPONENTS), self.joined.n_obs - 1, self.joined.n_vars - 1)
        if most < 1:
            return np.zeros((self.joined.n_obs, 0), dtype=np.float32)
        return scanpy.pp.pca(self.matrix, n_comps=most, random_state=self._bench.seed)

    def variable(self) -> np.ndarray:
        """(n + m, 2000) the most variable genes, by scanpy's ``seurat`` flavour."""
        import scanpy

        kept = scanpy.pp.highly_variable_genes(
            self.joined, flavor="seurat", n_top_genes=min(VARIABLE_GENES, self.joined.n_vars), inplace=False
        )["highly_variable"].to_numpy()
        return self.matrix[:, kept].toarray()


def _normalised(adata: AnnData) -> AnnData:
    import scanpy

    bare = AnnData(sparse.csr_matrix(adata.X, dtype=np.float32, copy=True), var=adata.var[[]])
    if recognise(bare.X.data[:100_000], "the cells") == COUNTS:
        scanpy.pp.normalize_total(bare, target_sum=1e4)
        scanpy.pp.log1p(bare)
    return bare


def expression_baselines(bench: Bench) -> Iterator[Subject]:
    """Principal components, highly variable genes and ridge: what needs no model."""
    counts = LogCounts(bench)
    for wanted in COMPONENTS:
        if counts.components.shape[1] >= wanted:
            name = f"{wanted} principal components"
            yield Subject(name, BASELINE, *counts.split(counts.components[:, :wanted]))
        else:
            log.warning("%d principal components left out: these cells have %d", wanted, counts.components.shape[1])
    yield Subject("highly variable genes", BASELINE, *counts.split(counts.variable()))
    if bench.query.n_obs >= 2 * FOLDS:
        yield ridge(bench, counts)


def ridge(bench: Bench, counts: LogCounts) -> Subject:
    """Ridge regression from log-counts to the teacher's vectors, its penalty by generalised cross-validation.

    Fitted on the reference; without one, each query cell is predicted by a fit on the other folds.
    """
    from sklearn.model_selection import KFold

    query, reference = counts.split(counts.matrix)
    teacher = bench.teacher
    if reference is not None and teacher.reference is not None:
        fitted = fit_ridge(reference, teacher.reference, bench.seed)
        vectors, known, penalty = fitted.predict(query), fitted.predict(reference), float(fitted.alpha_)
    else:
        vectors, known, penalties = np.empty_like(teacher.query), None, []
        for learn, judge in KFold(FOLDS, shuffle=True, random_state=bench.seed).split(query):
            fitted = fit_ridge(query[learn], teacher.query[learn], bench.seed)
            vectors[judge] = fitted.predict(query[judge])
            penalties.append(float(fitted.alpha_))
        penalty = float(np.median(penalties))
    return Subject(RIDGE, BASELINE, vectors, known, shared_space=True, about={"penalty": penalty})


def fit_ridge(matrix: Any, vectors: np.ndarray, seed: int) -> Any:
    """Ridge regression from log-counts to vectors, its penalty by generalised cross-validation.

    Args:
        matrix: (n, genes) log-counts, sparse or dense.
        vectors: (n, e) what to predict.
        seed: Says which cells are taken, where there are more than 5,000.

    Returns:
        A fitted ``sklearn.linear_model.RidgeCV``.
    """
    from sklearn.linear_model import RidgeCV

    if len(vectors) > RIDGE_CELLS:
        kept = np.sort(np.random.default_rng(seed).choice(len(vectors), RIDGE_CELLS, replace=False))
        matrix, vectors = matrix[kept], vectors[kept]
    # Far fewer cells than genes: the solution goes through their inner products, and the genes stay sparse.
    return RidgeCV(alphas=PENALTIES).fit(matrix, vectors)


def model_controls(student: Subject, bench: Bench) -> Iterator[Subject]:
    """A random student of the same shape, and the student with its genes permuted, which must lose its neighbours."""
    if student.model is None:
        return
    model, processor = student.model
    common: dict[str, Any] = {"reading": student.reading, "evaluators": frozenset({"fidelity", "annotation"})}
    pair: Pair = (_random(model, bench.seed), processor)
    yield embed_subject(pair, bench, name=f"{RANDOM} ({student.name})", role=BASELINE, **common)
    pair = (model, _permuted(processor, bench.seed))
    yield embed_subject(pair, bench, name=f"{PERMUTED} ({student.name})", role=CONTROL, expects=student.name, **common)


def label_control(bench: Bench) -> Subject:
    """The teacher's vectors beside labels in disorder, which must tell nothing."""
    teacher = bench.teacher
    return Subject(
        SHUFFLED, CONTROL, teacher.query, teacher.reference, shared_space=True, shuffled_labels=True,
        expects="teacher", evaluators=frozenset({"annotation"}),
    )  # fmt: skip


def _random(model: Tx1Model, seed: int) -> Tx1Model:
    """The same shape with weights drawn anew; biases and norms too, or it could not read expression at all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config))
        with torch.no_grad():
            for parameter in fresh.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return fresh.to(next(model.parameters()).dtype).eval()


def _permuted(processor: Tx1Processor, seed: int) -> Tx1Processor:
    """A copy that takes each gene for another; special tokens stay."""
    tokens = processor.vocab.tokens
    genes = [token for token in tokens if not token.startswith("<")]
    order = np.random.default_rng(seed).permutation(len(genes))
    shuffled = copy.copy(processor)
    shuffled.vocab = GeneVocab(
        {**tokens, **{gene: tokens[genes[place]] for gene, place in zip(genes, order, strict=True)}},
        processor.vocab.symbols,
    )
    return shuffled
