"""One set of cells, written in every format that is read."""

import h5py
import numpy as np
from scipy import sparse

KINDS = ("csr", "csc", "dense", "zarr", "10x 2", "10x 3")


def write_cells(adata, folder, kind):
    """Write cells, with symbols in ``var["gene_name"]``, as ``kind``; return the path."""
    adata = adata.copy()
    if kind.startswith("10x"):
        write_tenx(folder / "cells.h5", adata, old=kind == "10x 2")
        return folder / "cells.h5"
    adata.X = {"csc": adata.X.tocsc, "dense": adata.X.toarray}.get(kind, adata.X.tocsr)()
    if kind == "zarr":
        adata.write_zarr(folder / "cells.zarr")
        return folder / "cells.zarr"
    adata.write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def write_tenx(path, adata, old=False, genome="GRCh38"):
    """Write a file as Cell Ranger before 3 (``old``) or later writes it; several genomes by calling again."""
    with h5py.File(path, "a") as file:
        group = file.create_group(genome if old else "matrix")
        rows = sparse.csr_matrix(adata.X)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(rows, name)
        group["shape"] = np.array(adata.shape[::-1])
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        ids, names = np.array(adata.var_names, dtype="S"), np.array(adata.var["gene_name"], dtype="S")
        if old:
            group["genes"], group["gene_names"] = ids, names
        else:
            group["features/id"], group["features/name"] = ids, names
            group["features/feature_type"] = np.array(["Gene Expression"] * adata.n_vars, dtype="S20")
