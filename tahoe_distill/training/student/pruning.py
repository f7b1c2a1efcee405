"""A smaller vocabulary: the genes that occur in given shards or stand in a file, under numbers of their own."""

import json
import logging
import os

import numpy as np
import torch
from streaming.base.world import World
from torch import Tensor

from tahoe_distill.data.batch import GENES
from tahoe_distill.data.shards.dataset import CellStream
from tahoe_distill.data.shards.reader import CellReader, ShardError
from tahoe_distill.data.shards.writer import INDEX_FILE
from tahoe_distill.models import GeneVocab

log = logging.getLogger(__name__)


def pruned_vocabulary(path: str | os.PathLike[str], vocab: GeneVocab) -> GeneVocab:
    """The part of a vocabulary that shards or a list of genes need.

    Args:
        path: Folder of MDS shards on this machine, which is read whole; or a file of gene ids, with or without
            version: JSON (a list, or an object with the ids as keys) or text (one a line).
        vocab: The :class:`GeneVocab` that the shards were prepared with.

    Returns:
        A :class:`GeneVocab` of the special tokens and those genes, in the order of ``vocab``, numbered from 0, with
        the symbols of the genes that stay.

    Raises:
        FileNotFoundError: When there is neither such a folder of shards nor such a file.
        ShardError: When shards are damaged.
        ValueError: When no gene would be left, or the shards have another vocabulary.
    """
    path = os.fspath(path)
    numbers = _numbers_in_shards(path) if os.path.isdir(path) else _numbers_in_file(path, vocab)
    by_number = {number: token for token, number in vocab.tokens.items()}
    strangers = sorted(numbers - set(by_number))
    if strangers:
        raise ValueError(
            f"{path}: the shards hold gene {strangers[0]}, which the vocabulary of {len(by_number)} tokens does not "
            "have; they were prepared with another vocabulary: prepare them with the teacher's"
        )
    special = {number for number, token in by_number.items() if token.startswith("<")}
    if numbers <= special:
        raise ValueError(f"{path}: holds no gene of the vocabulary; name a folder of prepared cells, or other genes")
    tokens = {by_number[number]: place for place, number in enumerate(sorted(numbers | special))}
    pruned = GeneVocab(tokens, {symbol: gene for symbol, gene in vocab.symbols.items() if gene in tokens})
    log.info("student's vocabulary: %d of %d tokens, by %s", len(tokens), len(by_number), path)
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
    return torch.tensor(
        [vocab[token] for token in sorted(student_vocab.tokens, key=lambda token: student_vocab.tokens[token])]
    )


def _numbers_in_shards(folder: str) -> set[int]:
    if not os.path.isfile(os.path.join(folder, INDEX_FILE)):
        inside = [name for name in sorted(os.listdir(folder)) if os.path.isfile(os.path.join(folder, name, INDEX_FILE))]
        hint = f"name one of {', '.join(inside)} in it" if inside else "prepare them first (`tahoe-distill prepare`)"
        raise FileNotFoundError(f"{folder} has no {INDEX_FILE}, so it is no folder of MDS shards; {hint}")
    # Compressed shards are unpacked beside their originals, as training does too.
    stream = CellStream(local=folder, keep_zip=True)
    numbers: set[int] = set()
    for shard in stream.get_shards(World.detect(), False):
        stream.prepare_shard(shard)
        numbers.update(np.unique(_genes(shard)).tolist())
    return numbers


def _genes(shard: CellReader) -> np.ndarray:
    """Tokens of all cells of a shard, end to end."""
    cells = []
    for sample in range(shard.samples):
        columns = shard.decode_sample(shard.get_sample_data(sample))
        if GENES not in columns:
            raise ShardError(f"{shard.filename}: has no column {GENES!r}, found {', '.join(columns)}; name cell shards")
        cells.append(np.asarray(columns[GENES]).reshape(-1))
    return np.concatenate(cells) if cells else np.empty(0, dtype=np.int64)


def _numbers_in_file(path: str, vocab: GeneVocab) -> set[int]:
    names = _names(path)
    numbers = vocab.gene_tokens(names)
    unknown = [name for name, number in zip(names, numbers) if number < 0]
    if unknown:
        log.warning("%s: %d genes are not in the vocabulary, such as %s", path, len(unknown), ", ".join(unknown[:3]))
    return set(numbers[numbers >= 0].tolist())


def _names(path: str) -> list[str]:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"model.student.genes: {path} does not exist; expected a local folder of MDS shards, or a JSON or text "
            "file of gene ids"
        )
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file) if path.endswith(".json") else file.read().split()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected gene ids in JSON or text, found something else ({error})") from error
    if not isinstance(content, (dict, list)):
        raise ValueError(f"{path}: expected a JSON list of gene ids, found a {type(content).__name__}")
    # Special tokens are always kept, so those of a whole vocab.json need no mention.
    return [str(name) for name in content if not str(name).startswith("<")]
