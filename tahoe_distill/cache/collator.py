"""Samples of a teacher cache to batches: the genes that the teacher saw, and what it said of them."""

import numpy as np
import torch

from tahoe_distill.cache.record import seen_by_teacher, vocabulary_digest
from tahoe_distill.data.collating import draws
from tahoe_distill.data.collating.collator import column
from tahoe_distill.data.schema import (
    EXPRESSIONS,
    GENES,
    TEACHER,
    TEACHER_DRUG,
    TEACHER_MASKED,
    TEACHER_POOLED,
    TEACHER_ROWS,
)


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

    def __init__(self, collator, record, split, where):
        self.settings = collator
        self.record = record
        self.vocab = collator.vocab
        self.drugs = collator.drugs
        self.reserve_keys = [key for key in collator.reserve_keys if key != TEACHER]
        if vocabulary_digest(self.vocab) != record.vocabulary:
            raise ValueError(f"{where}: the cache was written with another vocabulary; use the teacher's vocab.json")
        differences = _differences(seen_by_teacher(collator), record.collator[split])
        if differences:
            raise ValueError(
                f"{where}: the teacher saw other cells than this collator gives ({differences}); make the collator's "
                "settings those of the cache, or write the cache anew"
            )

    def __call__(self, samples):
        """Collate; the batch has the keys of :class:`Tx1Collator` and ``teacher_…`` for what is stored."""
        settings = self.settings
        genes = [np.asarray(sample[GENES]) for sample in samples]
        lengths = np.array([row.size for row in genes])
        arrays = {
            "gene": _padded(genes, lengths, settings.pad_token_id, np.int64),
            "expr_target": _padded([s[EXPRESSIONS] for s in samples], lengths, settings.pad_value, np.float32),
        }
        epochs, ids = settings.identities(samples)
        mask = arrays["gen_mask"] = self._masks(samples, lengths, epochs, ids)
        arrays["expr"] = np.where(mask, np.float32(settings.mask_value), arrays["expr_target"])
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if settings.use_chem_token:
            batch["drug_ids"] = torch.tensor([int(sample[TEACHER_DRUG]) for sample in samples])
        batch.update(settings.cut_for_student(arrays, lengths, epochs, ids))
        for name in (TEACHER, TEACHER_POOLED):
            if name in samples[0]:
                batch[name] = torch.from_numpy(np.stack([sample[name] for sample in samples]))
        for name in TEACHER_ROWS.values():
            if name in samples[0]:
                rows = [sample[name] for sample in samples]
                batch[name] = torch.from_numpy(_padded(rows, lengths, 0, rows[0].dtype))
        return {**batch, **{key: column(samples, key) for key in self.reserve_keys}}

    def _masks(self, samples, lengths, epochs, ids):
        if self.record.sees_masks:
            return _padded([sample[TEACHER_MASKED] for sample in samples], lengths, 0, bool)
        words = draws.words(draws.keys(self.settings.seed, epochs, ids, draws.GENES), int(lengths.max()))
        return self.settings.draw_masks(words, lengths, epochs, ids)


def _padded(rows, lengths, fill, dtype):
    array = np.full((len(rows), int(lengths.max())), fill, dtype=dtype)
    for target, row, length in zip(array, rows, lengths):
        target[:length] = row
    return array


def _differences(here, cached):
    found = [f"{name}: {here[name]} here, {cached.get(name)} there" for name in here if here[name] != cached.get(name)]
    return "; ".join(found)
