"""A teacher that is not there: its outputs come with the batch, from a cache or from embeddings in the shards."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.cache.record import CACHE_FILE, CacheRecord, digest
from tahoe_distill.data.batch import EPOCH, TEACHER, TEACHER_POOLED, TEACHER_ROWS, teacher_view
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.shards.writer import METADATA_FILE
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.objectives import ObjectiveSet, Outputs
from tahoe_distill.teacher.load import source_fingerprint

log = logging.getLogger(__name__)

# What a cache never holds, and why.
NEVER = {
    "genes": "gene embeddings in context, (genes, width) for each cell",
    "hidden": "whole hidden states; `grain: coarse` needs their means only",
}


class CachedTeacher:
    """A teacher's outputs, read from the batch; a ``TeacherProvider`` without weights.

    Args:
        fingerprint: The teacher's, in hexadecimal; of the embeddings' origin where no teacher is known.
        embedding_size: Width of its cell embeddings.
        vocab: Its vocabulary.
        available: Fields of :class:`Outputs` that are in the batch.
        config: The teacher's dimensions, ``None`` where it is not known.
        processor: What reads its cells, ``None`` where it is not known.
        record: The :class:`CacheRecord`, ``None`` for embeddings that came with the cells.
    """

    model: Tx1Model | None = None

    def __init__(
        self,
        fingerprint: str,
        embedding_size: int,
        vocab: GeneVocab,
        *,
        available: Iterable[str] = ("cell",),
        config: Tx1Config | None = None,
        processor: Tx1Processor | None = None,
        record: CacheRecord | None = None,
    ):
        self.fingerprint = fingerprint
        self.embedding_size = embedding_size
        self.vocab = vocab
        self.available = frozenset(available)
        self.config = config
        self.processor = processor
        self.record = record

    def check(self, objectives: ObjectiveSet, *, sees_masks: bool) -> None:
        """Refuse objectives that read what the cache does not hold.

        Raises:
            ValueError: With the objective, what it needs, what there is, and the way out.
        """
        for key, objective in objectives.objectives.items():
            for need in sorted(objective.teacher_needs - self.available):
                raise ValueError(
                    f"model.objectives.{key} needs the teacher's {need!r}, which this cache lacks (it holds "
                    f"{', '.join(sorted(self.available))}): {self._way_out(need)}, or remove the objective"
                )
        if self.record is not None and sees_masks != self.record.sees_masks:
            seen, wanted = ("masked", "whole") if self.record.sees_masks else ("whole", "masked")
            raise ValueError(
                f"the cache holds what the teacher said of {seen} cells, and these objectives compare its outputs to "
                f"{wanted} ones: write the cache anew with `tahoe-distill cache` and these objectives"
            )

    def _way_out(self, need: str) -> str:
        if need in NEVER:
            return f"no cache keeps {NEVER[need]}, so train with the live teacher (remove model.teacher.cache)"
        if self.record is None:
            return "embeddings prepared from obsm have nothing else, so write a cache with `tahoe-distill cache`"
        return "write the cache anew with `tahoe-distill cache` and this objective in the configuration"

    def check_loader(self, collator: Tx1Collator | CachedCollator, columns: list[str], *, where: str) -> None:
        """Refuse a loader that does not give these outputs, or gives those of another cache.

        Raises:
            ValueError: With the setting to change.
        """
        if self.record is None:
            _check_embeddings(collator, columns, where)
        elif not isinstance(collator, CachedCollator):
            raise ValueError(
                f"the teacher's outputs are in a cache and {where} does not read it: set {where}.cache to its folder "
                "of this split, or remove model.teacher.cache"
            )
        elif collator.record.fingerprint != self.record.fingerprint:
            raise ValueError(
                f"{where}.cache is another cache ({collator.record.fingerprint[:12]}) than model.teacher.cache "
                f"({self.record.fingerprint[:12]}); name one cache in both"
            )

    def forward(self, batch: Mapping[str, Any], *, needs: frozenset[str], sees_masks: bool) -> Outputs:
        """The outputs that are in the batch."""
        if TEACHER not in batch:
            raise ValueError(
                f"the batch has no {TEACHER!r}: give the loader the cache that model.teacher.cache names "
                "(train_loader.cache, eval_loader.cache)"
            )
        view = teacher_view(batch)
        return Outputs(
            cell=batch[TEACHER],
            pooled=batch[TEACHER_POOLED] if "pooled" in needs else None,
            gene_ids=view.gene_ids,
            seen=view.gene_ids.ne(self.vocab["<pad>"]),
            masked=view.masked if sees_masks else None,
            **{field: batch[name] for field, name in TEACHER_ROWS.items() if field in needs},
        )

    def flops(self, cells: int, length: int, *, needs: frozenset[str]) -> int:
        """None: nothing is computed."""
        return 0


def _check_embeddings(collator: Tx1Collator | CachedCollator, columns: list[str], where: str) -> None:
    """Refuse a loader without embeddings that were prepared with its cells."""
    if TEACHER not in columns:
        raise ValueError(
            f"model.teacher.cache names shards with a teacher's embeddings, and {where} reads shards without: point "
            f"{where}.dataset at the same shards, or prepare these with --teacher-key"
        )
    settings = collator.settings if isinstance(collator, CachedCollator) else collator
    if settings.augment is not None:
        raise ValueError(
            f"{where}.collator.augment makes new cells, for which no teacher's embedding is stored: name the teacher "
            "that gave the others, which then labels these (model.teacher.source beside cache), or remove augment"
        )


def holds_vectors(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds prepared shards, which may carry embeddings, and no teacher cache."""
    names = (CACHE_FILE, METADATA_FILE)
    cache, metadata = (os.path.isfile(os.path.join(folder, name)) for name in names)
    return metadata and not cache


