"""Column-compressed matrices read by rows, through temporary files, so that memory does not grow with the matrix."""

import tempfile

import numpy as np

# Non-zero values handled at a time.
_SPAN = 1 << 22


def transposed_rows(node, shape):
    """Rewrite a CSC group as CSR arrays.

    Args:
        node: Group with ``data``, ``indices`` (rows) and ``indptr`` (columns).
        shape: (cells, genes).

    Returns:
        Dict of ``data``, ``indices`` (columns) and ``indptr`` (rows); the first two in unnamed temporary files, which
        go with the last reference.
    """
    total = node["data"].shape[0]
    columns = np.asarray(node["indptr"][:]).astype(np.int64)
    counts = np.zeros(shape[0], dtype=np.int64)
    for start in range(0, total, _SPAN):
        counts += np.bincount(node["indices"][start : start + _SPAN], minlength=shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data, indices = _scratch(total, node["data"].dtype), _scratch(total, np.int32)
    free = indptr[:-1].copy()
    for start in range(0, total, _SPAN):
        stop = min(start + _SPAN, total)
        rows = np.asarray(node["indices"][start:stop])
        # Equal rows stay in column order, and each takes the next free places of its row.
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        unique, first, times = np.unique(ordered, return_index=True, return_counts=True)
        places = free[ordered] + np.arange(ordered.size) - np.repeat(first, times)
        data[places] = np.asarray(node["data"][start:stop])[order]
        indices[places] = (np.searchsorted(columns, np.arange(start, stop), side="right") - 1)[order]
        free[unique] += times
    return {"data": data, "indices": indices, "indptr": indptr}


def _scratch(count, dtype):
    # An empty map is not allowed; one spare element costs nothing.
    return np.memmap(tempfile.TemporaryFile(), dtype=dtype, mode="w+", shape=(max(count, 1),))
