"""Files of any size in, files with vectors out: constant memory, and a killed run carries on."""

import hashlib
import logging
from pathlib import Path

from tqdm.auto import tqdm

from tahoe_distill.cells import check_cells, match_genes, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.cells.stores import stamp
from tahoe_distill.embedding.api import add_genes, gene_table
from tahoe_distill.embedding.loading import is_path, load_student
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import check_output, write_output
from tahoe_distill.embedding.partial import PartialResult, drop_partial, folder_of
from tahoe_distill.embedding.pipeline import Job, run_windows
from tahoe_distill.embedding.prepare import Tally, check_genes_of_raw, provenance

log = logging.getLogger(__name__)


def embed_file(
    path, model, out, *, key_added="X_tx1", layer=None, gene_key=None, symbols=None, drug_key=None, overwrite=False,
    progress=False, **options,
):  # fmt: skip
    """Embed a file of any size into a copy of it.

    Reads, tokenises and embeds window after window and keeps each finished window beside the output, so memory does not
    grow with the file. A run that was killed or interrupted carries on when it is called again with the same arguments,
    and gives the same file.

    Args:
        path: Input: h5ad, zarr or 10x ``.h5``; raw counts or log1p of them. A matrix that is stored by columns is
            turned around once, in files beside the output.
        model: As in :func:`tahoe_distill.embed`.
        out: Output: h5ad, or zarr where the input is; may be the input itself with ``overwrite``.
        key_added: Key of ``obsm`` and ``uns`` (and ``varm``).
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        overwrite: Replace an existing output or key, and drop the unfinished result of another run.
        progress: Show a progress bar.
        **options: Fields of :class:`~tahoe_distill.embedding.options.Options`, except ``attentions``.

    Returns:
        The path of the output.

    Raises:
        ValueError: When input, model, output or options do not fit; nothing has been written then.
    """
    options = Options(**options)
    if options.attentions is not None:
        raise ValueError("attentions are not written to files; call tahoe_distill.embed on the cells of interest")
    path, out = Path(path), Path(out)
    with open_cells(path, layer=layer, turned=_rows_folder(path, out, layer)) as cells:
        check_genes_of_raw(cells, options.genes)
        student, processor = load_student(model)
        match = match_genes(cells, processor.vocab, gene_key=gene_key, symbols=symbols).require()
        keys = [f"{group}/{key_added}" for group in ("obsm", *(["varm"] if options.genes else []))]
        shape = (cells.n_obs, student.config.embedding_size)
        check_output(cells, out, keys, 4 * shape[0] * shape[1], overwrite)
        check_cells(cells)
        drugs = cell_drugs(cells, processor, drug_key)
        job = Job(student, processor, match.tokens, options, drugs, is_path(model))
        noted = provenance(str(model) if is_path(model) else None, student, match, options, layer, gene_key, drug_key)
        partial = _open_partial(path, out, noted, options, shape, overwrite, match.tokens)
        genes = _run(job, cells, partial, progress)
    # The input must be closed before a copy of it may take its place.
    counts = {name: partial.state[name] for name in ("cells_empty", "cells_at_context")}
    varm = None if genes is None else gene_table(match.tokens, genes, student.config.hidden_size)
    write_output(path, out, key_added, partial.vectors, {**noted, **counts}, varm)
    partial.drop()
    return out


def _rows_folder(path, out, layer):
    """Where the rows of a matrix that is stored by columns wait for a run that carries on: one place for one input."""
    digest = hashlib.sha256(repr((str(path.resolve()), layer, stamp(path))).encode()).hexdigest()
    return folder_of(out) / f"rows-{digest[:16]}"


def _open_partial(path, out, noted, options, shape, overwrite, tokens):
    """Partial result of exactly this run; with ``overwrite`` one of another run is dropped."""
    size, changed = stamp(path)
    run = {
        **noted,
        "input": str(path.resolve()),
        "input_size": size,
        "input_changed": changed,
        "tokens": hashlib.sha256(tokens.tobytes()).hexdigest(),
        "device": options.places()[0].type,
        "batch_size": options.batch_size,
        "window": options.windows(shape[0])[0][1],
        "genes": options.genes,
        "shape": list(shape),
    }
    try:
        return PartialResult(out, run, shape)
    except ValueError:
        if not overwrite:
            raise
        drop_partial(folder_of(out))
        return PartialResult(out, run, shape)


def _run(job, source, partial, progress):
    """Embed the windows that are not done yet; return the gene sums where they are wanted."""
    windows = job.options.windows(source.n_obs)
    tally = Tally(job.processor)
    tally.empty, tally.full = partial.state["cells_empty"], partial.state["cells_at_context"]
    genes = partial.genes() if job.options.genes else None
    if partial.windows:
        log.warning("carrying on after %d of %d cells", windows[partial.windows - 1][1], source.n_obs)
    left = windows[partial.windows :]
    done = left[0][0] if left else source.n_obs
    with tqdm(total=source.n_obs, initial=done, unit="cell", disable=not progress) as bar:
        for window, cells, result in run_windows(job, source.rows, left, bar.update):
            tally.add(cells)
            if genes is not None:
                add_genes(genes, result.genes)
            counts = {"cells_empty": tally.empty, "cells_at_context": tally.full}
            partial.commit(window, result.vectors, counts, genes)
    tally.report()
    return genes
