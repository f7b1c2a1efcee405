"""What a student is to give: vectors of a teacher, which labels any cell, or vectors that came with the cells."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from tahoe_distill.cells import Cells
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.processing_tx1 import Cell
from tahoe_distill.teacher import Teacher


@dataclass(frozen=True)
class Given:
    """Vectors that stand for a teacher.

    Args:
        vectors: (n, e) one for each cell of the source.
        source: What they are, for the record: ``obsm['X_scVI']``, a file's name.
    """

    vectors: np.ndarray
    source: str

    @classmethod
    def from_obsm(cls, cells: Cells, key: str) -> "Given":
        """The vectors that stand beside the cells.

        Raises:
            ValueError: When there are none of that name, or they are no vectors of these cells.
        """
        source = f"obsm[{key!r}]"
        return cls(check_given(np.asarray(cells.embedding(key)[:]), cells.n_obs, f"{cells.where}: {source}"), source)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], cells: Cells) -> "Given":
        """The vectors of a ``.npy`` file, in the order of the cells.

        Raises:
            FileNotFoundError: When there is no such file.
            ValueError: When it is no such file, or its rows are not those of the cells.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file; expected a .npy with a vector for each cell")
        try:
            vectors = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{path}: expected one array of numbers as numpy.save writes it ({error})") from error
        if not isinstance(vectors, np.ndarray):
            raise ValueError(f"{path}: expected one array (.npy), found several (.npz): save the one with the vectors")
        return cls(check_given(vectors, cells.n_obs, os.fspath(path)), Path(path).name)


def check_given(vectors: np.ndarray, cells: int, where: str) -> np.ndarray:
    """Vectors (n, e) as they can be learned, in float32.

    Args:
        vectors: What was given.
        cells: How many cells there are.
        where: What was given, for messages.

    Raises:
        ValueError: When they are not a vector of finite numbers for each cell, or are all the same.
    """
    if vectors.ndim != 2 or len(vectors) != cells:
        raise ValueError(
            f"{where}: expected a row for each of the {cells} cells, found an array of {vectors.shape}; the vectors "
            "must be of the same cells, in the same order"
        )
    if not np.issubdtype(vectors.dtype, np.number) or np.issubdtype(vectors.dtype, np.complexfloating):
        raise ValueError(f"{where}: expected numbers, found values of type {vectors.dtype}")
    if not vectors.shape[1]:
        raise ValueError(f"{where}: expected vectors, found rows without any value")
    vectors = vectors.astype(np.float32)
    wrong = ~np.isfinite(vectors).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"{where}: the vectors of {int(wrong.sum())} of {cells} cells are NaN or infinite, the first that of cell "
            f"{int(wrong.argmax())}; leave these cells out, or embed them again"
        )
    if not np.ptp(vectors, axis=0).any():
        raise ValueError(f"{where}: all {cells} vectors are the same, so there is nothing to learn from them")
    return vectors


def label(teacher: Teacher, cells: Iterable[list[Cell]], count: int, *, bar: tqdm) -> np.ndarray:
    """The vectors that a teacher gives to cells, at their own length.

    Args:
        teacher: The teacher.
        cells: Windows of cells, encoded by its processor.
        count: Cells of all windows.
        bar: Counts the cells.

    Returns:
        (count, e) float32, in the order of the cells.
    """
    model, first = teacher.model, 0
    vectors = np.empty((count, model.config.embedding_size), dtype=np.float32)
    with inference(model):
        for window in cells:
            for numbers, batch in model.batches(teacher.processor, window):
                vectors[first + numbers] = model(**batch, cell_only=True).pooler_output.float().cpu().numpy()
                bar.update(len(numbers))
            first += len(window)
    return vectors
