"""A teacher that is not there: its outputs come with the batch, from a cache or from embeddings in the shards."""

import hashlib
import json
import logging
import os

from tahoe_distill.cache.record import CACHE_FILE, CacheRecord
from tahoe_distill.data.schema import METADATA_FILE, TEACHER, TEACHER_POOLED, TEACHER_ROWS
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Processor
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.objectives import Outputs
from tahoe_distill.teacher.load import source_fingerprint

log = logging.getLogger(__name__)

# What a cache never holds, and why.
NEVER = {
    "genes": "gene embeddings in context, (genes, width) for each cell",
    "hidden": "whole hidden states; `grain: coarse` needs their means only",
    "logits": "logits",
}


class CachedTeacher:
    """What a teacher said, read from the batch.

    Args:
        fingerprint: The teacher's, in hexadecimal; of the embeddings' origin where no teacher is known.
        embedding_size: Width of its cell embeddings.
        vocab: Its vocabulary.
        stored: Fields of :class:`Outputs` that are in the batch.
        config: The teacher's dimensions, ``None`` where it is not known.
        processor: What reads its cells, ``None`` where it is not known.
        record: The :class:`CacheRecord`, ``None`` for embeddings that came with the cells.
    """

    def __init__(self, fingerprint, embedding_size, vocab, stored=("cell",), config=None, processor=None, record=None):
        self.fingerprint = fingerprint
        self.embedding_size = embedding_size
        self.vocab = vocab
        self.stored = frozenset(stored)
        self.config = config
        self.processor = processor
        self.record = record

    def check(self, objectives, sees_masks):
        """Refuse objectives that read what the cache does not hold.

        Raises:
            ValueError: With the objective, what it needs, what there is, and the way out.
        """
        for key, objective in objectives.objectives.items():
            for need in sorted(objective.teacher_needs - self.stored):
                raise ValueError(
                    f"model.objectives.{key} needs the teacher's {need!r}, which this cache lacks (it holds "
                    f"{', '.join(sorted(self.stored))}): {self._way_out(need)}, or remove the objective"
                )
        if self.record is not None and sees_masks != self.record.sees_masks:
            seen, wanted = ("masked", "whole") if self.record.sees_masks else ("whole", "masked")
            raise ValueError(
                f"the cache holds what the teacher said of {seen} cells, and these objectives compare its outputs to "
                f"{wanted} ones: write the cache anew with `tahoe-distill cache` and these objectives"
            )

    def _way_out(self, need):
        if need in NEVER:
            return f"no cache keeps {NEVER[need]}, so train with the live teacher (remove model.teacher.cache)"
        if self.record is None:
            return "embeddings prepared from obsm have nothing else, so write a cache with `tahoe-distill cache`"
        return "write the cache anew with `tahoe-distill cache` and this objective in the configuration"

    def forward(self, batch, needs, sees_masks):
        """The outputs that are in the batch."""
        if TEACHER not in batch:
            raise ValueError(
                f"the batch has no {TEACHER!r}: give the loader the cache that model.teacher.cache names "
                "(train_loader.cache, eval_loader.cache)"
            )
        rows = {field: batch[name] for field, name in TEACHER_ROWS.items() if field in needs}
        seen = batch["gene"].ne(self.vocab["<pad>"])
        masked = batch["gen_mask"] if sees_masks else None
        pooled = batch[TEACHER_POOLED] if "pooled" in needs else None
        return Outputs(cell=batch[TEACHER], pooled=pooled, gene_ids=batch["gene"], seen=seen, masked=masked, **rows)

    def flops(self, cells, length, needs):
        """None: nothing is computed."""
        return 0


def cached_teacher(folder, source):
    """The teacher behind a cache.

    Args:
        folder: What ``tahoe-distill cache`` wrote, or shards that ``tahoe-distill prepare --teacher-key`` wrote.
        source: Arguments of :func:`tahoe_distill.load_teacher` that stand beside it; when they name a teacher, the
            cache must be this one's.

    Raises:
        FileNotFoundError: When the folder holds neither.
        ValueError: When the cache is another teacher's.
    """
    folder = os.fspath(folder)
    metadata = os.path.join(folder, METADATA_FILE)
    if not os.path.isfile(os.path.join(folder, CACHE_FILE)) and os.path.isfile(metadata):
        return _prepared(folder, metadata, source)
    record = CacheRecord.load(os.path.join(folder, CACHE_FILE))
    _check_source(folder, record, source)
    log.info("teacher outputs from %s, fingerprint %s", folder, record.fingerprint[:12])
    # A copy, since transformers takes keys out of what it is given.
    config = Tx1Config.from_dict(dict(record.teacher["config"]))
    processor = Tx1Processor.from_pretrained(folder)
    fingerprint = record.teacher["fingerprint"]
    return CachedTeacher(fingerprint, config.embedding_size, processor.vocab, record.stored, config, processor, record)


def _check_source(folder, record, source):
    """Compare the teacher that the run names with the cache's: by name where it would be fetched, else by its files."""
    name = source.get("source")
    if name is None:
        return
    options = {key: source[key] for key in ("size", "use_chem", "revision") if source.get(key)}
    written = {key: value for key, value in record.teacher["options"].items() if value}
    if name == record.teacher["source"] and options == written and not os.path.exists(name):
        return
    found = source_fingerprint(name, **options)
    if found != record.teacher["fingerprint"]:
        raise ValueError(
            f"{folder} is the cache of another teacher: it was written with {record.teacher['source']} (fingerprint "
            f"{record.teacher['fingerprint'][:12]}), model.teacher names {name} ({found[:12]}); write a cache of this "
            "teacher with `tahoe-distill cache`, or name the one it was written with"
        )


def _prepared(folder, path, source):
    """Embeddings that came with the cells, as ``obsm`` of the files."""
    with open(path, encoding="utf-8") as file:
        metadata = json.load(file)
    encoding = metadata["columns"].get(TEACHER)
    if encoding is None:
        raise ValueError(
            f"{folder} holds cells without a teacher's embeddings; prepare them with --teacher-key KEY, a key of obsm, "
            "or write a cache with `tahoe-distill cache`"
        )
    if source.get("source") is not None:
        raise ValueError(
            f"{folder} holds embeddings from obsm, of which nobody can tell whether {source['source']} gave them; "
            "remove model.teacher.source"
        )
    origin = {name: metadata[name] for name in ("inputs", "arguments", "columns")}
    fingerprint = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    vocab = GeneVocab.from_file(os.path.join(folder, VOCAB_FILE))
    return CachedTeacher(fingerprint, int(encoding.rsplit(":", 1)[1]), vocab)
