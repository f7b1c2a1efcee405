"""`embed`: AnnData in, `obsm` out."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from tqdm.auto import tqdm

from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.confidence import COLUMNS, confidence_columns, load_confidence
from tahoe_distill.embedding.doctor import check_cells_make_sense
from tahoe_distill.embedding.engine import Totals
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import check_key, check_keys
from tahoe_distill.embedding.pipeline import run_windows
from tahoe_distill.embedding.session import Session, open_session

log = logging.getLogger(__name__)


def embed(
    adata: AnnData,
    model: ModelSource,
    *,
    key_added: str = "X_tx1",
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Symbols | None = None,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    genes: bool = False,
    attentions: int | str | Sequence[int] | None = None,
    copy: bool = False,
    overwrite: bool = False,
    force: bool = False,
    normalize: bool = True,
    dim: int | None = None,
    drug_key: str | None = None,
    backend: str = "torch",
    devices: str | int | Sequence[str | torch.device] | None = None,
    workers: int = 0,
    window: int | None = None,
    confidence: bool = False,
    progress: bool = False,
) -> AnnData | None:
    """Embed every cell of an AnnData with a student or a converted teacher.

    The same cell gets the same vector (within 1e-6 in float32) whatever the batch size, the order or the company.
    Needs no labels. Cells above the context are cut to a sample of their genes that depends on these genes alone; cells
    without a known gene get the vector of an empty cell, with a warning.

    Args:
        adata: Cells by genes; raw counts or log1p of them (binning looks at ranks only). In memory, a view, backed, or
            opened by ``anndata.experimental.read_lazy``; of a ``MuData``, its modality ``rna``.
        model: Folder or hub id of an exported model, a ``(model, processor)`` pair, or an object with ``model`` and
            ``processor``. Objects of the caller are not changed.
        key_added: Key of ``obsm``, and of ``uns`` for where the vectors come from.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
        symbols: Table of gene symbols that overrides those of the model and of the package: symbol to Ensembl id, or a
            file as :func:`tahoe_distill.cells.read_symbols` takes it.
        batch_size: Cells of a batch at most; ``"auto"`` for a budget of tokens.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        dtype: ``"auto"`` (bfloat16 on GPUs, float32 on CPUs), ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        genes: Also write ``varm[key_added]``: the embedding of each gene (``last_hidden_state``), averaged over the
            cells whose context holds it; (n_vars, d) float32, NaN for genes that no cell expresses.
        attentions: Also write ``layers[f"{key_added}_attention"]``: the attention that the ``<cls>`` position pays to
            each gene in the named block (negative from the last), blocks, or ``"all"``, averaged over heads and
            blocks; (n_obs, n_vars) sparse.
        copy: Return an embedded copy and leave ``adata`` alone.
        overwrite: Replace vectors of an earlier call under the same key.
        force: Embed cells that have next to nothing to do with the vocabulary (of another species, or empty), whose
            vectors mean nothing.
        normalize: Divide each vector by its length, as the published Tahoe embeddings are.
        dim: Coordinates of a cell embedding, the first ones, taken before it is normalised; ``None`` for all.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        backend: ``torch``, ``compile``, ``int8``, ``onnx`` or ``onnx-int8``; the last three run on CPUs.
        devices: Several devices, one process each: a list, ``"cuda:0,cuda:1"``, or a number.
        workers: Processes that tokenise; 0 for a thread.
        window: Cells sorted by length together; ``None`` for 1,024 on CPUs and 4,096 on GPUs.
        confidence: Also write ``obs["tx1_fidelity"]``, how close (-1 … 1) each vector is expected to be to the
            teacher's, and ``obs["tx1_fidelity_low"]``, the bound that nine of ten cells lie above; for an exported
            student that was calibrated, named by its folder or hub id.
        progress: Show a progress bar.

    Returns:
        ``None``, or the copy. ``obsm[key_added]`` is (n_obs, e) float32.

    Raises:
        ValueError: When model, genes, counts or options do not fit; the message says what to do.

    Examples:
        >>> from tahoe_distill import embed
        >>> embed(adata, "path/to/student")  # doctest: +SKIP
        >>> sc.pp.neighbors(adata, use_rep="X_tx1")  # doctest: +SKIP
    """
    adata = rna_of(adata)
    options = Options(
        batch_size=batch_size, device=device, devices=devices, dtype=dtype, backend=backend, normalize=normalize,
        dim=dim, genes=genes, attentions=attentions, window=window, workers=workers,
    )  # fmt: skip
    chosen: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    _check_target(adata, key_added, options, overwrite, copy, COLUMNS if confidence else ())
    with open_session(adata, model, options, **chosen, force=force) as session:
        trust = load_confidence(session.name) if confidence else None
        found = vectors_in_memory(session, progress)
        table = found.totals.gene_table(session.cells.tokens, session.model.config.hidden_size)
        columns = {} if trust is None else confidence_columns(trust, found.vectors, found.genes_read)
    found.totals.warn()
    target = writable(adata, copy)
    for name, values in columns.items():
        target.obs[name] = values
    target.obsm[key_added] = found.vectors
    target.uns[key_added] = found.noted
    if table is not None:
        target.varm[key_added] = table
    if found.attention is not None:
        target.layers[f"{key_added}_attention"] = found.attention
    return target if copy else None


@dataclass(frozen=True)
class MemoryVectors:
    """What the cells of a session came to.

    Args:
        vectors: (n_obs, e) float32.
        noted: What to note in ``uns``.
        genes_read: (n_obs,) genes that each vector is made of.
        totals: What all cells add up to.
        attention: (n_obs, n_vars) sparse, where it was wanted.
    """

    vectors: np.ndarray
    noted: dict[str, object]
    genes_read: np.ndarray
    totals: Totals
    attention: sparse.csr_matrix | None


def vectors_in_memory(session: Session, progress: bool = False) -> MemoryVectors:
    """Check a session and embed its cells; what :meth:`Totals.warn` says is left to the caller.

    Args:
        session: Model, cells and options.
        progress: Show a progress bar.

    Raises:
        ValueError: When genes, counts or options do not fit.
    """
    session.check()
    survey = check_cells_make_sense(session)
    noted = session.provenance()
    vectors, totals, attention = _run(session, progress)
    noted = {**noted, **totals.counts, "counts_known": survey.share}
    return MemoryVectors(vectors, noted, session.genes_read(survey.lengths), totals, attention)


def _check_target(
    adata: AnnData, key: str, options: Options, overwrite: bool, copy: bool, columns: Sequence[str]
) -> None:
    """Refuse, before any work, an object or a key that cannot be written to."""
    require_anndata(adata, copy)
    check_key(key)
    keys = [f"{group}/{key}" for group in ("obsm", "uns", *(["varm"] if options.genes else []))]
    keys += [f"layers/{key}_attention"] if options.attentions is not None else []
    keys += [f"obs/{column}" for column in columns]
    check_free(adata, keys, overwrite=overwrite)


def check_free(adata: AnnData, keys: list[str], *, overwrite: bool) -> None:
    """Refuse, before any work, to replace what is not to be replaced.

    Args:
        adata: The object that will be written to.
        keys: Keys such as ``obsm/X_tx1`` that will be written.
        overwrite: Whether what stands there may be replaced.

    Raises:
        ValueError: When one is there that must stay.
    """
    parts = {name: (name.partition("/")[0], name.partition("/")[2]) for name in keys}
    found = {
        name: getattr(adata, part)[entry] for name, (part, entry) in parts.items() if entry in getattr(adata, part)
    }
    check_keys("adata", found, keys, overwrite=overwrite)


def rna_of(cells: Any) -> Any:
    """The modality ``rna`` of a MuData, and anything else as it is.

    Raises:
        ValueError: For a MuData without it.
    """
    modalities = getattr(cells, "mod", None)
    if isinstance(cells, AnnData) or not isinstance(modalities, Mapping):
        return cells
    if "rna" not in modalities:
        raise ValueError(
            f"expected a MuData with a modality 'rna', found {', '.join(map(repr, modalities)) or 'none'}; pass one of "
            "them, such as mdata['name']"
        )
    return modalities["rna"]


def require_anndata(adata: AnnData, copy: bool = False) -> None:
    """Refuse what is no AnnData, and to copy one that is backed.

    Raises:
        ValueError: With what to call or to pass instead.
    """
    if isinstance(adata, (str, os.PathLike)):
        raise ValueError(
            f"expected an AnnData, found the path {str(adata)!r}; read it first (anndata.read_h5ad), or embed a file "
            "of any size with tahoe_distill.embedding.embed_file or `tahoe-distill embed`"
        )
    if not isinstance(adata, AnnData):
        raise ValueError(f"expected an AnnData, found a {type(adata).__name__}")
    if copy and adata.isbacked:
        raise ValueError("copy=True needs cells in memory, found a backed AnnData; use copy=False or adata.to_memory()")


def writable(adata: AnnData, copy: bool) -> AnnData:
    """The object to write to: a copy, or ``adata`` itself, which stops being a view first, as in scanpy."""
    with warnings.catch_warnings():
        # Copying says so of names that were the same before.
        warnings.filterwarnings("ignore", message=".*names are not unique")
        if copy:
            return adata.copy()
        if adata.is_view:
            log.warning("adata is a view of another AnnData and becomes an object of its own")
            adata._init_as_actual(adata.copy())
    return adata


def _run(session, progress):
    """Vectors (n_obs, E), totals, and the attention (n_obs, n_vars) where it is wanted."""
    cells, options = session.cells, session.options
    vectors = np.empty((cells.n_obs, session.model.config.embedding_size), dtype=np.float32)
    totals = Totals(session.processor, {} if options.genes else None)
    rows = []
    with tqdm(total=cells.n_obs, unit="cell", disable=not progress) as bar:
        for window, encoded, result in run_windows(session, options.windows(cells.n_obs), bar.update):
            vectors[slice(*window)] = result.vectors
            totals.add(encoded, result)
            if result.attention is not None:
                rows.append(_attention_rows(result.attention, cells.columns, cells.n_vars))
    return vectors, totals, sparse.vstack(rows, format="csr") if rows else None


def _attention_rows(attention, column_of, n_vars):
    """(C, n_vars) CSR of one window."""
    columns = [column_of[row] for row, _ in attention]
    kept = [column >= 0 for column in columns]
    bounds = np.concatenate([[0], np.cumsum([mask.sum() for mask in kept])])
    data = np.concatenate([weights[mask] for (_, weights), mask in zip(attention, kept)])
    indices = np.concatenate([column[mask] for column, mask in zip(columns, kept)])
    return sparse.csr_matrix((data, indices, bounds), shape=(len(attention), n_vars))
