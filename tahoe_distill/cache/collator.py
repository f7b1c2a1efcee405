"""Samples of a teacher cache to batches: the genes that the teacher saw, and its outputs for them."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tahoe_distill.cache.record import CacheRecord, digest
from tahoe_distill.data.batch import (
    EXPRESSIONS,
    GENE_IDS,
    GENES,
    MASKED,
    TARGET,
    TEACHER,
    TEACHER_DRUG,
    TEACHER_MASKED,
    TEACHER_POOLED,
    TEACHER_ROWS,
    column,
)
from tahoe_distill.data.collating import draws
from tahoe_distill.data.collating.collator import Keys, Sample, Tx1Collator

# The collator's settings that decide which genes and values a teacher sees. The seed is not among them: a cache keeps
# the genes themselves.
_SETTINGS = (
    "max_length",
    "unexp_padding",
    "pad_value",
    "do_mlm",
    "do_binning",
    "log_transform",
    "target_sum",
    "mlm_probability",
    "mask_value",
    "keep_first_n_tokens",
    "num_bins",
    "right_binning",
    "use_chem_token",
)


def teacher_settings(collator: Tx1Collator) -> dict[str, Any]:
    """The settings of a collator that decide which genes and values a teacher sees, by name."""
    augment = None if collator.augment is None else dataclasses.asdict(collator.augment)
    return {**{name: getattr(collator, name) for name in _SETTINGS}, "augment": augment}


class CachedCollator:
    """Collate samples of a teacher cache.

    A row is the genes and values that the teacher saw, so nothing is chosen, binned or augmented again. Masks are the
    ones that the teacher saw, where it saw any; otherwise they are drawn anew each epoch.

    Args:
        collator: The :class:`Tx1Collator` of the run's configuration, which must read cells as the cache's did.
        record: The :class:`CacheRecord` of the cache.
        split: Which of the cache's splits this is.
        where: Folder of the cache, for messages.

    Raises:
        ValueError: When the configuration and the cache do not belong together; the message names each difference.
    """

    def __init__(self, collator: Tx1Collator, record: CacheRecord, split: str, *, where: str | os.PathLike[str]):
        self.settings = collator
        self.record = record
        self.vocab = collator.vocab
        self.drugs = collator.drugs
        self.reserve_keys = [key for key in collator.reserve_keys if key != TEACHER]
        if digest(self.vocab.tokens) != record.vocabulary:
            raise ValueError(f"{where}: the cache was written with another vocabulary; use the teacher's vocab.json")
        differences = _differences(teacher_settings(collator), record.collator[split])
        if differences:
            raise ValueError(
                f"{where}: the teacher saw other cells than this collator gives ({differences}); make the collator's "
                "settings those of the cache, or write the cache anew"
            )

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Collate; the batch has the keys of :class:`Tx1Collator` and ``teacher_…`` for what is stored."""
        settings, keys = self.settings, self.settings.keys_of(samples)
        genes = [np.asarray(sample[GENES]) for sample in samples]
        lengths = np.array([row.size for row in genes])
        arrays = {
            GENE_IDS: _padded(genes, lengths, settings.pad_token_id, dtype=np.int64),
            TARGET: _padded([s[EXPRESSIONS] for s in samples], lengths, settings.pad_value, dtype=np.float32),
            MASKED: self._masks(samples, lengths, keys),
        }
        drug_ids = None
        if settings.use_chem_token:
            drug_ids = np.array([int(sample[TEACHER_DRUG]) for sample in samples], dtype=np.int32)
        batch = settings.assemble(arrays, lengths, keys, drug_ids=drug_ids)
        for name in (TEACHER, TEACHER_POOLED):
            if name in samples[0]:
                batch[name] = torch.from_numpy(np.stack([sample[name] for sample in samples]))
        for name in TEACHER_ROWS.values():
            if name in samples[0]:
                rows = [sample[name] for sample in samples]
                stored = _padded(rows, lengths, 0, dtype=rows[0].dtype, width=batch[GENE_IDS].shape[1])
                batch[name] = torch.from_numpy(stored)
        return {**batch, **{key: column(samples, key) for key in self.reserve_keys}}

    def _masks(self, samples: Sequence[Sample], lengths: np.ndarray, keys: Keys) -> np.ndarray:
        if self.record.sees_masks:
            return _padded([sample[TEACHER_MASKED] for sample in samples], lengths, 0, dtype=bool)
        words = draws.words(keys(purpose=draws.GENES), int(lengths.max()))
        return self.settings.draw_masks(words, lengths, keys)


def _padded(
    rows: Sequence[np.ndarray], lengths: np.ndarray, fill: float, *, dtype: Any, width: int | None = None
) -> np.ndarray:
    array = np.full((len(rows), width or int(lengths.max())), fill, dtype=dtype)
    for target, row, length in zip(array, rows, lengths):
        target[:length] = row
    return array


def _differences(here: dict[str, Any], cached: dict[str, Any]) -> str:
    found = [f"{name}: {here[name]} here, {cached.get(name)} there" for name in here if here[name] != cached.get(name)]
    return "; ".join(found)
