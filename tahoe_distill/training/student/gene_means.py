"""First gene vectors of a student without attention: principal components of what its teacher makes of each gene."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.data.batch import EXPRESSIONS, GENES, TEACHER
from tahoe_distill.models import GeneSums, Tx1Model, Tx1Processor
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.processing_tx1 import NO_DRUG, look_up_drugs

log = logging.getLogger(__name__)

# Cells that the teacher reads at a time.
_WINDOW = 256


class GeneMeans(NamedTuple):
    """What a teacher makes of genes, on average over cells.

    Attributes:
        tokens: (T,) int64, the teacher's tokens that occurred.
        means: (T, W) float32.
        weights: (T,) float32, how much each occurred.
    """

    tokens: Tensor
    means: Tensor
    weights: Tensor


def output_means(teacher: Tx1Model, processor: Tx1Processor, samples: Iterable[Mapping[str, Any]]) -> GeneMeans:
    """A teacher's outputs by gene, averaged over cells.

    Args:
        teacher: The model.
        processor: Its processor, which bins the cells and cuts them to its context.
        samples: Cells of shards: ``genes``, special tokens first, and their counts ``expressions``.
    """
    sums = GeneSums(teacher)
    special = torch.tensor([number for token, number in processor.vocab.tokens.items() if token.startswith("<")])
    with inference(teacher):
        for window in _windows(samples):
            encoded = [processor.encode(*_genes(sample, special.numpy())) for sample in window]
            drugs = None
            if processor.use_chem_token:
                names = [sample.get("drug", NO_DRUG) for sample in window]
                drugs = look_up_drugs(names, processor.drug_to_id)
            for _, batch in teacher.batches(processor, encoded, drug_ids=drugs):
                sums.add(batch["gene_ids"], teacher(**batch).last_hidden_state)
    tokens, totals, counts = (torch.from_numpy(array) for array in sums.get())
    kept = ~torch.isin(tokens, special)
    weights = counts[kept].float()
    return GeneMeans(tokens[kept], totals[kept] / weights.unsqueeze(1), weights)


@torch.no_grad()
def table_means(teacher: Tx1Model) -> GeneMeans:
    """What a teacher reads of each gene before it sees any cell: its gene table; every gene counts alike."""
    tokens = torch.arange(teacher.config.vocab_size)
    means = teacher.gene_encoder(tokens.to(teacher.device)).float().cpu()
    return GeneMeans(tokens, means, torch.ones(len(tokens)))


def embedding_means(samples: Iterable[Mapping[str, Any]], folder: str | os.PathLike[str]) -> GeneMeans:
    """The teacher's cell embeddings by gene, averaged over the cells that express it.

    Args:
        samples: Cells of shards with ``teacher_embedding``; what stands at special tokens is negative.
        folder: Where they are from, for the message.

    Raises:
        ValueError: When they have no embedding.
    """
    kept = list(samples)
    if not kept or TEACHER not in kept[0]:
        raise ValueError(
            f"without a live teacher, model.student.init: teacher reads its cell embeddings, and the cells in {folder} "
            "have none: name a split of the teacher cache (CACHE/train) in model.student.init_cells, or set init to "
            "scratch"
        )
    vectors = torch.from_numpy(np.stack([np.asarray(sample[TEACHER], dtype=np.float32) for sample in kept]))
    vectors = vectors - vectors.mean(dim=0)
    size = 1 + max(int(np.max(sample[GENES])) for sample in kept)
    totals, weights = torch.zeros(size, vectors.shape[1]), torch.zeros(size)
    for sample, vector in zip(kept, vectors):
        genes = torch.from_numpy(np.asarray(sample[GENES], dtype=np.int64))
        weight = torch.from_numpy(np.asarray(sample[EXPRESSIONS], dtype=np.float32)).clamp(min=0).log1p()
        totals.index_add_(0, genes, weight.unsqueeze(1) * vector)
        weights.index_add_(0, genes, weight)
    tokens = weights.nonzero().squeeze(1)
    return GeneMeans(tokens, totals[tokens] / weights[tokens].unsqueeze(1), weights[tokens])


def principal_components(values: Tensor, weights: Tensor, rank: int) -> Tensor:
    """Scores on the first principal components, each row counted by its weight. No random number is drawn.

    Args:
        values: (T, W).
        weights: (T,) zero or more.
        rank: Components; at most W.

    Returns:
        (T, rank) float32, the component with most variance first.
    """
    values, share = values.double(), (weights / weights.sum()).double().unsqueeze(1)
    centred = values - (share * values).sum(dim=0)
    basis = torch.linalg.eigh(centred.T @ (share * centred)).eigenvectors[:, -rank:].flip(1)
    # An eigenvector may point either way; processes that build the same student must agree.
    basis = basis * basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)).sign()
    return (centred @ basis).float()


@torch.no_grad()
def place_genes(student: Tx1Model, found: GeneMeans, tokens: Tensor | None = None) -> str:
    """Give a student's genes their first vectors, in place.

    A gene that did not occur gets zeros, which say nothing; columns beyond the width of the means stay as they are.

    Args:
        student: A fresh ``Tx1Model``.
        found: What :func:`gene_means` gave.
        tokens: (vocab_size of the student,) int64, the teacher's token of each row of the student's gene table;
            ``None`` where both have the same vocabulary.

    Returns:
        What was done, for the log.
    """
    table, config = student.gene_encoder.embedding.weight, student.config
    rank = min(table.shape[1], found.means.shape[1])
    scores = principal_components(found.means, found.weights, rank)
    # Adam steps are as long for a large weight as for a small one, so vectors start as small as a fresh table's.
    scores *= (config.initializer_range or 1.0) / scores.square().mean().sqrt().clamp(min=1e-12)
    tokens = torch.arange(config.vocab_size) if tokens is None else tokens
    row = torch.full((int(max(tokens.max(), found.tokens.max())) + 1,), -1)
    row[found.tokens] = torch.arange(len(found.tokens))
    place = row[tokens]
    table[:, :rank] = torch.where(place.ge(0).unsqueeze(1), scores[place.clamp(min=0)], torch.zeros(()))
    line = f"gene vectors: {rank} principal components of {len(found.tokens)} genes' means"
    log.info("student from teacher: %s", line)
    return line


def _windows(samples: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    window: list[Mapping[str, Any]] = []
    for sample in samples:
        window.append(sample)
        if len(window) == _WINDOW:
            yield window
            window = []
    if window:
        yield window


def _genes(sample: Mapping[str, Any], special: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    genes = np.asarray(sample[GENES])
    kept = ~np.isin(genes, special)
    return genes[kept], np.asarray(sample[EXPRESSIONS], dtype=np.float32)[kept]
