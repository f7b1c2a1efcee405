"""AnnData in, `obsm` out."""

import numpy as np
from tqdm.auto import tqdm

from .batches import check_batch_size
from .devices import choose_device, choose_dtype
from .encoder import CellEncoder
from .engine import Engine, run_cells
from .loading import is_path, load_student

WINDOW = 1024


def embed(adata, model, *, key_added="X_tx1", layer=None, gene_key=None, batch_size="auto", device="auto", dtype="auto",
          genes=False, attentions=None, copy=False, normalize=True, drug_key=None, progress=False):
    """Write the embedding of each cell to ``adata.obsm[key_added]``."""
    student, processor = load_student(model)
    adata = adata.copy() if copy else adata
    tokens = processor.match(adata, gene_key)
    device = choose_device(device)
    engine = Engine(student, processor, device, choose_dtype(dtype, device), check_batch_size(batch_size), is_path(model))
    encoder = CellEncoder(engine.model, normalize, processor.do_binning)
    matrix = adata.X if layer is None else adata.layers[layer]
    vectors = np.empty((adata.n_obs, encoder.embedding_size), np.float32)
    drugs = np.zeros(adata.n_obs, np.int64) if processor.use_chem_token else None
    with tqdm(total=adata.n_obs, unit="cell", disable=not progress) as bar:
        for start in range(0, adata.n_obs, WINDOW):
            rows = slice(start, min(start + WINDOW, adata.n_obs))
            cells = processor.encode_rows(matrix[rows], tokens)
            vectors[rows] = run_cells(engine, encoder, cells, None if drugs is None else drugs[rows], bar.update)
    adata.obsm[key_added] = vectors
    adata.uns[key_added] = {"normalize": normalize, "model": str(model) if is_path(model) else "in memory"}
    return adata if copy else None
