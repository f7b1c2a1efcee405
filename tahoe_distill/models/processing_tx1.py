"""From cells to model inputs: vocabulary, binning, choice of genes, padding. Shared by training and serving."""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from transformers import BatchFeature
from transformers.feature_extraction_utils import FeatureExtractionMixin
from transformers.utils import cached_file

# Tokens and values of one cell, special tokens first.
Cell = tuple[np.ndarray, np.ndarray]

VOCAB_FILE = "vocab.json"
SYMBOLS_FILE = "gene_symbols.json"
# What an export says of how far to trust its vectors.
CONFIDENCE_FILE = "confidence.json"
# Columns of ``var`` that are looked at beside its index.
GENE_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "feature_id", "feature_ids")
SYMBOL_COLUMNS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "symbols", "feature_name", "hgnc")
# Name of the drug number that means no drug, or one that nobody knows.
NO_DRUG = "<pad>"

# What references of several genomes put before each name.
_GENOME = re.compile(r"^(GRCh3[78]|hg19|hg38)_+")

log = logging.getLogger(__name__)


class GeneVocab:
    """Tokens and their numbers, and optionally gene symbols.

    Args:
        tokens: Token to number; genes by Ensembl id, special tokens in angle brackets.
        symbols: Gene symbol to Ensembl id.

    Raises:
        ValueError: When numbers repeat or ``<pad>`` or ``<cls>`` is missing.
    """

    def __init__(self, tokens: Mapping[str, int], symbols: Mapping[str, str] | None = None):
        self.tokens = dict(tokens)
        self.symbols = dict(symbols or {})
        self._genes = {token: number for token, number in self.tokens.items() if not token.startswith("<")}
        if len(set(self.tokens.values())) != len(self.tokens):
            raise ValueError(f"the vocabulary gives one number to several of its {len(self.tokens)} tokens")
        missing = [token for token in ("<pad>", "<cls>") if token not in self.tokens]
        if missing:
            raise ValueError(f"the vocabulary lacks {' and '.join(missing)}; found {len(self.tokens)} tokens")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "GeneVocab":
        """Read ``vocab.json``, and the symbols beside it where there are any.

        Raises:
            ValueError: When the file is not a JSON object of token to number.
        """
        tokens = _read_json_object(path)
        bad = [token for token, number in tokens.items() if type(number) is not int or number < 0]
        if bad:
            raise ValueError(
                f"{path}: expected a number from 0 for each token, found {tokens[bad[0]]!r} for {bad[0]!r}"
            )
        beside = os.path.join(os.path.dirname(path), SYMBOLS_FILE)
        symbols = _read_json_object(beside) if os.path.isfile(beside) else {}
        bad = [name for name, gene in symbols.items() if not isinstance(gene, str)]
        if bad:
            raise ValueError(
                f"{beside}: expected an Ensembl id for each symbol, found {symbols[bad[0]]!r} for {bad[0]!r}"
            )
        return cls(tokens, symbols)

    def save(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write ``vocab.json`` (and the symbols) into ``folder``; return the paths."""
        contents = {VOCAB_FILE: self.tokens, **({SYMBOLS_FILE: self.symbols} if self.symbols else {})}
        paths = [os.path.join(folder, name) for name in contents]
        for path, content in zip(paths, contents.values()):
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(content))
        return paths

    def __len__(self) -> int:
        return max(self.tokens.values()) + 1

    def __contains__(self, token: object) -> bool:
        return token in self.tokens

    def __getitem__(self, token: str) -> int:
        return self.tokens[token]

    @property
    def naming(self) -> str:
        """What its genes are called, with an example, such as ``human Ensembl ids such as ENSG00000141510``."""
        genes = [token for token in self.tokens if not token.startswith("<")]
        ids = sum(gene.startswith("ENSG") for gene in genes)
        kind = "human Ensembl ids" if 2 * ids >= len(genes) else "gene symbols"
        return f"{kind} such as {genes[0]}" if genes else "genes, of which it has none"

    def gene_tokens(self, names: Iterable[Any]) -> np.ndarray:
        """Numbers of ``names`` as int64, -1 where unknown; see :meth:`find_genes`."""
        return self.find_genes(names)[0]

    def find_genes(self, names: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of gene names.

        A name is an Ensembl id, with or without a version suffix, or a symbol that the vocabulary has a table for.
        Blanks around it, a genome before it (``GRCh38_``) and capitals where the table has small letters are forgiven;
        small letters where it has capitals are not, since that is how other species write their genes. Special tokens
        are not genes and count as unknown.

        Args:
            names: Gene names.

        Returns:
            Numbers (n,) int64, -1 where unknown, and (n,) bool: found by its symbol.
        """
        names = [str(name) for name in names]
        numbers = np.fromiter((self._genes.get(name, -1) for name in names), dtype=np.int64, count=len(names))
        by_symbol = np.zeros(len(names), dtype=bool)
        unknown = np.flatnonzero(numbers < 0)
        capitals = self._capitals() if unknown.size else {}
        for place in unknown:
            gene, by_symbol[place] = self._find(names[place], capitals)
            numbers[place] = self._genes.get(gene, -1)
        return numbers, by_symbol

    def _find(self, name, capitals):
        """Token of a gene name or ``None``, and whether the name is a symbol of it."""
        bare = _GENOME.sub("", name.strip())
        for candidate in dict.fromkeys((name, bare, bare.upper() if bare.upper().startswith("ENSG") else bare)):
            for gene in (candidate, candidate.partition(".")[0]):
                if gene in self._genes:
                    return gene, False
        plain = bare.upper().partition(".")[0] if bare.upper().startswith("ENSG") else bare
        for candidate in dict.fromkeys((name, bare, capitals.get(bare, bare), plain)):
            if candidate in self._genes:
                return candidate, False
            if self.symbols.get(candidate) in self._genes:
                return self.symbols[candidate], True
        return None, False

    def _capitals(self):
        """``{C1ORF112: C1orf112}``: names with small letters by how they look without, where that is one name."""
        mixed = [name for name in (*self._genes, *self.symbols) if name != name.upper()]
        found = {}
        for name in mixed:
            found[name.upper()] = name if found.get(name.upper(), name) == name else None
        return {capital: name for capital, name in found.items() if name is not None}

    def match(self, var: Any, gene_key: str | None = None) -> tuple[str | None, np.ndarray, np.ndarray]:
        """The column of a gene table that tells best which gene each row is.

        The index and the usual columns are compared; a name that is an id counts twice as much as one that is a symbol.

        Args:
            var: Table (pandas) of the genes, one row each.
            gene_key: Column with the names, when it is to be no other.

        Returns:
            The column's name (``None`` for the index), numbers (n,) int64, -1 where unknown, and (n,) bool: found by
            its symbol.

        Raises:
            ValueError: When ``gene_key`` is not a column.
        """
        matches = {}
        for column in gene_columns(var, gene_key):
            numbers, by_symbol = self.find_genes(var.index if column is None else var[column])
            if (numbers >= 0).all() and not by_symbol.any():
                return column, numbers, by_symbol
            matches[column] = numbers, by_symbol
        best = max(matches, key=lambda column: 2 * (matches[column][0] >= 0).sum() - matches[column][1].sum())
        return best, *matches[best]


def gene_columns(var: Any, gene_key: str | None = None) -> list[str | None]:
    """Where names of genes may stand in a gene table: ``None`` for its index, then columns.

    Raises:
        ValueError: When ``gene_key`` is not a column.
    """
    if gene_key is None:
        return [None, *(name for name in (*GENE_ID_COLUMNS, *SYMBOL_COLUMNS) if name in var.columns)]
    if gene_key not in var.columns:
        raise ValueError(f"var has no column {gene_key!r}; found {', '.join(map(str, var.columns)) or 'none'}")
    return [gene_key]


def look_up_drugs(names: Iterable[Any], table: Mapping[str, int] | None, warned: set[str] | None = None) -> np.ndarray:
    """Numbers of drugs; a name that the table lacks counts as no drug, with a warning that names it.

    Args:
        names: Drug names.
        table: Drug name to number; ``<pad>`` is the number of no drug, 0 where it lacks that.
        warned: Set of names that were warned of before; the new ones are added to it.

    Returns:
        (n,) int64 numbers.
    """
    warned = set() if warned is None else warned
    names, table = [str(name) for name in names], table or {}
    unknown = sorted({name for name in names if name not in table} - warned - {NO_DRUG})
    if unknown:
        warned.update(unknown)
        log.warning("%d drugs are unknown to the model and count as no drug: %s", len(unknown), ", ".join(unknown[:5]))
    nothing = table.get(NO_DRUG, 0)
    return np.array([table.get(name, nothing) for name in names], dtype=np.int64)


def _read_json_object(path):
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found a {type(content).__name__}")
    return content


def bin_expression(values: ArrayLike, num_bins: int = 51, right: bool = False) -> np.ndarray:
    """Bin one cell's expression into 1 … ``num_bins - 1`` by quantiles of its own nonzero values.

    Bit for bit what Tahoe-x1 feeds its models: edges at ``num_bins - 1`` evenly spaced quantiles (linear
    interpolation in float32), then ``bucketize``, then ``+ 1`` when ``right`` is false. Only ranks matter.

    Args:
        values: (n,) non-negative counts or log-counts of the cell's genes.
        num_bins: Number of bins, the zero bin included.
        right: Side of the edges, as in ``torch.bucketize``.

    Returns:
        (n,) float32 bins; empty for an empty cell.
    """
    return _bin_sorted(np.ascontiguousarray(values, dtype=np.float32), num_bins, right)


def bin_cells(cells: Sequence[np.ndarray], num_bins: int = 51, right: bool = False) -> list[np.ndarray]:
    """:func:`bin_expression` of many cells at once; far faster for counts, which need no sorting.

    Args:
        cells: Arrays (n,) of non-negative counts or log-counts, one a cell.
        num_bins: Number of bins, the zero bin included.
        right: Side of the edges, as in ``torch.bucketize``.

    Returns:
        List of (n,) float32 bins.
    """
    if not cells:
        return []
    sizes = np.array([len(cell) for cell in cells])
    values = np.concatenate([np.asarray(cell, dtype=np.float32) for cell in cells])
    bins = _bin_counts(values, sizes, num_bins, right)
    if bins is None:
        cells = np.split(values, np.cumsum(sizes)[:-1])
        return [_bin_sorted(cell, num_bins, right) for cell in cells]
    stops = np.cumsum(sizes)
    return [bins[stop - size : stop] for stop, size in zip(stops, sizes)]


def _bin_counts(values, sizes, num_bins, right):
    """Bins of whole numbers by histograms of all cells side by side, or None where the values are no small counts.

    Each cell has a stretch of slots, one for each count from 0 to its largest plus one. The running sum of the
    histogram gives order statistics by search; the running sum of the edges' slots gives each count its bin.
    """
    if values.size == 0 or not (values.min() >= 0 and values.max() < 2**24):
        return None
    counts = values.astype(np.int64)
    if not np.array_equal(counts, values):
        return None
    full = np.flatnonzero(sizes)
    starts = np.cumsum(sizes)[full] - sizes[full]
    widths = np.maximum.reduceat(counts, starts) + 2
    if widths.sum() > 8 * values.size + 2**16:
        return None
    base = np.cumsum(widths) - widths
    slots = counts + np.repeat(base, sizes[full])
    histogram = np.bincount(slots, minlength=int(widths.sum()))
    histogram[base] = 0
    ordered = np.cumsum(histogram)
    first = np.concatenate([[0], ordered[base[1:]]])
    expressed = np.append(first[1:], ordered[-1]) - first
    below, above, weight = _quantile_places(np.maximum(expressed, 1), num_bins)
    # A cell of zeros alone has no order statistic; its edges may fall anywhere, they are kept inside its slots.
    found = [np.searchsorted(ordered, first[:, None] + rank, side="right") - base[:, None] for rank in (below, above)]
    low, high = (np.clip(value, 0, widths[:, None] - 2).astype(np.float32) for value in found)
    edges = _lerp(low, high, weight)
    passed = (np.ceil(edges) if right else np.floor(edges) + 1).astype(np.int64) + base[:, None]
    table = np.cumsum(np.bincount(passed.ravel(), minlength=histogram.size))
    table -= np.repeat(np.arange(base.size) * (num_bins - 1), widths)
    table[base] = 0
    return (table if right else table + 1).astype(np.float32)[slots]


def _bin_sorted(values, num_bins, right):
    """Bins of any non-negative numbers of one cell, by sorting them."""
    nonzero = values if values.size == 0 or values.min() > 0 else values[values != 0]
    if nonzero.size == 0:
        return np.full(values.shape, 0.0 if right else 1.0, dtype=np.float32)
    ordered = np.sort(nonzero)
    below, above, weight = (place[0] for place in _quantile_places(np.array([ordered.size]), num_bins))
    edges = _lerp(ordered[below], ordered[above], weight)
    bins = np.searchsorted(edges, values, side="right" if right else "left").astype(np.float32)
    if nonzero.size != values.size:
        bins[values == 0] = 0.0
    return bins if right else bins + 1.0


def _quantile_places(sizes, num_bins):
    """Ranks below and above each quantile of ``sizes`` (C,) values, and the upper's weight: (C, num_bins - 1) each.

    The positions of ``torch.quantile(x, torch.linspace(0, 1, num_bins - 1))``, in its float32 arithmetic.
    """
    grades = torch.linspace(0, 1, num_bins - 1, dtype=torch.float32).numpy()
    position = grades * (sizes - 1).astype(np.float32)[:, None]
    below = position.astype(np.int64)
    return below, np.ceil(position).astype(np.int64), position - below.astype(np.float32)


def _lerp(low, high, weight):
    # torch.lerp rounds once where a CPU fuses multiply and add; NumPy would round twice.
    return torch.lerp(torch.from_numpy(low), torch.from_numpy(high), torch.from_numpy(weight)).numpy()


def log_normalize(values: ArrayLike, target_sum: float = 10000.0) -> np.ndarray:
    """``log1p`` of counts scaled to ``target_sum`` per cell, in float32, as upstream's ``log_transform``."""
    row = torch.as_tensor(np.asarray(values, dtype=np.float32))
    return torch.log1p(row / (row.sum() + 1e-9) * target_sum).numpy()


def choose_genes(tokens: ArrayLike, count: int) -> np.ndarray:
    """Indices of ``count`` of a cell's genes, the same for the same set of genes wherever the cell stands.

    A pseudo-random sample: genes are ranked by a hash (SplitMix64) of their token and of the whole set, so order,
    batch, worker and process have no say.
    """
    tokens = np.asarray(tokens).astype(np.uint64)
    seed = np.bitwise_xor.reduce(_mix(tokens))
    ranks = _mix(tokens ^ seed)
    return np.sort(np.argpartition(ranks, count - 1)[:count]) if count < tokens.size else np.arange(tokens.size)


def _mix(x):
    """SplitMix64 finaliser (Steele, Lea, Flood 2014) on uint64, wrapping."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def plan_batches(
    lengths: ArrayLike, batch_size: int | str, tokens: int, *, same_length: bool = False
) -> list[np.ndarray]:
    """Split cells into batches, longest first.

    The plan depends on nothing but its arguments, so the same cells are always computed in the same company.

    Args:
        lengths: (C,) tokens of each cell.
        batch_size: Cells of a batch at most; ``"auto"`` leaves it to ``tokens``.
        tokens: Tokens of a batch at most, padding included (a single longer cell is a batch of its own).
        same_length: Put only cells of equal length together, so that there is no padding at all.

    Returns:
        A list of int64 arrays of cell numbers; each cell is in exactly one.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    while start < order.size:
        longest = int(lengths[order[start]])
        size = max(1, tokens // max(longest, 1)) if isinstance(batch_size, str) else batch_size
        batch = order[start : start + size]
        if same_length:
            batch = batch[lengths[batch] == longest]
        batches.append(batch)
        start += batch.size
    return batches


class Tx1Processor(FeatureExtractionMixin):
    """Turns cells into padded batches for a :class:`Tx1Model`.

    Args:
        vocab: The vocabulary of the model; ``from_pretrained`` reads it from the model's folder.
        max_length: Context: longest sequence, special tokens included.
        num_bins: Expression bins, the zero bin included.
        right_binning: Side of the bin edges.
        do_binning: Bin the expression; off for models trained on log-normalised values.
        log_transform: Log-normalise instead of binning.
        target_sum: Total that log normalisation scales a cell to.
        pad_value: Expression value of padding and special tokens.
        mask_value: Expression value of masked genes.
        use_chem_token: Put ``<drug>`` after ``<cls>``.
        drug_to_id: Drug name to number, for ``use_chem_token``.

    Raises:
        ValueError: When a setting is of another kind or out of its range; the message names it.
    """

    model_input_names = ["gene_ids", "expression_bins", "attention_mask"]
    vocab: GeneVocab

    def __init__(
        self,
        vocab: Any = None,
        max_length: int = 1024,
        num_bins: int = 51,
        right_binning: bool = False,
        do_binning: bool = True,
        log_transform: bool = False,
        target_sum: float = 10000.0,
        pad_value: float = -2.0,
        mask_value: float = -1.0,
        use_chem_token: bool = False,
        drug_to_id: Mapping[str, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.vocab = vocab
        self.max_length = max_length
        self.num_bins = num_bins
        self.right_binning = right_binning
        self.do_binning = do_binning
        self.log_transform = log_transform
        self.target_sum = target_sum
        self.pad_value = pad_value
        self.mask_value = mask_value
        self.use_chem_token = use_chem_token
        self.drug_to_id = drug_to_id
        self._check()

    def _check(self):
        for name, least in (("max_length", 3 if self.use_chem_token else 2), ("num_bins", 3)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} of the processor must be a whole number from {least}, found {value!r}")
        for name in ("right_binning", "do_binning", "log_transform", "use_chem_token"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} of the processor must be true or false, found {getattr(self, name)!r}")
        for name in ("target_sum", "pad_value", "mask_value"):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(f"{name} of the processor must be a number, found {getattr(self, name)!r}")
        if self.use_chem_token and self.vocab is not None and "<drug>" not in self.vocab:
            raise ValueError("use_chem_token is set, but the vocabulary has no <drug> token")

    def check_model(self, config: Any) -> None:
        """Refuse a model whose inputs are others than this processor makes.

        Args:
            config: The model's :class:`Tx1Config`, or its values as attributes; those that it lacks are not compared.

        Raises:
            ValueError: When bins, padding, context, vocabulary or drug token differ; the message has both values.
        """
        rows, tokens = getattr(config, "vocab_size", len(self.vocab)), len(self.vocab)
        if rows != tokens:
            raise ValueError(
                f"the vocabulary has {tokens} tokens, but the gene table of the model has {rows} rows; vocab.json and "
                "model.safetensors come from different models"
            )
        made = {"pad_value": self.pad_value, "pad_token_id": self.vocab["<pad>"], "cls_token_id": self.vocab["<cls>"]}
        made |= {"num_bins": self.num_bins} if self.do_binning else {}
        wrong = [
            f"{name} {value} against {getattr(config, name)}"
            for name, value in made.items()
            if getattr(config, name, value) != value
        ]
        context = getattr(config, "context_length", self.max_length)
        wrong += [f"max_length {self.max_length} against a context_length of {context}"] * (self.max_length > context)
        if hasattr(config, "num_drugs") and bool(config.num_drugs) != self.use_chem_token:
            wrong.append(f"use_chem_token {self.use_chem_token} against num_drugs {config.num_drugs}")
        if wrong:
            raise ValueError(
                f"the processor contradicts the model: {', '.join(wrong)}; preprocessor_config.json and config.json "
                "come from different models, or one was edited. Export or download them again"
            )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> "Tx1Processor":
        """Read ``preprocessor_config.json`` and ``vocab.json`` of a model folder or hub repository.

        Raises:
            ValueError: When they are damaged, or contradict the model's ``config.json``.
        """
        where = {
            name: kwargs[name]
            for name in ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
            if kwargs.get(name) is not None
        }
        settings, _ = cls.get_feature_extractor_dict(pretrained_model_name_or_path, **where)
        vocab_path = cached_file(pretrained_model_name_or_path, VOCAB_FILE, **where)
        # Fetched for its side effect: GeneVocab.from_file looks for the symbols beside the vocabulary.
        cached_file(pretrained_model_name_or_path, SYMBOLS_FILE, _raise_exceptions_for_missing_entries=False, **where)
        if not isinstance(settings, dict):
            raise ValueError(
                f"{pretrained_model_name_or_path}: preprocessor_config.json must be a JSON object of settings, found a "
                f"{type(settings).__name__}"
            )
        for name in ("feature_extractor_type", "processor_class", "auto_map"):
            settings.pop(name, None)
        processor = cls(vocab=GeneVocab.from_file(vocab_path), **settings)
        config = cached_file(
            pretrained_model_name_or_path, "config.json", _raise_exceptions_for_missing_entries=False, **where
        )
        model = _read_json_object(config) if config else {}
        if model.get("model_type") == "tx1":
            try:
                processor.check_model(SimpleNamespace(**model))
            except ValueError as error:
                raise ValueError(f"{pretrained_model_name_or_path}: {error}") from error
        return processor

    def to_dict(self) -> dict[str, Any]:
        """Settings without the vocabulary, which has its own file."""
        settings = {name: value for name, value in self.__dict__.items() if name != "vocab"}
        return {**settings, "processor_class": type(self).__name__}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> list[str]:
        """Write ``preprocessor_config.json`` and ``vocab.json``; return the paths."""
        os.makedirs(save_directory, exist_ok=True)
        settings = {**self.to_dict(), "auto_map": {"AutoProcessor": "processing_tx1.Tx1Processor"}}
        settings.pop("_auto_class", None)
        path = os.path.join(save_directory, "preprocessor_config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=2, sort_keys=True)
            file.write("\n")
        return [path, *self.vocab.save(save_directory)]

    @property
    def special_tokens(self) -> list[int]:
        """Numbers of the tokens put before the genes."""
        return [self.vocab["<cls>"]] + ([self.vocab["<drug>"]] if self.use_chem_token else [])

    def transform(self, counts: ArrayLike) -> np.ndarray:
        """Expression values as the model takes them: binned, log-normalised, or as they are. (n,) -> (n,) float32."""
        if self.do_binning:
            return bin_expression(counts, self.num_bins, self.right_binning)
        if self.log_transform:
            return log_normalize(counts, self.target_sum)
        return np.asarray(counts, dtype=np.float32)

    def encode(self, gene_tokens: ArrayLike, counts: ArrayLike) -> Cell:
        """One cell's tokens and values, special tokens first and cut to the context.

        Args:
            gene_tokens: (n,) vocabulary numbers of the cell's genes.
            counts: (n,) their counts; zeros are left out.

        Returns:
            (m,) int64 tokens and (m,) float32 values.

        Raises:
            ValueError: When a count is negative, NaN or infinite, or not one for each gene.
        """
        gene_tokens, counts = np.asarray(gene_tokens), np.asarray(counts, dtype=np.float32)
        if gene_tokens.shape != counts.shape:
            raise ValueError(
                f"expected one count for each gene, found {gene_tokens.size} genes and {counts.size} counts"
            )
        if counts.size and not (np.isfinite(counts).all() and counts.min() >= 0):
            worst = counts[~np.isfinite(counts) | (counts < 0)][0]
            raise ValueError(f"expected counts that are zero or more, found {worst}; pass raw or log1p counts")
        expressed = counts > 0
        tokens, values = gene_tokens[expressed], self.transform(counts[expressed])
        special = self.special_tokens
        room = self.max_length - len(special)
        if tokens.size > room:
            kept = choose_genes(tokens, room)
            tokens, values = tokens[kept], values[kept]
        tokens = np.concatenate([special, tokens]).astype(np.int64)
        return tokens, np.concatenate([np.full(len(special), self.pad_value, np.float32), values])

    def pad(self, cells: Sequence[Cell], drug_ids: ArrayLike | None = None) -> BatchFeature:
        """Batch encoded cells.

        Args:
            cells: ``(tokens, values)`` pairs as :meth:`encode` gives.
            drug_ids: Drug number of each cell, for a model with a drug token; no drug where left out.

        Returns:
            A ``BatchFeature`` of ``gene_ids`` (C, G) int64, ``expression_bins`` (C, G) float32 and
            ``attention_mask`` (C, G) int64, G the longest of the cells; ``drug_ids`` (C,) where there is a drug token.
        """
        longest = max((len(tokens) for tokens, _ in cells), default=0)
        gene_ids = np.full((len(cells), longest), self.vocab["<pad>"], dtype=np.int64)
        bins = np.full((len(cells), longest), self.pad_value, dtype=np.float32)
        mask = np.zeros((len(cells), longest), dtype=np.int64)
        for row, (tokens, values) in enumerate(cells):
            gene_ids[row, : len(tokens)] = tokens
            bins[row, : len(tokens)] = values
            mask[row, : len(tokens)] = 1
        batch = {"gene_ids": gene_ids, "expression_bins": bins, "attention_mask": mask}
        if self.use_chem_token:
            drug_ids = look_up_drugs([NO_DRUG] * len(cells), self.drug_to_id) if drug_ids is None else drug_ids
            batch["drug_ids"] = np.asarray(drug_ids, dtype=np.int64)
        return BatchFeature({name: torch.from_numpy(array) for name, array in batch.items()})

    def batches(
        self,
        cells: Sequence[Cell],
        drug_ids: ArrayLike | None = None,
        *,
        tokens: int,
        batch_size: int | str = "auto",
        same_length: bool = False,
    ) -> Iterator[tuple[np.ndarray, BatchFeature]]:
        """Encoded cells as padded batches of neighbours in length, longest first.

        Args:
            cells: ``(tokens, values)`` pairs as :meth:`encode` gives.
            drug_ids: Drug number of each cell, for a model with a drug token.
            tokens: Tokens of a batch at most, padding included.
            batch_size: Cells of a batch at most; ``"auto"`` leaves it to ``tokens``.
            same_length: Put only cells of equal length together.

        Yields:
            The numbers of a batch's cells and the batch as :meth:`pad` gives it, but without ``attention_mask`` where
            there is no padding: a model would have to look for that on its device, and wait.
        """
        lengths = np.array([len(genes) for genes, _ in cells])
        for numbers in plan_batches(lengths, batch_size, tokens, same_length=same_length):
            drugs = None if drug_ids is None else np.asarray(drug_ids)[numbers]
            batch = self.pad([cells[number] for number in numbers], drugs)
            if lengths[numbers[0]] == lengths[numbers[-1]]:
                batch.pop("attention_mask")
            yield numbers, batch

    def match(self, adata: Any, gene_key: str | None = None) -> np.ndarray:
        """Vocabulary number of each gene of ``adata`` (n_vars,) int64, -1 where unknown.

        Genes are looked for in ``var_names`` and in the usual columns of ``var``, by id and by symbol; the best match
        counts.

        Raises:
            ValueError: When no gene is in the vocabulary, or ``gene_key`` is not a column of ``var``.
        """
        _, tokens, _ = self.vocab.match(adata.var, gene_key)
        if not (tokens >= 0).any():
            example = ", ".join(map(str, list(adata.var_names)[:3]))
            raise ValueError(
                f"none of the {len(tokens)} genes is in the vocabulary (var_names start with {example}); this model "
                f"knows its genes as {self.vocab.naming}: expected such names, or symbols and ids that its table has, "
                "in var_names or in a column named with gene_key"
            )
        return tokens

    def __call__(
        self, adata: Any, *, layer: str | None = None, gene_key: str | None = None, drug_key: str | None = None
    ) -> BatchFeature:
        """Batch all cells of a small AnnData; to embed many, use ``Tx1Model.embed``.

        Args:
            adata: Cells by genes, counts in ``X`` or in ``layer``.
            layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
            gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
            drug_key: Column of ``obs`` with drug names, for a model with a drug token.

        Raises:
            ValueError: When ``drug_key`` is given to a model without a drug token.
        """
        matrix, tokens, drug_ids = self.read(adata, layer=layer, gene_key=gene_key, drug_key=drug_key)
        return self.pad(self.encode_rows(matrix, tokens), drug_ids)

    def read(
        self, adata: Any, *, layer: str | None = None, gene_key: str | None = None, drug_key: str | None = None
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """What there is to encode in an AnnData; the arguments are those of calling the processor.

        Returns:
            The matrix (n_obs, n_vars), each column's token (n_vars,) int64, -1 where unknown, and the number of each
            cell's drug (n_obs,) int64, or ``None`` where none is known.

        Raises:
            ValueError: When ``drug_key`` is given to a model without a drug token.
        """
        table, matrix = self.source(adata, layer)
        return matrix, self.match(table, gene_key), self.drug_numbers(adata, drug_key)

    def source(self, adata: Any, layer: str | None = None) -> tuple[Any, Any]:
        """What has the gene table of the cells to read, ``adata`` or its ``raw``, and their matrix.

        Args:
            adata: Cells by genes.
            layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        """
        if layer == "raw" and layer not in adata.layers and adata.raw is not None:
            return adata.raw, adata.raw.X
        return adata, adata.X if layer is None else adata.layers[layer]

    def drug_numbers(self, adata: Any, drug_key: str | None = None) -> np.ndarray | None:
        """Number of each cell's drug, (n_obs,) int64, where ``drug_key`` names a column of ``obs``; else ``None``.

        Raises:
            ValueError: When ``drug_key`` is given to a model without a drug token.
        """
        if drug_key is None:
            return None
        if not self.use_chem_token:
            raise ValueError(f"drug_key {drug_key!r} was given, but this model has no drug token; leave it out")
        return look_up_drugs(adata.obs[drug_key], self.drug_to_id)

    def encode_rows(self, matrix: Any, tokens: ArrayLike) -> list[Cell]:
        """Encode the rows of a (cells, genes) matrix, dense or sparse, given each column's token (-1: left out).

        The same as :meth:`encode` of each row, at many times its speed. Columns of the same token are summed.

        Raises:
            ValueError: When a count is negative, NaN or infinite.
        """
        bounds, entries, counts = _expressed(matrix, np.asarray(tokens))
        if len(bounds) == 1:
            return []
        split = np.split(counts, bounds[1:-1])
        if self.do_binning:
            values = bin_cells(split, self.num_bins, self.right_binning)
        else:
            values = [self.transform(cell) for cell in split]
        special = np.array(self.special_tokens, dtype=np.int64)
        lead = np.full(len(special), self.pad_value, dtype=np.float32)
        room = self.max_length - len(special)
        cells = []
        for cell, value in zip(np.split(entries, bounds[1:-1]), values):
            if cell.size > room:
                kept = choose_genes(cell, room)
                cell, value = cell[kept], value[kept]
            cells.append((np.concatenate([special, cell]), np.concatenate([lead, value])))
        return cells


def _expressed(matrix, tokens):
    """Tokens and counts above zero of all cells, end to end, and the bounds of each cell."""
    bounds, columns, counts = _compressed_rows(matrix)
    rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    entries = tokens[columns]
    known = entries >= 0
    wrong = np.flatnonzero(known & ~((counts >= 0) & np.isfinite(counts)))
    if wrong.size:
        raise ValueError(
            f"expected counts that are zero or more, found {counts[wrong[0]]} in row {rows[wrong[0]]}; pass raw or "
            "log1p counts"
        )
    kept = np.flatnonzero(known & (counts > 0))
    rows, entries, counts = rows[kept], entries[kept], counts[kept]
    genes = tokens[tokens >= 0]
    if np.unique(genes).size != genes.size:
        width = genes.max() + 1
        keys, inverse = np.unique(rows * width + entries, return_inverse=True)
        rows, entries = keys // width, keys % width
        counts = np.bincount(inverse, weights=counts).astype(np.float32)
    return np.searchsorted(rows, np.arange(len(bounds))), entries, counts


def _compressed_rows(matrix):
    """Bounds, columns and float32 values of a matrix's entries, in order of row and column."""
    if hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        return matrix.indptr, matrix.indices, np.asarray(matrix.data, dtype=np.float32)
    matrix = np.asarray(matrix, dtype=np.float32)
    rows, columns = np.nonzero(matrix)
    return np.searchsorted(rows, np.arange(len(matrix) + 1)), columns, matrix[rows, columns]


Tx1Processor.register_for_auto_class("AutoProcessor")

__all__ = [
    "CONFIDENCE_FILE",
    "GENE_ID_COLUMNS",
    "NO_DRUG",
    "SYMBOLS_FILE",
    "SYMBOL_COLUMNS",
    "VOCAB_FILE",
    "GeneVocab",
    "Tx1Processor",
    "bin_cells",
    "bin_expression",
    "choose_genes",
    "gene_columns",
    "log_normalize",
    "look_up_drugs",
    "plan_batches",
]
