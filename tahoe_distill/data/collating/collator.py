"""Cells to batches: binning, context, masking and padding, for whole batches and without touching the input."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.cells.drugs import DrugTable
from tahoe_distill.data.batch import (
    DRUG_IDS,
    EPOCH,
    EXPRESSIONS,
    GENE_IDS,
    GENES,
    ID,
    LENGTHS,
    MASKED,
    PACKED,
    SAMPLE,
    SHOWN,
    STUDENT,
    TARGET,
    TEACHER,
    column,
)
from tahoe_distill.data.collating import draws
from tahoe_distill.data.collating.augment import Augment, Cell
from tahoe_distill.data.shards.fetch import local_file
from tahoe_distill.models import GeneVocab
from tahoe_distill.models.processing_tx1 import NO_DRUG, bin_cells, log_normalize
from tahoe_distill.settings import plain

Sample = Mapping[str, Any]
# Called with ``purpose=``, of :mod:`draws`; gives the keys (C,) of a batch's cells.
Keys = Callable[..., np.ndarray]


class Tx1Collator:
    """Collate samples of Tahoe-x1 shards.

    Option names and defaults are those of upstream's ``DataCollator``; ``seed``, ``deterministic``,
    ``student_max_length``, ``augment``, ``packing`` and ``pad_to_multiple_of`` are ours.

    Args:
        vocab: A :class:`GeneVocab`.
        max_length: Context: longest row, special tokens included.
        student_max_length: Context of the student; where smaller, batches carry a student's view too.
        do_padding: Must stay true; kept because upstream's configurations name it.
        unexp_padding: Fill short cells with random unexpressed genes at 0 instead of padding.
        pad_token_id: Number of the padding token; the vocabulary's when left out.
        pad_value: Expression value of padding and special tokens.
        do_mlm: Mask genes.
        do_binning: Bin expression per cell.
        log_transform: Log-normalise instead of binning.
        target_sum: Total that ``log_transform`` scales a cell to.
        mlm_probability: Share of a cell's genes to mask, or a list to draw one from for each cell.
        mask_value: Expression value of masked genes.
        sampling: Draw a random subset where a cell exceeds the context; otherwise its first genes are taken.
        reserve_keys: Sample columns to carry along.
        keep_first_n_tokens: Special tokens at the start: never binned, masked or dropped.
        num_bins: Expression bins, the zero bin included.
        right_binning: Side of the bin edges.
        use_chem_token: Put ``<drug>`` after the first token and give ``drug_ids``.
        drug_to_id_path: JSON file of drug name to number, or upstream's ``{remote, local}``.
        seed: Seed of all randomness.
        deterministic: For evaluation: the choice of genes depends on the cell alone, masks not on the epoch.
        augment: See :class:`tahoe_distill.data.collating.augment.Augment`.
        packing: Have the models compute a batch without its padding.
        pad_to_multiple_of: Pad rows to such a length, the context at most: fewer lengths for ``torch.compile``.

    Raises:
        ValueError: For options that contradict each other or lie out of range.
    """

    def __init__(
        self,
        vocab: GeneVocab,
        max_length: int,
        *,
        student_max_length: int | None = None,
        do_padding: bool = True,
        unexp_padding: bool = False,
        pad_token_id: int | None = None,
        pad_value: float = -2,
        do_mlm: bool = True,
        do_binning: bool = True,
        log_transform: bool = False,
        target_sum: float = 10000,
        mlm_probability: float | Sequence[float] = 0.15,
        mask_value: float = -1,
        sampling: bool = True,
        reserve_keys: str | Iterable[str] = (),
        keep_first_n_tokens: int = 1,
        num_bins: int = 51,
        right_binning: bool = False,
        use_chem_token: bool = False,
        drug_to_id_path: str | os.PathLike[str] | Mapping[str, str] | None = None,
        seed: int = 17,
        deterministic: bool = False,
        augment: Mapping[str, Any] | None = None,
        packing: bool = False,
        pad_to_multiple_of: int = 1,
    ):
        self.vocab = vocab
        self.max_length = int(max_length)
        self.unexp_padding = unexp_padding
        self.pad_token_id = vocab["<pad>"] if pad_token_id is None else pad_token_id
        self.pad_value = pad_value
        self.do_mlm = do_mlm
        self.do_binning = do_binning
        self.log_transform = log_transform
        self.target_sum = target_sum
        self.mlm_probability = plain(mlm_probability)
        self.mask_value = mask_value
        self.rule = "cell" if deterministic else "random" if sampling else "first"
        self.reserve_keys = [reserve_keys] if isinstance(reserve_keys, str) else list(reserve_keys)
        self.keep_first_n_tokens = keep_first_n_tokens
        self.num_bins = num_bins
        self.right_binning = right_binning
        self.use_chem_token = use_chem_token
        self.seed = int(seed)
        self.deterministic = deterministic
        self.augment = Augment.from_options(plain(augment)) if augment else None
        carries_student = student_max_length is not None and student_max_length < self.max_length
        self.student_max_length = student_max_length if carries_student else None
        self.packing = packing
        self.pad_to_multiple_of = int(pad_to_multiple_of)
        self._check(do_padding, drug_to_id_path, student_max_length)
        self.drugs = None if drug_to_id_path is None else DrugTable.from_file(local_file(drug_to_id_path))
        # What stands at padding.
        self.fills = {GENE_IDS: self.pad_token_id, SHOWN: pad_value, TARGET: pad_value, MASKED: False}
        self._genes = np.sort([n for token, n in vocab.tokens.items() if not token.startswith("<")]).astype(np.int64)

    def _check(self, do_padding: bool, drug_to_id_path: object, student_max_length: int | None) -> None:
        keep, probabilities = self.keep_first_n_tokens, np.atleast_1d(self.mlm_probability)
        problems = {
            "do_padding: false is not supported: a batch is one tensor": not do_padding,
            "do_binning and log_transform exclude each other; switch one off": self.do_binning and self.log_transform,
            f"mlm_probability must lie between 0 and 1, found {self.mlm_probability}": self.do_mlm
            and not (probabilities.size and (probabilities > 0).all() and (probabilities < 1).all()),
            f"keep_first_n_tokens must lie in 0 … max_length - 1 ({self.max_length - 1}), found {keep}": not 0
            <= keep
            < self.max_length,
            f"student_max_length must exceed keep_first_n_tokens ({keep}), found {student_max_length}": (
                student_max_length is not None and student_max_length <= keep
            ),
            f"pad_to_multiple_of must be at least 1, found {self.pad_to_multiple_of}": self.pad_to_multiple_of < 1,
            f"num_bins must be at least 3, found {self.num_bins}": self.num_bins < 3,
            "use_chem_token needs keep_first_n_tokens of 2 or more, for <cls> and <drug>": self.use_chem_token
            and keep < 2,
            "use_chem_token needs drug_to_id_path": self.use_chem_token and drug_to_id_path is None,
            "drug_to_id_path is given, but use_chem_token is off": drug_to_id_path is not None
            and not self.use_chem_token,
            "use_chem_token needs <drug> in the vocabulary": self.use_chem_token and "<drug>" not in self.vocab,
            f"reserve_keys names {TEACHER!r}, but augmented cells have no stored teacher embedding; "
            "leave one of the two out": self.augment is not None and TEACHER in self.reserve_keys,
        }
        for message, found in problems.items():
            if found:
                raise ValueError(f"collator: {message}")

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Collate.

        Args:
            samples: Mappings with ``genes`` and ``expressions`` (n,), special token first, and other columns.

        Returns:
            Dict, cells first: ``gene`` (C, G) int64, ``expr`` (C, G) with masked positions at ``mask_value``,
            ``expr_target`` (C, G), ``gen_mask`` (C, G) bool, ``lengths`` as a list, ``packed`` where batches are to be
            computed without padding, ``drug_ids`` (C,) where used, ``student_…`` and ``student_index`` where the
            student's context is smaller, and the reserved columns.
        """
        keys = self.keys_of(samples)
        cells = self._cells(samples, keys)
        values = self._transform([raw for _, raw in cells])
        # One word a gene orders it for the context and, among those that stay, for the mask: both are random subsets.
        words = draws.words(keys(purpose=draws.GENES), max(genes.size for genes, _ in cells))
        arrays, lengths, words = self._rows(cells, values, words)
        if self.unexp_padding:
            self._fill_unexpressed(arrays, lengths, keys(purpose=draws.UNEXPRESSED))
        arrays[MASKED] = self.draw_masks(words, lengths, keys)
        drug_ids = None
        if self.drugs is not None:
            drug_ids = self.drugs.numbers(sample.get("drug", NO_DRUG) for sample in samples).astype(np.int32)
        batch = self.assemble(arrays, lengths, keys, drug_ids=drug_ids)
        return {**batch, **{key: column(samples, key) for key in self._carried(samples)}}

    def _carried(self, samples: Sequence[Sample]) -> list[str]:
        """The reserved columns, and a stored teacher embedding, which augmented cells have not."""
        if TEACHER in samples[0] and self.augment is None and TEACHER not in self.reserve_keys:
            return [*self.reserve_keys, TEACHER]
        return self.reserve_keys

    def keys_of(self, samples: Sequence[Sample]) -> Keys:
        """The keys (C,) of the samples' draws, by ``purpose``; a plain list of samples counts as epoch 0."""
        ids = [int(sample.get(SAMPLE, sample.get(ID, row))) for row, sample in enumerate(samples)]
        epochs = [0 if self.deterministic else int(sample.get(EPOCH, 0)) for sample in samples]
        return functools.partial(draws.keys, self.seed, epochs, ids)

    def _cells(self, samples: Sequence[Sample], keys: Keys) -> list[Cell]:
        """``(genes, raw expression)`` of each sample as arrays, drug token inserted and cells augmented."""
        cells = [(_array(sample[GENES]), _array(sample[EXPRESSIONS], np.float32)) for sample in samples]
        if self.use_chem_token:
            drug = self.vocab["<drug>"]
            cells = [(np.insert(genes, 1, drug), np.insert(raw, 1, self.pad_value)) for genes, raw in cells]
        if self.augment is None:
            return cells
        keep = self.keep_first_n_tokens
        rngs = draws.generators(keys(purpose=draws.AUGMENT))
        bodies = self.augment.apply([(genes[keep:], raw[keep:]) for genes, raw in cells], rngs)
        return [
            (np.concatenate([genes[:keep], body]), np.concatenate([raw[:keep], counts]))
            for (genes, raw), (body, counts) in zip(cells, bodies)
        ]

    def _transform(self, raws: list[np.ndarray]) -> list[np.ndarray]:
        """Model values of each cell's genes, special tokens left out: binned, log-normalised, or as they are."""
        bodies = [raw[self.keep_first_n_tokens :] for raw in raws]
        if self.do_binning:
            return bin_cells(bodies, self.num_bins, self.right_binning)
        return [log_normalize(body, self.target_sum) for body in bodies] if self.log_transform else bodies

    def _rows(
        self, cells: list[Cell], values: list[np.ndarray], words: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Tokens and values (C, G), padded, and the lengths (C,) of the rows; and the words of what stays."""
        keep = self.keep_first_n_tokens
        lengths = np.array([min(genes.size, self.max_length) for genes, _ in cells])
        shape = (len(cells), int(lengths.max()))
        gene = np.full(shape, self.pad_token_id, dtype=np.int64)
        target = np.full(shape, self.pad_value, dtype=np.float32)
        kept_words = words[:, : shape[1]].copy()
        for row, ((genes, raw), value, count) in enumerate(zip(cells, values, lengths)):
            gene[row, :keep], target[row, :keep] = genes[:keep], raw[:keep]
            part: np.ndarray | slice = slice(count - keep)
            if count < genes.size:
                own = words[row, keep : genes.size]
                part = draws.kept_genes(genes[keep:], own, count - keep, rule=self.rule)
                kept_words[row, keep:count] = own[part]
            gene[row, keep:count] = genes[keep:][part]
            target[row, keep:count] = value[part]
        return {GENE_IDS: gene, TARGET: target}, lengths, kept_words

    def _fill_unexpressed(self, arrays: Mapping[str, np.ndarray], lengths: np.ndarray, row_keys: np.ndarray) -> None:
        """Give rows that are not full random genes that the cell does not express, at 0; ``lengths`` grow with them."""
        gene, target = arrays[GENE_IDS], arrays[TARGET]
        width = gene.shape[1]
        for row in np.flatnonzero(lengths < width):
            start = lengths[row]
            free = np.setdiff1d(self._genes, gene[row, :start], assume_unique=True)
            picked = free[draws.smallest(draws.words(row_keys[row : row + 1], free.size)[0], width - start)]
            stop = start + picked.size
            gene[row, start:stop], target[row, start:stop] = picked, 0
            lengths[row] = stop

    def draw_masks(self, words: np.ndarray, lengths: np.ndarray, keys: Keys) -> np.ndarray:
        """(C, G) bool: the genes to mask, those with the smallest ``words`` (C, G); none where masking is off."""
        if not self.do_mlm:
            return np.zeros((len(lengths), int(lengths.max())), dtype=bool)
        shares = draws.mask_shares(self.mlm_probability, keys(purpose=draws.PROBABILITY))
        return draws.random_masks(words, lengths, self.keep_first_n_tokens, shares=shares)

    def assemble(
        self, arrays: Mapping[str, np.ndarray], lengths: np.ndarray, keys: Keys, *, drug_ids: np.ndarray | None
    ) -> dict[str, Any]:
        """A batch of rows that are chosen, binned and padded.

        Args:
            arrays: Tokens, values and masks (C, G) by their names in the batch.
            lengths: (C,) tokens of each cell.
            keys: As :meth:`keys_of` gives them.
            drug_ids: (C,) number of each cell's drug, where cells have a drug token.

        Returns:
            These, the values with the masked ones hidden, and the student's part where its context is smaller.
        """
        shown = np.where(arrays[MASKED], np.float32(self.mask_value), arrays[TARGET])
        arrays = {GENE_IDS: arrays[GENE_IDS], SHOWN: shown, TARGET: arrays[TARGET], MASKED: arrays[MASKED]}
        width = self.width(int(lengths.max()), self.max_length)
        batch: dict[str, Any] = {name: _widened(row, width, self.fills[name]) for name, row in arrays.items()}
        # Lists stay on the host, where they spare the models a look at the device.
        batch[LENGTHS] = lengths.tolist()
        if self.packing:
            batch[PACKED] = [True] * len(lengths)
        if drug_ids is not None:
            batch[DRUG_IDS] = torch.from_numpy(drug_ids)
        if self.student_max_length is None:
            return batch
        cut = draws.cut_to_context(
            arrays,
            lengths,
            self.student_max_length,
            keep=self.keep_first_n_tokens,
            row_keys=keys(purpose=draws.CONTEXT),
            rule=self.rule,
            fills=self.fills,
        )
        short = np.minimum(lengths, self.student_max_length)
        width = self.width(int(short.max()), self.student_max_length)
        fills = {f"{STUDENT}{name}": fill for name, fill in self.fills.items()}
        widened = {name: _widened(tensor.numpy(), width, fills.get(name, 0)) for name, tensor in cut.items()}
        return {**batch, **widened, f"{STUDENT}{LENGTHS}": short.tolist()}

    def width(self, longest: int, limit: int) -> int:
        """Positions of a batch's rows: ``longest``, rounded up as ``pad_to_multiple_of`` says, within ``limit``."""
        rounded = -(-longest // self.pad_to_multiple_of) * self.pad_to_multiple_of
        return max(longest, min(rounded, limit))


def _widened(rows: np.ndarray, width: int, fill: float) -> Tensor:
    """(C, G) as a tensor (C, ``width``), filled up at the end."""
    if rows.shape[1] < width:
        rows = np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=fill)
    return torch.from_numpy(rows)


def _array(value: Any, dtype: Any = None) -> np.ndarray:
    """A 1-d NumPy array of a tensor, array or list, shared with it where the type allows."""
    array = np.asarray(value.numpy() if isinstance(value, Tensor) else value, dtype=dtype)
    return array if array.ndim == 1 else array.reshape(-1)
