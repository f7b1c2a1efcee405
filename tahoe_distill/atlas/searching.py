"""Nearest cells of an atlas, by vectors that its teacher or one of its students computes of new cells.

Shapes: n cells of the query, k nearest cells of each.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.atlas.index import Index
from tahoe_distill.cells.formats import Source
from tahoe_distill.embedding.doctor import check_cells_make_sense
from tahoe_distill.embedding.loading import ModelSource, is_path, weights_fingerprint
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.pipeline import run_windows
from tahoe_distill.embedding.session import Session, open_session

log = logging.getLogger(__name__)

_HYPERPARAMETERS = "training_hyperparameters.json"


@dataclass(frozen=True)
class SearchResult:
    """The nearest cells of an atlas.

    Args:
        cells: (n,) names of the cells of the query.
        rows: (n, k) numbers of cells of the atlas, nearest first; -1 where an approximate search found fewer.
        distances: (n, k) one less the cosine.
        labels: Labels of the nearest cells by column, (n, k); ``None`` where there is none.
    """

    cells: np.ndarray
    rows: np.ndarray
    distances: np.ndarray
    labels: dict[str, np.ndarray]

    def majority(self) -> pd.DataFrame:
        """One row a cell: for each column the label that most of the nearest cells have, and its share of them.

        Of labels that equally many have, that of the nearest cell counts.
        """
        columns: dict[str, Any] = {}
        for name, values in self.labels.items():
            columns[name], columns[f"{name}_share"] = _majority(values)
        return pd.DataFrame(columns, index=pd.Index(self.cells, name="cell"))

    def neighbours(self) -> pd.DataFrame:
        """One row for each cell and each of its nearest, with labels, and with what the majority of them says."""
        count, k = self.rows.shape
        table = pd.DataFrame({
            "cell": np.repeat(self.cells, k), "rank": np.tile(np.arange(1, k + 1), count),
            "atlas_row": self.rows.reshape(-1), "distance": self.distances.reshape(-1),
            **{name: values.reshape(-1) for name, values in self.labels.items()},
        })  # fmt: skip
        for name, values in self.majority().items():
            suffix = "" if str(name).endswith("_share") else "_majority"
            table[f"{name}{suffix}"] = np.repeat(values.to_numpy(), k)
        return table


def search(
    index: str | os.PathLike[str],
    cells: Source,
    model: ModelSource,
    *,
    k: int = 10,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: str | os.PathLike[str] | None = None,
    exact: bool = False,
    force: bool = False,
    **settings: Any,
) -> SearchResult:
    """Embed cells and find the nearest cells of an atlas, which another model may have embedded.

    Args:
        index: Folder that :func:`build_index` wrote.
        cells: An AnnData, or what :func:`tahoe_distill.cells.open_cells` opens.
        model: The model of the atlas, or a student of it.
        k: How many.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        exact: Compare with all vectors, whatever the kind of the index.
        force: Search although no query lies near the atlas, or the cells mean nothing to the model.
        **settings: Fields of :class:`~tahoe_distill.embedding.options.Options`, such as ``device``.

    Returns:
        A :class:`SearchResult`.

    Raises:
        ValueError: When index, cells or model do not fit each other.
    """
    found = Index(index, exact=exact)
    chosen: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols}
    with open_session(cells, model, Options(**settings), **chosen, force=force) as session:
        _check_model(found, session)
        session.check()
        check_cells_make_sense(session)
        names = session.cells.source.obs.index.astype(str).to_numpy(dtype=object)
        parts = list(_found(found, session, k))
    rows, cosines = (np.concatenate(part) for part in zip(*parts, strict=True))
    _check_nearness(found, cosines, force)
    return SearchResult(names, rows, 1 - cosines, found.labels(rows))


def _found(index: Index, session: Session, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for _, _, result in run_windows(session, session.options.windows(session.cells.n_obs)):
        yield index.nearest(result.vectors, k)


def _check_model(index: Index, session: Session) -> None:
    """Refuse another width; warn of a model that is not known to be of the atlas' own teacher."""
    width = session.model.config.embedding_size
    if width != index.width:
        raise ValueError(
            f"{session.name or 'the model'} gives vectors of {width} values, but {index.folder} has {index.width}; "
            f"search with {index.notes['model']} or a student of it (dim where it can be cut to that width)"
        )
    if weights_fingerprint(session.model) == index.notes["weights"]:
        return
    teacher = _teacher_of(session.name) if is_path(session.name) else None
    mine = str(index.notes["model"])
    if teacher is None:
        log.warning("%s does not say who its teacher is; expected %s, which made the atlas", session.name, mine)
    elif Path(teacher) != Path(mine):
        log.warning("%s is a student of %s, but the atlas was made by %s", session.name, teacher, mine)


def _teacher_of(model: str | None) -> str | None:
    """The teacher that a student's folder names."""
    path = Path(str(model), _HYPERPARAMETERS)
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("model", {}).get("teacher")
    except (OSError, ValueError, AttributeError):
        return None
    name = found.get("source") if isinstance(found, dict) else found
    return None if name is None else str(name)


def _check_nearness(index: Index, cosines: np.ndarray, force: bool) -> None:
    """Refuse queries that are farther from all cells than cells of the atlas are from any other: another space."""
    median, near, apart = float(np.median(cosines[:, 0])), index.notes["near"], index.notes["apart"]
    told = (
        f"the median cosine of a query with its nearest cell is {median:.3f}; of cells of the atlas with their nearest "
        f"it is {near:.3f}, with any other {apart:.3f}"
    )
    if median < apart and not force:
        raise ValueError(
            f"{told}. The model is no student of {index.notes['model']}, or the cells are of quite another kind; pass "
            "--force (force=True) to see the nearest all the same"
        )
    if median < (near + apart) / 2:
        log.warning("%s: what is nearest is not near", told)


def _majority(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the commonest of (n, k) labels, and (n,) its share of k."""
    labels, shares = np.full(len(values), None, dtype=object), np.zeros(len(values))
    for number, row in enumerate(values):
        counts: dict[object, int] = {}
        for label in row:
            if label is not None:
                counts[label] = counts.get(label, 0) + 1
        if counts:
            # The first of equals, and so the nearest.
            labels[number] = max(counts, key=counts.__getitem__)
            shares[number] = counts[labels[number]] / len(row)
    return labels, shares
