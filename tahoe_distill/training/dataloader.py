"""llm-foundry's way to cells: the ``tahoe_mds`` section of a YAML to a composer DataSpec."""

import inspect
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from composer.core.data_spec import DataSpec
from composer.utils import dist, get_device
from streaming import Stream, StreamingDataLoader, StreamingDataset

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.cache.record import CACHE_FILE, CacheRecord
from tahoe_distill.data.batch import count_cells
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.collating.microbatches import TokenSplitter
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.data.shards.writer import METADATA_FILE
from tahoe_distill.models.processing_tx1 import VOCAB_FILE, GeneVocab
from tahoe_distill.naming import check_keys
from tahoe_distill.settings import plain
from tahoe_distill.training.resume.interruption import leave_signals_to_parent
from tahoe_distill.training.teacher_provider import teacher_vocab

log = logging.getLogger(__name__)

# As in the YAML: a path, or a teacher to take it from.
Vocab = GeneVocab | str | os.PathLike[str] | Mapping[str, Any]

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
    "packing",
    "device_train_batch_tokens",
)
_STREAM = set(inspect.signature(Stream).parameters)
_DATASET = set(inspect.signature(StreamingDataset).parameters) - {"batch_size", "stream_name", "stream_config"}
# Named in upstream's configurations, without a meaning for the loader.
_IGNORED_COLLATOR = ("data_style", "use_junk_tokens")
_COLLATOR = set(inspect.signature(Tx1Collator).parameters) - {"vocab"} | set(_IGNORED_COLLATOR)


def build_tahoe_mds_dataloader(
    *,
    dataset: Mapping[str, Any],
    collator: Mapping[str, Any],
    device_batch_size: int,
    vocab: Vocab | None = None,
    cache: str | os.PathLike[str] | None = None,
    tokenizer: object = None,
    num_workers: int = 2,
    drop_last: bool = False,
    prefetch_factor: int | None = None,
    pin_memory: bool = False,
    persistent_workers: bool = True,
    timeout: float = 0,
    unexp_padding: bool | None = None,
    packing: bool = False,
    device_train_batch_tokens: int | None = None,
    **unknown: Any,
) -> DataSpec:
    """Build the loader; llm-foundry calls this with the YAML's keys.

    Args:
        dataset: ``streams`` by name, or ``remote``/``local``/``split`` of one; and ``StreamingDataset``'s options. A
            stream that is null is left out.
        collator: Options of :class:`Tx1Collator`. ``deterministic`` defaults to the opposite of ``dataset.shuffle``
            and ``seed`` to ``dataset.shuffle_seed``.
        device_batch_size: Cells a batch on this device.
        vocab: The vocabulary, or the path of ``vocab.json``. When left out, that which lies beside the first stream's
            folder; a mapping names a teacher, as ``model.teacher`` does, to take it from where none lies there.
        cache: Folder of one split of a teacher cache, read instead of the dataset's own shards.
        tokenizer: Not used: cells have no text.
        num_workers: Worker processes.
        drop_last: Leave out a last batch that is not full.
        prefetch_factor: Batches that a worker prepares ahead.
        pin_memory: Collate into page-locked memory.
        persistent_workers: Keep workers between epochs.
        timeout: Seconds to wait for a worker's batch; 0 waits for ever.
        unexp_padding: Upstream's place for the collator's option of that name.
        packing: Have the models compute a batch without its padding.
        device_train_batch_tokens: Tokens that a device computes at once, instead of cells; with ``packing`` only.
        **unknown: Refused.

    Raises:
        ValueError: For an unknown key at any level, with the closest known one; for a cache that was written with
            other settings than these.
        ShardError: When shards are missing or damaged.
    """
    check_keys(unknown, _LOADER, "tahoe_mds")
    if num_workers:
        _check_temporary_folder()
    if unexp_padding is not None:
        collator = {"unexp_padding": unexp_padding, **plain(collator)}
    if packing:
        collator = {**plain(collator), "packing": True}
    splitter = _splitter(device_train_batch_tokens, plain(collator))
    cells, collate = read_sections(dataset, collator, device_batch_size, vocab=vocab, cache=cache)
    workers = {"prefetch_factor": prefetch_factor, "persistent_workers": persistent_workers} if num_workers else {}
    loader = StreamingDataLoader(
        cells,
        batch_size=device_batch_size,
        collate_fn=collate,
        num_workers=num_workers,
        drop_last=drop_last,
        pin_memory=pin_memory,
        timeout=timeout if num_workers else 0,
        worker_init_fn=leave_signals_to_parent,
        **workers,
    )
    return DataSpec(dataloader=loader, get_num_samples_in_batch=count_cells, split_batch=splitter)


