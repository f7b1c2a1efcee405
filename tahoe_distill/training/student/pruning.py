"""A smaller vocabulary, under numbers of its own, and the way from the teacher's tokens to it and back."""

import logging
from collections.abc import Set

import torch
from torch import Tensor

from tahoe_distill.models import GeneVocab

log = logging.getLogger(__name__)


def kept_vocabulary(numbers: Set[int], vocab: GeneVocab, where: str) -> GeneVocab:
    """The part of a vocabulary that some genes need.

    Args:
        numbers: Tokens of the genes to keep; special ones are always kept.
        vocab: The :class:`GeneVocab` that they are of.
        where: Where the genes were found, for messages.

    Returns:
        A :class:`GeneVocab` of the special tokens and those genes, in the order of ``vocab``, numbered from 0, with
        the symbols of the genes that stay.

    Raises:
        ValueError: When no gene would be left.
    """
    by_number = {number: token for token, number in vocab.tokens.items()}
    special = {number for number, token in by_number.items() if token.startswith("<")}
    if numbers <= special:
        raise ValueError(f"{where}: holds no gene of the vocabulary; name a folder of prepared cells, or other genes")
    tokens = {by_number[number]: place for place, number in enumerate(sorted(numbers | special))}
    pruned = GeneVocab(tokens, {symbol: gene for symbol, gene in vocab.symbols.items() if gene in tokens})
    log.info("student's vocabulary: %d of %d tokens, by %s", len(tokens), len(by_number), where)
    return pruned


def token_lookup(vocab: GeneVocab, student_vocab: GeneVocab) -> Tensor:
    """The student's token for each of the teacher's.

    Args:
        vocab: The teacher's :class:`GeneVocab`, of ``V`` tokens.
        student_vocab: The student's, each of whose tokens the teacher knows.

    Returns:
        (V,) int64; the student's ``<pad>`` where it does not know the token.

    Raises:
        ValueError: When the student has tokens that the teacher lacks.
    """
    lookup = torch.full((len(vocab),), student_vocab["<pad>"], dtype=torch.int64)
    lookup[teacher_tokens(vocab, student_vocab)] = torch.tensor(sorted(student_vocab.tokens.values()))
    return lookup


def teacher_tokens(vocab: GeneVocab, student_vocab: GeneVocab) -> Tensor:
    """The teacher's token for each of the student's, int64, in the order of the student's numbers.

    Raises:
        ValueError: When the student has tokens that the teacher lacks.
    """
    missing = [token for token in student_vocab.tokens if token not in vocab]
    if missing:
        raise ValueError(
            f"the student knows {len(missing)} tokens that its teacher lacks ({', '.join(missing[:3])}); give it a "
            "teacher whose vocabulary has them, or start a student of this teacher's vocabulary"
        )
    tokens = sorted(student_vocab.tokens, key=lambda token: student_vocab.tokens[token])
    return torch.tensor([vocab[token] for token in tokens])
