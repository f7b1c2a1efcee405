"""llm-foundry's way to cells: the ``tahoe_mds`` section of a YAML to a composer DataSpec."""

import inspect
import logging
import os

from composer.core.data_spec import DataSpec
from streaming import Stream, StreamingDataLoader, StreamingDataset

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.cache.record import CACHE_FILE, CacheRecord
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.models.processing_tx1 import VOCAB_FILE, GeneVocab
from tahoe_distill.naming import check_keys
from tahoe_distill.settings import plain

log = logging.getLogger(__name__)

_LOADER = (
    "vocab",
    "cache",
    "dataset",
    "collator",
    "drop_last",
    "num_workers",
    "pin_memory",
    "prefetch_factor",
    "persistent_workers",
    "timeout",
    "unexp_padding",
)
_STREAM = set(inspect.signature(Stream).parameters)
_DATASET = set(inspect.signature(StreamingDataset).parameters) - {"batch_size", "stream_name", "stream_config"}
# Named in upstream's configurations, without a meaning for the loader.
_IGNORED_COLLATOR = ("data_style", "use_junk_tokens")
_COLLATOR = set(inspect.signature(Tx1Collator).parameters) - {"vocab"} | set(_IGNORED_COLLATOR)


def build_tahoe_mds_dataloader(
    *,
    dataset,
    collator,
    device_batch_size,
    vocab=None,
    cache=None,
    tokenizer=None,
    num_workers=2,
    drop_last=False,
    prefetch_factor=None,
    pin_memory=False,
    persistent_workers=True,
    timeout=0,
    unexp_padding=None,
    **unknown,
):
    """Build the loader; llm-foundry calls this with the YAML's keys.

    Args:
        dataset: ``streams`` by name, or ``remote``/``local``/``split`` of one; and ``StreamingDataset``'s options.
        collator: Options of :class:`Tx1Collator`. ``deterministic`` defaults to the opposite of ``dataset.shuffle``
            and ``seed`` to ``dataset.shuffle_seed``.
        device_batch_size: Cells a batch on this device.
        vocab: Path of ``vocab.json``; beside the first stream's folder, or one above it, when left out.
        cache: Folder of one split of a teacher cache, read instead of the dataset's own shards.
        tokenizer: Not used: cells have no text.
        num_workers: Worker processes.
        drop_last: Leave out a last batch that is not full.
        prefetch_factor: Batches that a worker prepares ahead.
        pin_memory: Collate into page-locked memory.
        persistent_workers: Keep workers between epochs.
        timeout: Seconds to wait for a worker's batch; 0 waits for ever.
        unexp_padding: Upstream's place for the collator's option of that name.
        **unknown: Refused.

    Raises:
        ValueError: For an unknown key at any level, with the closest known one; for a cache that was written with
            other settings than these.
        ShardError: When shards are missing or damaged.
    """
    check_keys(unknown, _LOADER, "train_loader")
    if unexp_padding is not None:
        collator = {"unexp_padding": unexp_padding, **plain(collator)}
    cells, collate = read_sections(dataset, collator, device_batch_size, vocab, cache)
    workers = {"prefetch_factor": prefetch_factor, "persistent_workers": persistent_workers} if num_workers else {}
    loader = StreamingDataLoader(
        cells,
        batch_size=device_batch_size,
        collate_fn=collate,
        num_workers=num_workers,
        drop_last=drop_last,
        pin_memory=pin_memory,
        timeout=timeout if num_workers else 0,
        **workers,
    )
    return DataSpec(dataloader=loader, get_num_samples_in_batch=count_cells)


def read_sections(dataset, collator, device_batch_size, vocab=None, cache=None):
    """The data set and the collator of a loader; the arguments are those of :func:`build_tahoe_mds_dataloader`.

    Returns:
        A :class:`CellDataset`, and a :class:`Tx1Collator` or, with ``cache``, a :class:`CachedCollator`.
    """
    dataset, collator = plain(dataset), plain(collator)
    _check_sections(dataset, collator)
    collator.setdefault("deterministic", not dataset.get("shuffle", False))
    collator.setdefault("seed", dataset.get("shuffle_seed", 17))
    if cache is None:
        cells = _dataset(dataset, device_batch_size)
        return cells, _collator(collator, _vocab(vocab, cells))
    folder, split, record = _cache_record(cache)
    own = {name: value for name, value in dataset.items() if name not in ("streams", "remote", "local", "split")}
    cells = _dataset({**own, "local": os.fspath(cache)}, device_batch_size)
    base = _collator(collator, _vocab(vocab, cells))
    return cells, CachedCollator(base, record, split, folder)


def _cache_record(cache):
    folder = os.path.dirname(os.path.abspath(cache))
    record = CacheRecord.load(os.path.join(folder, CACHE_FILE))
    name = os.path.basename(os.path.abspath(cache))
    if name not in record.splits:
        raise ValueError(f"{folder} is a teacher cache of {', '.join(record.splits)}; found no {name!r} there")
    return folder, name, record


def count_cells(batch):
    """Cells of a batch, which resumption counts; every entry must agree.

    Raises:
        ValueError: When an entry has another length.
    """
    cells = len(batch["gene"])
    odd = {name: len(value) for name, value in batch.items() if len(value) != cells}
    if odd:
        raise ValueError(f"a batch of {cells} cells has entries of other lengths: {odd}; each entry needs one per cell")
    return cells


def _check_sections(dataset, collator):
    check_keys(dataset, _DATASET, "dataset")
    for name, section in (dataset.get("streams") or {}).items():
        check_keys(section, _STREAM, f"dataset.streams.{name}")
    check_keys(collator, _COLLATOR, "collator")
    if "max_length" not in collator:
        raise ValueError("collator needs max_length, the context of the teacher")


def _dataset(options, batch_size):
    if options.pop("allow_unsafe_types", False):
        log.warning("dataset.allow_unsafe_types is ignored: pickled columns are read without running them")
    given = {name: value for name, value in options.items() if value is not None}
    return CellDataset.from_options({**given, "batch_size": batch_size})


def _collator(options, vocab):
    return Tx1Collator(vocab, **{name: value for name, value in options.items() if name not in _IGNORED_COLLATOR})


def _vocab(vocab, cells):
    if vocab is not None:
        return vocab if isinstance(vocab, GeneVocab) else GeneVocab.from_file(os.fspath(vocab))
    folder = os.path.join(cells.streams[0].local, cells.streams[0].split).rstrip(os.sep)
    for place in (folder, os.path.dirname(folder)):
        path = os.path.join(place, VOCAB_FILE)
        if os.path.isfile(path):
            return GeneVocab.from_file(path)
    raise ValueError(f"no {VOCAB_FILE} in or beside {folder}; name it with vocab")
