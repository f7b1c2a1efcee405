"""Files of any size in, files with vectors out: constant memory, and a killed run carries on."""

import logging
import os
from pathlib import Path

from tqdm.auto import tqdm

from tahoe_distill.embedding.engine import Totals
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import PartialResult, check_output, folder_of, write_output
from tahoe_distill.embedding.pipeline import run_windows
from tahoe_distill.embedding.session import open_session
from tahoe_distill.files import remove

log = logging.getLogger(__name__)


def embed_file(
    path: str | os.PathLike[str],
    model: ModelSource,
    out: str | os.PathLike[str],
    *,
    key_added: str = "X_tx1",
    layer: str | None = None,
    gene_key: str | None = None,
    drug_key: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **options: object,
) -> Path:
    """Embed an h5ad or zarr file of any size into a copy of it.

    Reads, tokenises and embeds window after window and keeps each finished window beside the output, so memory does not
    grow with the file. A run that was killed or interrupted carries on when it is called again with the same arguments,
    and gives the same file.

    Args:
        path: Input, ``.h5ad`` or ``.zarr``; raw counts or log1p of them. Stored by rows (csr or dense) it is read in
            pieces; stored by columns (csc) it is loaded whole, with a warning.
        model: As in :func:`tahoe_distill.embed`.
        out: Output of the same format; may be the input itself with ``overwrite``.
        key_added: Key of ``obsm`` and ``uns`` (and ``varm``).
        layer: Layer to read instead of ``X``.
        gene_key: Column of ``var`` with Ensembl ids.
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
    with open_session(path, model, options, layer=layer, gene_key=gene_key, drug_key=drug_key) as session:
        width = session.model.config.embedding_size
        keys = [f"{group}/{key_added}" for group in ("obsm", *(["varm"] if options.genes else []))]
        check_output(path, out, keys, needed=4 * session.cells.n_obs * width, overwrite=overwrite)
        session.check()
        noted = session.provenance()
        partial = _open_partial(session, path, out, noted, overwrite)
        totals = _run(session, partial, progress)
        varm = totals.gene_table(session.cells.tokens, session.model.config.hidden_size)
    # The input must be closed before a copy of it may take its place.
    write_output(path, out, key_added, vectors=partial.vectors, uns={**noted, **totals.counts}, varm=varm)
    partial.drop()
    return out


def _open_partial(session, path, out, noted, overwrite):
    """Partial result of exactly this run; with ``overwrite`` one of another run is dropped."""
    options, status = session.options, path.stat()
    shape = (session.cells.n_obs, session.model.config.embedding_size)
    run = {
        **noted,
        "input": str(path.resolve()),
        "input_size": status.st_size,
        "input_changed": status.st_mtime_ns,
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
        remove(folder_of(out))
        return PartialResult(out, run, shape)


def _run(session, partial, progress):
    """Embed the windows that are not done yet; return what all add up to."""
    count = session.cells.n_obs
    windows = session.options.windows(count)
    totals = Totals(session.processor, partial.genes() if session.options.genes else None, **partial.counts)
    if partial.windows:
        log.warning("carrying on after %d of %d cells", windows[partial.windows - 1][1], count)
    left = windows[partial.windows :]
    done = left[0][0] if left else count
    with tqdm(total=count, initial=done, unit="cell", disable=not progress) as bar:
        for window, cells, result in run_windows(session, left, bar.update):
            totals.add(cells, result)
            partial.commit(window, result.vectors, totals)
    totals.warn()
    return totals
