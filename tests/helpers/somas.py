"""SOMA experiments that tests write."""

import tiledbsoma
import tiledbsoma.io


def write_soma(adata, folder, *, layer="raw", measurement="RNA", **settings):
    """Write cells as an experiment, with its genes' names as ``feature_id``; return its URI."""
    adata = adata.copy()
    adata.var["feature_id"] = adata.var_names.to_numpy(dtype=object)
    context = tiledbsoma.SOMATileDBContext(tiledb_config={"sm.compute_concurrency_level": "1", **settings})
    return tiledbsoma.io.from_anndata(str(folder), adata, measurement, X_layer_name=layer, context=context)
