"""Where cells come from: an AnnData in memory, or an h5ad or zarr file that is read piece by piece."""

import logging
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd

try:
    from anndata.io import read_elem, sparse_dataset
except ImportError:  # anndata before 0.11 kept them elsewhere
    from anndata.experimental import read_elem, sparse_dataset

log = logging.getLogger(__name__)

# Values that one step of the check for NaN and negative counts looks at.
_CHECK_STEP = 1 << 24


class MemorySource:
    """Cells of an AnnData object.

    Args:
        adata: Cells by genes.
        layer: Layer to read instead of ``X``.

    Raises:
        ValueError: When there is no such layer or no matrix.
    """

    def __init__(self, adata, layer=None):
        if layer is not None and layer not in adata.layers:
            raise ValueError(f"layer {layer!r} is not there; found {', '.join(adata.layers) or 'none'}")
        self.genes = adata
        self.matrix = adata.X if layer is None else adata.layers[layer]
        if self.matrix is None:
            raise ValueError("adata.X is empty; expected counts there, or name their layer")
        self.n_obs, self.n_vars = adata.shape
        self.storage = getattr(self.matrix, "format", "dense")
        if self.storage == "csc":
            # Rows of a matrix stored by columns cost a pass over the whole of it.
            self.matrix = self.matrix.tocsr() if hasattr(self.matrix, "tocsr") else self.matrix.to_memory().tocsr()

    def rows(self, start, stop):
        """Matrix of cells ``start`` to ``stop - 1``."""
        return self.matrix[start:stop]

    def obs_column(self, name):
        """Values of a column of ``obs``."""
        if name not in self.genes.obs.columns:
            raise ValueError(f"obs has no column {name!r}; found {', '.join(map(str, self.genes.obs.columns))}")
        return self.genes.obs[name].to_numpy()

    def values(self):
        """Yield all stored values in pieces."""
        data = self.matrix.data if hasattr(self.matrix, "indptr") else None
        if not isinstance(data, np.ndarray):
            for start in range(0, self.n_obs, 1024):
                block = self.rows(start, start + 1024)
                yield block.data if hasattr(block, "indptr") else np.asarray(block)
            return
        for start in range(0, data.size, _CHECK_STEP):
            yield data[start : start + _CHECK_STEP]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


class FileSource:
    """Cells of an h5ad or zarr file; no more than the asked rows are in memory.

    Args:
        path: File (h5ad) or folder (zarr).
        layer: Layer to read instead of ``X``.

    Raises:
        ValueError: When it is no such file, or there is no such layer.
    """

    def __init__(self, path, layer=None):
        self.path = Path(path)
        self.group = open_store(self.path)
        try:
            self._open_matrix(layer)
        except BaseException:
            self.__exit__()
            raise

    def _open_matrix(self, layer):
        for name in ("obs", "var"):
            if name not in self.group:
                raise ValueError(
                    f"{self.path} has no {name!r}, so it is not an AnnData file; found {_names(self.group)}"
                )
        layers = _names(self.group["layers"]) if "layers" in self.group else "none"
        name = "X" if layer is None else f"layers/{layer}"
        if name not in self.group:
            raise ValueError(f"{self.path} has no {name}; its layers are: {layers}")
        var = read_elem(self.group["var"])
        self.genes = anndata.AnnData(obs=pd.DataFrame(index=pd.Index([], dtype=str)), var=var)
        self._matrix, self.storage = self._matrix_of(self.group[name])
        self.n_obs, self.n_vars = map(int, self._matrix.shape)
        if self.n_vars != len(var):
            raise ValueError(f"{self.path}: {name} has {self.n_vars} columns, but var has {len(var)} genes")

    def _matrix_of(self, element):
        kind = element.attrs.get("encoding-type", "array")
        if kind == "csr_matrix":
            return sparse_dataset(element), "csr"
        if kind == "csc_matrix":
            log.warning(
                "%s is stored by columns (csc), so all of it is loaded into memory; to read it in pieces, store it by "
                "rows: adata.X = adata.X.tocsr()",
                self.path,
            )
            return read_elem(element).tocsr(), "csc"
        if not hasattr(element, "shape"):
            raise ValueError(f"{self.path}: the matrix has the encoding {kind!r}; expected an array, csr or csc matrix")
        return element, "dense"

    def rows(self, start, stop):
        """Matrix of cells ``start`` to ``stop - 1``."""
        return self._matrix[start:stop]

    def obs_column(self, name):
        """Values of a column of ``obs``."""
        if name not in self.group["obs"]:
            raise ValueError(f"{self.path}: obs has no column {name!r}; found {_names(self.group['obs'])}")
        return np.asarray(read_elem(self.group[f"obs/{name}"]))

    def values(self):
        """Yield all stored values in pieces."""
        if self.storage == "csr":
            data = self._matrix.group["data"]
            for start in range(0, data.shape[0], _CHECK_STEP):
                yield data[start : start + _CHECK_STEP]
            return
        for start in range(0, self.n_obs, 1024):
            block = self.rows(start, start + 1024)
            yield block.data if hasattr(block, "indptr") else np.asarray(block)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if isinstance(self.group, h5py.File):
            self.group.close()


def open_store(path, mode="r"):
    """Open an h5ad file or a zarr folder as a group.

    Raises:
        ValueError: When it is missing or something else.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file; expected an h5ad file or a zarr folder")
    if path.suffix == ".zarr" or path.is_dir():
        return open_zarr(path, mode)
    try:
        return h5py.File(path, mode)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read as h5ad ({error}); it is another format, truncated or damaged"
        ) from error


def open_zarr(path, mode="r"):
    """Open a zarr folder without its consolidated metadata, which go stale as soon as something is added."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("zarr is not installed; pip install zarr, or convert the file to h5ad") from error
    try:
        if zarr.__version__.startswith("2."):
            return zarr.open_group(str(path), mode=mode)
        return zarr.open_group(str(path), mode=mode, use_consolidated=False)
    except Exception as error:
        # zarr's own error class differs from version to version.
        raise ValueError(f"{path} cannot be read as zarr: {error}") from error


def check_values(source):
    """Look at every stored value once, before any long work.

    Raises:
        ValueError: When there are no cells, or a value is NaN, infinite or negative.
    """
    if source.n_obs == 0:
        raise ValueError(f"expected cells, found none: the matrix is {source.n_obs} cells by {source.n_vars} genes")
    for values in source.values():
        if not values.size or values.dtype.kind in "ub":
            continue
        low = values.min()
        if np.isnan(low) or not np.isfinite(values.max()):
            raise ValueError("the matrix holds NaN or infinite values; expected raw or log1p counts")
        if low < 0:
            raise ValueError(
                f"the matrix holds negative values (such as {low}), so it was scaled or centred; expected raw or log1p "
                "counts, perhaps in a layer: name it with layer"
            )


def _names(group):
    return ", ".join(sorted(group)) or "none"