def _splitter(tokens: int | None, collator: Mapping[str, Any]) -> TokenSplitter | None:
    """What divides a batch by tokens, ``None`` for Composer's own way, which counts cells."""
    if tokens is None:
        return None
    if not collator.get("packing"):
        raise ValueError("device_train_batch_tokens counts tokens without padding: set packing: true beside it")
    if tokens < (context := collator.get("max_length", 0)):
        raise ValueError(f"device_train_batch_tokens must hold a cell of max_length ({context}), found {tokens}")
    return TokenSplitter(tokens, _most_of_all_processes)


def _most_of_all_processes(count: int) -> int:
    if dist.get_world_size() == 1:
        return count
    most = get_device(None).tensor_to_device(torch.tensor(count))
    dist.all_reduce(most, reduce_operation="MAX")
    return int(most)


def _check_temporary_folder() -> None:
    """Refuse a folder whose sockets would have too long a path: workers would fall silent and the run wait for ever."""
    folder = tempfile.gettempdir()
    # Linux's limit is 107; multiprocessing adds /pymp-12345678/listener-12345678.
    if len(os.fsencode(folder)) > 107 - 32:
        raise ValueError(
            f"the folder for temporary files is {folder}, {len(os.fsencode(folder))} characters; workers that load "
            "data talk over sockets in it, which takes at most 75. Set TMPDIR to a shorter one, or num_workers: 0"
        )


def check_loader(section: Mapping[str, Any], where: str) -> None:
    """Refuse what a loader's section of a YAML cannot say, by the section's own name.

    Args:
        section: The section, with the keys of :func:`build_tahoe_mds_dataloader`.
        where: Its name, such as ``eval_loader``.

    Raises:
        ValueError: For an unknown key at any level, with the closest known one; for one that is missing.
    """
    check_keys({key: None for key in section if key not in ("name", "label")}, _LOADER, where)
    for part in ("dataset", "collator"):
        if not section.get(part):
            raise ValueError(f"{where} needs {part}, a section of its own")
    _check_sections(_plain_dataset(section["dataset"]), plain(section["collator"]), f"{where}.")


