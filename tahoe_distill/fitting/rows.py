"""Cells as a student reads them, with the vectors that it is to give."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from tahoe_distill.embedding.calibration import CELLS, calibrate, hide_genes
from tahoe_distill.embedding.confidence import Confidence
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.processing_tx1 import Cell

_WINDOW = 128


class Rows:
    """Encoded cells, kept small, and their vectors.

    Args:
        processor: The student's, which pads.
        cells: Encoded cells.
        vectors: (n, e) float32.
    """

    def __init__(self, processor: Tx1Processor, cells: list[Cell], vectors: np.ndarray):
        self.processor = processor
        self.vectors = vectors
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, number: int) -> int:
        """The number itself: a batch is put together from all of its numbers at once."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} cells, asked for number {number}")
        return number

    def first(self, count: int) -> "Rows":
        """At most so many of the cells, the first ones."""
        return Rows(self.processor, self._cells[:count], self.vectors[:count])

    def batch(self, numbers: Iterable[int]) -> dict[str, Tensor]:
        """Inputs of the student for some of the cells."""
        return dict(self.processor.pad([self._cells[number] for number in numbers]))

    def with_vectors(self, numbers: list[int]) -> dict[str, Tensor]:
        """:meth:`batch`, and the cells' ``vectors`` (C, e)."""
        return {**self.batch(numbers), "vectors": torch.from_numpy(self.vectors[numbers])}

    def windows(self, numbers: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Numbers of all cells, or of some, in order, a window at a time."""
        numbers = np.arange(len(self)) if numbers is None else numbers
        for start in range(0, len(numbers), _WINDOW):
            yield numbers[start : start + _WINDOW]

    def embed(self, student: Tx1Model) -> np.ndarray:
        """(n, e) what a student gives to the cells, at their own length."""
        with inference(student):
            found = [
                student(**{name: x.to(student.device) for name, x in self.batch(numbers).items()}, cell_only=True)
                for numbers in self.windows()
            ]
            return torch.cat([out.pooler_output for out in found]).float().cpu().numpy()

    def trust(self, student: Tx1Model) -> Confidence | None:
        """How far to trust a student's vectors, from what it makes of these cells when genes are hidden.

        Args:
            student: The student, which saw none of them.

        Returns:
            ``None`` where there are too few of them, or the student gives vectors of another width.
        """
        if student.config.embedding_size != self.vectors.shape[1]:
            return None
        numbers = np.arange(min(len(self), CELLS))
        with inference(student):
            return calibrate(lambda share: self._in_part(student, numbers, share), self.vectors[numbers])

    def _in_part(self, student: Tx1Model, numbers: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        special, pad = len(self.processor.special_tokens), student.config.pad_token_id
        vectors, genes = [], []
        for window in self.windows(numbers):
            batch = self.batch(window)
            shown, left = hide_genes(batch["gene_ids"], share, special=special, pad=pad, seed=int(window[0]))
            out = student(shown, batch["expression_bins"], shown.ne(pad), cell_only=True)
            vectors.append(out.pooler_output.float().numpy())
            genes.append(left)
        return np.concatenate(vectors), np.concatenate(genes)


def encoded(processor: Tx1Processor, tokens: np.ndarray, windows: Iterable[sparse.csr_matrix]) -> Iterator[list[Cell]]:
    """Windows of counts as a model reads them.

    Args:
        processor: The model's.
        tokens: (columns,) the model's token of each column; negative where it has none.
        windows: (w, columns) counts.
    """
    for window in windows:
        yield processor.encode_rows(window, tokens)


def compact(processor: Tx1Processor, windows: Iterable[list[Cell]]) -> list[Cell]:
    """The cells of all windows, in the fewest bytes that hold them."""
    kind = np.uint8 if processor.do_binning and processor.num_bins <= 128 else np.float32
    special = len(processor.special_tokens)
    cells = []
    for window in windows:
        for genes, values in window:
            kept = np.where(np.arange(values.size) < special, 0, values).astype(kind)
            cells.append((genes.astype(np.int32), kept))
    return cells
