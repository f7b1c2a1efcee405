"""The vocabulary of a run's student: the teacher's, an export's own, or what given shards or a file of genes need."""

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from composer.utils import dist
from streaming.base.world import World

from tahoe_distill.data.batch import GENES
from tahoe_distill.data.shards.dataset import CellStream
from tahoe_distill.data.shards.reader import CellReader, ShardError
from tahoe_distill.data.shards.writer import INDEX_FILE
from tahoe_distill.models import GeneVocab
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.training.student.build import exported_file
from tahoe_distill.training.student.pruning import kept_vocabulary
from tahoe_distill.training.student.spec import StudentSpec

log = logging.getLogger(__name__)


def student_vocabulary(spec: str | Mapping[str, Any] | StudentSpec, vocab: GeneVocab) -> GeneVocab:
    """The vocabulary of a student.

    Args:
        spec: As in :func:`student_config`.
        vocab: The teacher's, or the run's where there is no teacher.

    Returns:
        ``vocab`` itself, or a smaller :class:`GeneVocab`.

    Raises:
        FileNotFoundError: When ``path`` has no vocabulary, or ``genes`` is not there.
        ValueError: When ``genes`` cannot be read or leaves no gene.
        ShardError: When the shards of ``genes`` are damaged.
    """
    spec = StudentSpec.read(spec)
    if spec.genes is not None:
        # Processes of one machine must not unpack the same shards at once.
        with dist.run_local_rank_zero_first():
            own = pruned_vocabulary(spec.genes, vocab)
    elif spec.path is not None:
        own = GeneVocab.from_file(exported_file(spec.path, VOCAB_FILE))
    else:
        return vocab
    return vocab if own.tokens == vocab.tokens else own


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
    strangers = sorted(numbers - set(vocab.tokens.values()))
    if strangers:
        raise ValueError(
            f"{path}: the shards hold gene {strangers[0]}, which the vocabulary of {len(vocab.tokens)} tokens does not "
            "have; they were prepared with another vocabulary: prepare them with the teacher's"
        )
    return kept_vocabulary(numbers, vocab, path)


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