def recorded_cells(section: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a loader's cells are, as ``prepare`` wrote it beside them; no paths, since a student's card repeats it.

    Args:
        section: The loader's section of a YAML.

    Returns:
        ``cells`` and the ``files`` they come from; ``None`` where nothing is written beside the shards.
    """
    dataset = _plain_dataset(section.get("dataset") or {})
    cells, files = 0, []
    for stream in (dataset.get("streams") or {"": dataset}).values():
        folder = Path(stream.get("local") or "", stream.get("split") or "")
        try:
            metadata = json.loads((folder.parent / METADATA_FILE).read_text(encoding="utf-8"))
            cells += int(metadata["cells"][folder.name])
            files += [os.path.basename(item["path"]) for item in metadata["inputs"]]
        # Shards of other makers have no such file, or one of their own.
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return {"cells": cells, "files": sorted(set(files))}


def read_sections(
    dataset: Mapping[str, Any],
    collator: Mapping[str, Any],
    device_batch_size: int,
    *,
    vocab: Vocab | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> tuple[CellDataset, Tx1Collator | CachedCollator]:
    """The data set and the collator of a loader; the arguments are those of :func:`build_tahoe_mds_dataloader`.

    Returns:
        A :class:`CellDataset`, and a :class:`Tx1Collator` or, with ``cache``, a :class:`CachedCollator`.
    """
    dataset = _plain_dataset(dataset)
    _check_sections(dataset, plain(collator))
    own = {"deterministic": not dataset.get("shuffle", False), "seed": dataset.get("shuffle_seed", 17)}
    collator = {**own, **plain(collator)}
    if cache is None:
        cells = _dataset(dict(dataset), device_batch_size)
        return cells, _collator(collator, _checked_vocab(vocab, cells))
    folder, split, record = _cache_record(cache)
    rest = {name: value for name, value in dataset.items() if name not in ("streams", "remote", "local", "split")}
    cells = _dataset({**rest, "local": os.fspath(cache)}, device_batch_size)
    base = _collator(collator, _checked_vocab(vocab, cells))
    return cells, CachedCollator(base, record, split, where=folder)


def _cache_record(cache: str | os.PathLike[str]) -> tuple[str, str, CacheRecord]:
    folder = os.path.dirname(os.path.abspath(cache))
    record = CacheRecord.load(os.path.join(folder, CACHE_FILE))
    name = os.path.basename(os.path.abspath(cache))
    if name not in record.splits:
        raise ValueError(f"{folder} is a teacher cache of {', '.join(record.splits)}; found no {name!r} there")
    return folder, name, record


def _plain_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The section without streams that are null: so a run leaves out one of the configuration that it builds on."""
    found = plain(dataset)
    if found.get("streams"):
        found["streams"] = {name: section for name, section in found["streams"].items() if section is not None}
    return found


def _check_sections(dataset: Mapping[str, Any], collator: Mapping[str, Any], where: str = "") -> None:
    check_keys(dataset, _DATASET, f"{where}dataset")
    for name, section in (dataset.get("streams") or {}).items():
        check_keys(section, _STREAM, f"{where}dataset.streams.{name}")
    check_keys(collator, _COLLATOR, f"{where}collator")
    if "max_length" not in collator:
        raise ValueError(f"{where}collator needs max_length, the context of the teacher")


def _dataset(options: dict[str, Any], batch_size: int) -> CellDataset:
    if options.pop("allow_unsafe_types", False):
        log.warning("dataset.allow_unsafe_types is ignored: pickled columns are read without running them")
    given = {name: value for name, value in options.items() if value is not None}
    return CellDataset.from_options({**given, "batch_size": batch_size})


def _collator(options: Mapping[str, Any], vocab: GeneVocab) -> Tx1Collator:
    return Tx1Collator(vocab, **{name: value for name, value in options.items() if name not in _IGNORED_COLLATOR})


def _checked_vocab(vocab: Vocab | None, cells: CellDataset) -> GeneVocab:
    found = _vocab(vocab, cells)
    shards: Any = cells.shards
    for shard in shards:
        shard.vocab_size = len(found)
    return found


def _vocab(vocab: Vocab | None, cells: CellDataset) -> GeneVocab:
    if vocab is not None and not isinstance(vocab, Mapping):
        return vocab if isinstance(vocab, GeneVocab) else GeneVocab.from_file(os.fspath(vocab))
    folder = os.path.join(cells.streams[0].local, cells.streams[0].split).rstrip(os.sep)
    for place in (folder, os.path.dirname(folder)):
        path = os.path.join(place, VOCAB_FILE)
        if os.path.isfile(path):
            return GeneVocab.from_file(path)
    if vocab is not None:
        return teacher_vocab(plain(vocab))
    raise ValueError(f"no {VOCAB_FILE} in or beside {folder}; name it with vocab, or name a teacher to take it from")
