"""The cells over which gene means are taken: a spaced sample of a folder of shards, read once for all processes."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from composer.utils import dist
from streaming.base.world import World

from tahoe_distill.data.shards.dataset import CellStream
from tahoe_distill.data.shards.reader import ShardError
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.training.student.gene_means import GeneMeans, embedding_means, output_means

log = logging.getLogger(__name__)

# So many cells show every gene that matters often enough; more only take longer.
CELLS = 2048


def gene_means(
    folder: str | os.PathLike[str],
    teacher: Tx1Model | None,
    processor: Tx1Processor | None,
    *,
    cells: int = CELLS,
    device: torch.device | None = None,
) -> GeneMeans:
    """Gene means over cells of a folder, the same in every process of a run.

    Of a live teacher the output for each gene, averaged over the cells whose context holds it. Where there are only a
    teacher's cell embeddings, those of the cells that express it, less their mean, weighted by the logarithm of its
    expression.

    Args:
        folder: Folder of MDS shards on this machine; with the teacher's cell embeddings (a split of a cache, or shards
            that were prepared with some) where there is no live teacher.
        teacher: The live teacher, in eval mode; ``None`` where there is none.
        processor: The teacher's processor.
        cells: How many cells to read, evenly spaced.
        device: Where the teacher is to compute; it stays there. Where it is, when left out.

    Raises:
        FileNotFoundError: When there are no such shards.
        ValueError: When the shards hold no cell embeddings and there is no live teacher.
    """
    found: list[Any] = [None]
    if dist.get_global_rank() == 0:
        try:
            samples = _samples(folder, cells)
            if teacher is not None and processor is not None:
                found = [output_means(teacher.to(device or teacher.device), processor, samples)]
            else:
                found = [embedding_means(samples, folder)]
        except (ValueError, OSError, ShardError) as error:
            # The other processes wait for an answer.
            found = [error]
    dist.broadcast_object_list(found)
    if isinstance(found[0], Exception):
        raise found[0]
    log.info("gene vectors: means of %d genes over cells of %s", len(found[0].tokens), folder)
    return found[0]


def _samples(folder: str | os.PathLike[str], count: int) -> Iterator[dict[str, Any]]:
    """At most ``count`` cells of a folder of shards, evenly spaced."""
    # Compressed shards are unpacked beside their originals, as training does too.
    stream = CellStream(local=os.fspath(folder), keep_zip=True)
    shards = stream.get_shards(World.detect(), False)
    total = sum(shard.samples for shard in shards)
    wanted = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    first = 0
    for shard in shards:
        here = [number for number in range(shard.samples) if first + number in wanted]
        first += shard.samples
        if here:
            stream.prepare_shard(shard)
        for number in here:
            yield shard.decode_sample(shard.get_sample_data(number))