def cached_teacher(folder: str | os.PathLike[str], source: Mapping[str, Any]) -> CachedTeacher:
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
    if holds_vectors(folder):
        return _prepared(folder, os.path.join(folder, METADATA_FILE), source)
    record = CacheRecord.load(os.path.join(folder, CACHE_FILE))
    _check_source(folder, record, source)
    log.info("teacher outputs from %s, fingerprint %s", folder, record.fingerprint[:12])
    # A copy, since transformers takes keys out of what it is given.
    config = Tx1Config.from_dict(dict(record.teacher["config"]))
    processor = Tx1Processor.from_pretrained(folder)
    return CachedTeacher(
        record.teacher["fingerprint"],
        config.embedding_size,
        processor.vocab,
        available=record.stored,
        config=config,
        processor=processor,
        record=record,
    )


def first_views(folder: str | os.PathLike[str], record: CacheRecord) -> Iterator[Mapping[str, Any]]:
    """The samples of a cache that are cells as they were measured: of each cell the first view, split by split.

    Args:
        folder: What ``tahoe-distill cache`` wrote.
        record: Its record.

    Raises:
        ValueError: When its cells were mixed or thinned.
    """
    from tahoe_distill.data.shards.dataset import CellDataset

    for split, about in record.splits.items():
        if (record.collator.get(split) or {}).get("augment"):
            raise ValueError(f"{folder}: its cells were mixed or thinned before the teacher saw them, so none is real")
        dataset = CellDataset.from_options({"local": os.path.join(folder, split), "shuffle": False})
        for place in range(about["cells"]):
            sample = dataset.get_item(place)
            if not sample.get(EPOCH):
                yield sample


def _check_source(folder: str, record: CacheRecord, source: Mapping[str, Any]) -> None:
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


def _prepared(folder: str, path: str, source: Mapping[str, Any]) -> CachedTeacher:
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
            f"{folder} holds embeddings from obsm, of which no record tells whether {source['source']} gave them; "
            "leave the source out, or have teacher_provider load it, which compares"
        )
    origin = {name: metadata[name] for name in ("inputs", "arguments", "columns")}
    vocab = GeneVocab.from_file(os.path.join(folder, VOCAB_FILE))
    return CachedTeacher(digest(origin), int(encoding.rsplit(":", 1)[1]), vocab)
