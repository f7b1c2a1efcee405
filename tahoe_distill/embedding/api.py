"""AnnData in, `obsm` out."""

import logging

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from tahoe_distill.cells import check_cells, match_genes, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.embedding.loading import is_path, load_student
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.pipeline import Job, run_windows
from tahoe_distill.embedding.prepare import Tally, check_genes_of_raw, provenance

log = logging.getLogger(__name__)


def embed(
    adata,
    model,
    *,
    key_added="X_tx1",
    layer=None,
    gene_key=None,
    symbols=None,
    batch_size="auto",
    device="auto",
    dtype="auto",
    genes=False,
    attentions=None,
    copy=False,
    normalize=True,
    drug_key=None,
    backend="torch",
    devices=None,
    workers=0,
    window=None,
    progress=False,
):
    """Embed every cell of an AnnData with a student or a converted teacher.

    The same cell gets the same vector (within 1e-6 in float32) whatever the batch size, the order or the company.
    Needs no labels. Cells above the context are cut to a sample of their genes that depends on these genes alone; cells
    without a known gene get the vector of an empty cell, with a warning.

    Args:
        adata: Cells by genes; raw counts or log1p of them (binning looks at ranks only).
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
        normalize: Divide each vector by its length, as the published Tahoe embeddings are.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        backend: ``torch``, ``compile``, ``int8``, ``onnx`` or ``onnx-int8``; the last three run on CPUs.
        devices: Several devices, one process each: a list, ``"cuda:0,cuda:1"``, or a number.
        workers: Processes that tokenise; 0 for a thread.
        window: Cells sorted by length together; ``None`` for 1,024 on CPUs and 4,096 on GPUs.
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
    options = Options(
        batch_size=batch_size, device=device, devices=devices, dtype=dtype, backend=backend, normalize=normalize,
        genes=genes, attentions=attentions, window=window, workers=workers,
    )  # fmt: skip
    with open_cells(adata, layer=layer) as cells:
        check_genes_of_raw(cells, genes, attentions)
        check_cells(cells)
        student, processor = load_student(model)
        options.blocks(student.config.num_hidden_layers)
        match = match_genes(cells, processor.vocab, gene_key=gene_key, symbols=symbols).require()
        drugs = cell_drugs(cells, processor, drug_key)
        job = Job(student, processor, match.tokens, options, drugs, is_path(model))
        noted = provenance(str(model) if is_path(model) else None, student, match, options, layer, gene_key, drug_key)
        collected = _collect(job, cells, progress)
    target = _writable(adata, copy)
    target.obsm[key_added] = collected.vectors
    target.uns[key_added] = {**noted, **collected.tally.report()}
    if genes:
        target.varm[key_added] = gene_table(match.tokens, collected.genes, student.config.hidden_size)
    if collected.attention is not None:
        target.layers[f"{key_added}_attention"] = collected.attention
    return target if copy else None


class _Collected:
    """What the windows of a run add up to."""

    def __init__(self, n_obs, width, processor):
        self.vectors = np.empty((n_obs, width), dtype=np.float32)
        self.tally = Tally(processor)
        self.genes = {}
        self.attention = None


def _collect(job, source, progress):
    collected = _Collected(source.n_obs, job.model.config.embedding_size, job.processor)
    rows = []
    with tqdm(total=source.n_obs, unit="cell", disable=not progress) as bar:
        for window, cells, result in run_windows(job, source.rows, job.options.windows(source.n_obs), bar.update):
            collected.vectors[slice(*window)] = result.vectors
            collected.tally.add(cells)
            if result.genes is not None:
                add_genes(collected.genes, result.genes)
            if result.attention is not None:
                rows.append(_attention_rows(result.attention, job.tokens, job.processor.vocab))
    if rows:
        collected.attention = sparse.vstack(rows, format="csr")
    return collected


def add_genes(total, part):
    """Add the ``(tokens, sums, counts)`` of a window to ``{token: [sum, count]}``, in float64."""
    for token, vector, count in zip(*part):
        entry = total.setdefault(int(token), [0.0, 0])
        entry[0] = entry[0] + vector.astype(np.float64)
        entry[1] += int(count)


def gene_table(tokens, total, width):
    """(n_vars, d) float32 mean embedding of each gene, NaN where no cell expresses it."""
    table = np.full((len(tokens), width), np.nan, dtype=np.float32)
    for column, token in enumerate(tokens.tolist()):
        if token in total:
            vector, count = total[token]
            table[column] = vector / count
    return table


def _attention_rows(attention, tokens, vocab):
    """(C, n_vars) CSR of one window; a token that several columns share is put on the first of them."""
    column_of = np.full(len(vocab), -1, dtype=np.int64)
    known = np.flatnonzero(tokens >= 0)[::-1]
    column_of[tokens[known]] = known
    columns = [column_of[row] for row, _ in attention]
    kept = [column >= 0 for column in columns]
    bounds = np.concatenate([[0], np.cumsum([mask.sum() for mask in kept])])
    data = np.concatenate([weights[mask] for (_, weights), mask in zip(attention, kept)])
    indices = np.concatenate([column[mask] for column, mask in zip(columns, kept)])
    return sparse.csr_matrix((data, indices, bounds), shape=(len(attention), len(tokens)))


def _writable(adata, copy):
    """The object to write to: a copy, or ``adata`` itself, which stops being a view first, as in scanpy."""
    if copy:
        if adata.isbacked:
            raise ValueError(
                "copy=True needs cells in memory, found a backed AnnData; use copy=False or adata.to_memory()"
            )
        return adata.copy()
    if adata.is_view:
        log.warning("adata is a view of another AnnData and becomes an object of its own")
        adata._init_as_actual(adata.copy())
    return adata
