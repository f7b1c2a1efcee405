"""Files of any size in, files with vectors out: constant memory, and a killed run carries on."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tahoe_distill.cells.stores import stamp
from tahoe_distill.cells.symbols import Symbols
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
    symbols: Symbols | None = None,
    drug_key: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Path:
    """Embed a file of any size into a copy of it.

    Reads, tokenises and embeds window after window and keeps each finished window beside the output, so memory does not
    grow with the file. A run that was killed or interrupted carries on when it is called again with the same arguments,
    and gives the same file.

    Args:
        path: Input: h5ad, zarr or 10x ``.h5``; raw counts or log1p of them. A matrix that is stored by columns is
            turned around once, in files beside the output.
        model: As in :func:`tahoe_distill.embed`.
        out: Output: zarr where the input is, h5ad otherwise; may be the input itself with ``overwrite``.
        key_added: Key of ``obsm`` and ``uns`` (and ``varm``).
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`.
        drug_key: Column of ``obs`` with drug names, for a model with a drug token.
        overwrite: Replace an existing output or key, and drop the unfinished result of another run.
        progress: Show a progress bar.
        **settings: Fields of :class:`~tahoe_distill.embedding.options.Options`, except ``attentions``.

    Returns:
        The path of the output.

    Raises:
        ValueError: When input, model, output or options do not fit; nothing has been written then.
    """
    options = Options(**settings)
    if options.attentions is not None:
        raise ValueError("attentions are not written to files; call tahoe_distill.embed on the cells of interest")
    path, out = Path(path), Path(out)
    chosen: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    with open_session(path, model, options, turned=_rows_folder(path, out, layer), **chosen) as session:
        width = session.model.config.embedding_size
        keys = [f"{group}/{key_added}" for group in ("obsm", *(["varm"] if options.genes else []))]
        check_output(session.cells.source, out, keys, needed=4 * session.cells.n_obs * width, overwrite=overwrite)
        session.check()
        noted = session.provenance()
        partial = _open_partial(session, path, out, noted, overwrite)
        totals = _run(session, partial, progress)
        varm = totals.gene_table(session.cells.tokens, session.model.config.hidden_size)
    # The input must be closed before a copy of it may take its place.
    write_output(path, out, key_added, vectors=partial.vectors, uns={**noted, **totals.counts}, varm=varm)
    partial.drop()
    return out


def _rows_folder(path, out, layer):
    """Where the rows of a matrix that is stored by columns wait for a run that carries on: one place for one input."""
    digest = hashlib.sha256(repr((str(path.resolve()), layer, stamp(path))).encode()).hexdigest()
    return folder_of(out) / f"rows-{digest[:16]}"


def _open_partial(session, path, out, noted, overwrite):
    """Partial result of exactly this run; with ``overwrite`` one of another run is dropped."""
    options, (size, changed) = session.options, stamp(path)
    shape = (session.cells.n_obs, session.model.config.embedding_size)
    run = {
        **noted,
        "input": str(path.resolve()),
        "input_size": size,
        "input_changed": changed,
        "tokens": hashlib.sha256(session.cells.tokens.tobytes()).hexdigest(),
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
