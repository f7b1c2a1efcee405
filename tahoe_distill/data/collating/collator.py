"""Cells to batches: binning, context, masking and padding, for whole batches and without touching the input."""

import numpy as np
import torch

from tahoe_distill.cells.drugs import DrugTable
from tahoe_distill.data.collating import draws
from tahoe_distill.data.collating.augment import Augment
from tahoe_distill.data.collating.context import chosen, student_view
from tahoe_distill.data.collating.masking import mask_shares, random_masks
from tahoe_distill.data.schema import EPOCH, EXPRESSIONS, GENES, ID, SAMPLE, TEACHER
from tahoe_distill.data.shards.fetch import local_file
from tahoe_distill.models.processing_tx1 import NO_DRUG, bin_cells, log_normalize
from tahoe_distill.settings import plain

_TENSORS = ("gene", "expr", "expr_target", "expr_raw", "gen_mask")


class Tx1Collator:
    """Collate samples of Tahoe-x1 shards.

    Option names and defaults are those of upstream's ``DataCollator``; ``seed``, ``deterministic``,
    ``student_max_length`` and ``augment`` are ours.

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

    Raises:
        ValueError: For options that contradict each other or lie out of range.
    """

    def __init__(
        self,
        vocab,
        max_length,
        *,
        student_max_length=None,
        do_padding=True,
        unexp_padding=False,
        pad_token_id=None,
        pad_value=-2,
        do_mlm=True,
        do_binning=True,
        log_transform=False,
        target_sum=10000,
        mlm_probability=0.15,
        mask_value=-1,
        sampling=True,
        reserve_keys=(),
        keep_first_n_tokens=1,
        num_bins=51,
        right_binning=False,
        use_chem_token=False,
        drug_to_id_path=None,
        seed=17,
        deterministic=False,
        augment=None,
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
        self.student_max_length = int(student_max_length) if carries_student else None
        self._check(do_padding, drug_to_id_path, student_max_length)
        self.drugs = DrugTable.from_file(local_file(drug_to_id_path)) if use_chem_token else None
        # What stands at padding in the student's view.
        self.fills = {"gene": self.pad_token_id, "expr": pad_value, "expr_target": pad_value, "gen_mask": False}
        self._genes = np.sort([n for token, n in vocab.tokens.items() if not token.startswith("<")]).astype(np.int64)

    def _check(self, do_padding, drug_to_id_path, student_max_length):
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

    def __call__(self, samples):
        """Collate.

        Args:
            samples: Mappings with ``genes`` and ``expressions`` (n,), special token first, and other columns.

        Returns:
            Dict, cells first: ``gene`` (C, G) int64, ``expr`` (C, G) with masked positions at ``mask_value``,
            ``expr_target`` (C, G), ``expr_raw`` (C, G), ``gen_mask`` (C, G) bool, ``drug_ids`` (C,) where used, the
            student's view where its context is smaller, and the reserved columns.
        """
        epochs, ids = self.identities(samples)
        cells = self._cells(samples, epochs, ids)
        values = self._transform([raw for _, raw in cells])
        # One word a gene orders it for the context and, among those that stay, for the mask: both are random subsets.
        longest = max(genes.size for genes, _ in cells)
        words = draws.words(draws.keys(self.seed, epochs, ids, draws.GENES), longest)
        arrays, words = self._rows(cells, values, words)
        if self.unexp_padding:
            self._fill_unexpressed(arrays, draws.keys(self.seed, epochs, ids, draws.UNEXPRESSED))
        lengths = arrays["lengths"]
        mask = arrays["gen_mask"] = self.draw_masks(words, lengths, epochs, ids)
        arrays["expr"] = np.where(mask, np.float32(self.mask_value), arrays["expr_target"])
        batch = {name: torch.from_numpy(arrays[name]) for name in _TENSORS}
        if self.use_chem_token:
            drugs = self.drugs.numbers(sample.get("drug", NO_DRUG) for sample in samples)
            batch["drug_ids"] = torch.from_numpy(drugs.astype(np.int32))
        batch.update(self.cut_for_student(arrays, lengths, epochs, ids))
        return {**batch, **{key: column(samples, key) for key in self._carried(samples)}}

    def _carried(self, samples):
        """The reserved columns, and a stored teacher embedding, which augmented cells have not."""
        if TEACHER in samples[0] and self.augment is None and TEACHER not in self.reserve_keys:
            return [*self.reserve_keys, TEACHER]
        return self.reserve_keys

    def identities(self, samples):
        """Epoch and dataset-wide number of each sample; a plain list of samples counts as epoch 0."""
        ids = [int(sample.get(SAMPLE, sample.get(ID, row))) for row, sample in enumerate(samples)]
        epochs = [0 if self.deterministic else int(sample.get(EPOCH, 0)) for sample in samples]
        return epochs, ids

    def _cells(self, samples, epochs, ids):
        """``(genes, raw expression)`` of each sample as arrays, drug token inserted and cells augmented."""
        cells = [(_array(sample[GENES]), _array(sample[EXPRESSIONS], np.float32)) for sample in samples]
        if self.use_chem_token:
            drug = self.vocab["<drug>"]
            cells = [(np.insert(genes, 1, drug), np.insert(raw, 1, self.pad_value)) for genes, raw in cells]
        if self.augment is None:
            return cells
        keep = self.keep_first_n_tokens
        rngs = draws.generators(draws.keys(self.seed, epochs, ids, draws.AUGMENT))
        bodies = self.augment.apply([(genes[keep:], raw[keep:]) for genes, raw in cells], rngs)
        return [
            (np.concatenate([genes[:keep], body]), np.concatenate([raw[:keep], counts]))
            for (genes, raw), (body, counts) in zip(cells, bodies)
        ]

    def _transform(self, raws):
        """Model values of each cell's genes, special tokens left out: binned, log-normalised, or as they are."""
        bodies = [raw[self.keep_first_n_tokens :] for raw in raws]
        if self.do_binning:
            return bin_cells(bodies, self.num_bins, self.right_binning)
        return [log_normalize(body, self.target_sum) for body in bodies] if self.log_transform else bodies

    def _rows(self, cells, values, words):
        """``gene``, ``expr_target``, ``expr_raw`` (C, G), padded, and ``lengths`` (C,); and the words of what stays."""
        keep = self.keep_first_n_tokens
        lengths = np.array([min(genes.size, self.max_length) for genes, _ in cells])
        shape = (len(cells), int(lengths.max()))
        gene = np.full(shape, self.pad_token_id, dtype=np.int64)
        target = np.full(shape, self.pad_value, dtype=np.float32)
        raws = np.full(shape, self.pad_value, dtype=np.float32)
        kept_words = words[:, : shape[1]].copy()
        for row, ((genes, raw), value, count) in enumerate(zip(cells, values, lengths)):
            gene[row, :keep], target[row, :keep], raws[row, :keep] = genes[:keep], raw[:keep], raw[:keep]
            part = slice(count - keep)
            if count < genes.size:
                part = chosen(genes[keep:], words[row, keep : genes.size], count - keep, self.rule)
                kept_words[row, keep:count] = words[row, keep : genes.size][part]
            gene[row, keep:count] = genes[keep:][part]
            target[row, keep:count] = value[part]
            raws[row, keep:count] = raw[keep:][part]
        return {"gene": gene, "expr_target": target, "expr_raw": raws, "lengths": lengths}, kept_words

    def draw_masks(self, words, lengths, epochs, ids):
        """(C, G) bool: the genes to mask, those with the smallest ``words`` (C, G); none where masking is off."""
        if not self.do_mlm:
            return np.zeros((len(lengths), int(lengths.max())), dtype=bool)
        shares = mask_shares(self.mlm_probability, draws.keys(self.seed, epochs, ids, draws.PROBABILITY))
        return random_masks(words, lengths, self.keep_first_n_tokens, shares)

    def cut_for_student(self, arrays, lengths, epochs, ids):
        """The student's view as :func:`student_view` gives it; empty where the student's context is not smaller."""
        if self.student_max_length is None:
            return {}
        keys = draws.keys(self.seed, epochs, ids, draws.STUDENT)
        context = (lengths, self.student_max_length, self.keep_first_n_tokens)
        return student_view(arrays, *context, keys, self.rule, self.fills)

    def _fill_unexpressed(self, arrays, keys):
        """Give rows that are not full random genes that the cell does not express, at 0."""
        width = arrays["gene"].shape[1]
        for row in np.flatnonzero(arrays["lengths"] < width):
            start = arrays["lengths"][row]
            free = np.setdiff1d(self._genes, arrays["gene"][row, :start], assume_unique=True)
            picked = free[draws.smallest(draws.words(keys[row : row + 1], free.size)[0], width - start)]
            stop = start + picked.size
            arrays["gene"][row, start:stop] = picked
            arrays["expr_target"][row, start:stop] = 0
            arrays["expr_raw"][row, start:stop] = 0
            arrays["lengths"][row] = stop


def column(samples, key):
    """A column of the samples as one tensor, or as a list where it holds text.

    Raises:
        ValueError: When a sample lacks it.
    """
    missing = [sample for sample in samples if key not in sample]
    if missing:
        raise ValueError(
            f"collator: reserve_keys names {key!r}, which the shards do not have; found {', '.join(missing[0])}"
        )
    values = [sample[key] for sample in samples]
    if isinstance(values[0], torch.Tensor):
        return torch.stack(values)
    if isinstance(values[0], np.ndarray):
        return torch.from_numpy(np.stack(values))
    return torch.tensor(values) if isinstance(values[0], (bool, int, float, np.number)) else values


def _array(value, dtype=None):
    """A 1-d NumPy array of a tensor, array or list, shared with it where the type allows."""
    array = np.asarray(value.numpy() if isinstance(value, torch.Tensor) else value, dtype=dtype)
    return array if array.ndim == 1 else array.reshape(-1)
