"""700 labelled human blood cells that come with scanpy, as counts: the data of the quickstart."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tahoe_distill.models import GeneVocab

if TYPE_CHECKING:
    from anndata import AnnData

LABEL_KEY = "bulk_labels"


def load_blood_cells() -> "AnnData":
    """Counts of ``scanpy.datasets.pbmc68k_reduced``: 700 cells, 765 genes, ten labels in ``obs["bulk_labels"]``.

    The data set holds ``log1p`` of counts that were scaled per cell. A cell's smallest nonzero value stands for one
    count, so dividing by it gives the counts back.

    Returns:
        AnnData with int32 counts in ``X`` (CSR) and gene symbols as ``var_names``.

    Raises:
        ValueError: When the values are not scaled counts after all.
    """
    import anndata
    import scanpy
    from scipy.sparse import csr_matrix

    source = scanpy.datasets.pbmc68k_reduced()
    scaled = np.expm1(source.raw.X.toarray().astype(np.float64))
    one = np.where(scaled > 0, scaled, np.inf).min(axis=1, keepdims=True)
    exact = scaled / one
    counts = np.rint(exact)
    # Values were rounded to three decimals before, which moves a count of 259 by 0.1.
    worst = np.abs(exact - counts).max()
    if worst > 0.25:
        raise ValueError(f"expected whole counts in pbmc68k_reduced, found one {worst:.2f} away from any")
    adata = anndata.AnnData(csr_matrix(counts.astype(np.int32)), obs=source.obs[[LABEL_KEY]].copy())
    adata.var_names = source.raw.var_names.astype(str)
    return adata


def split_blood_cells(adata: "AnnData", held_out: float = 0.3, seed: int = 17) -> tuple["AnnData", "AnnData"]:
    """Training cells and held-out cells, each label in its share.

    Args:
        adata: What :func:`load_blood_cells` returns.
        held_out: Share of the cells to hold out.
        seed: Of the split.
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(adata.n_obs), test_size=held_out, random_state=seed, stratify=adata.obs[LABEL_KEY]
    )
    return adata[np.sort(train)].copy(), adata[np.sort(test)].copy()


def write_blood_cells(folder: Path, vocab: GeneVocab) -> tuple["AnnData", "AnnData"]:
    """The quickstart's files: ``cells/train.h5ad``, ``cells/held_out.h5ad``, and ``shards`` of the training cells.

    Args:
        folder: Where to write them.
        vocab: The teacher's vocabulary.

    Returns:
        AnnData of the training cells and of the held-out cells.
    """
    from tahoe_distill.data import prepare_shards

    (folder / "cells").mkdir(parents=True)
    train, held_out = split_blood_cells(load_blood_cells())
    train.write_h5ad(folder / "cells/train.h5ad")
    held_out.write_h5ad(folder / "cells/held_out.h5ad")
    prepare_shards([folder / "cells/train.h5ad"], folder / "shards", vocab, val_fraction=0.1)
    return train, held_out
