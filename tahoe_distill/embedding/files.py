"""Files of any size in, files with vectors out: constant memory, and a killed run carries on."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tahoe_distill.cells.formats import is_address
from tahoe_distill.cells.stores import identity, stamp
from tahoe_distill.cells.symbols import Symbols
from tahoe_distill.embedding.confidence import COLUMNS, Confidence, confidence_columns, load_confidence
from tahoe_distill.embedding.doctor import check_cells_make_sense
from tahoe_distill.embedding.engine import Totals
from tahoe_distill.embedding.loading import ModelSource, processor_fingerprint
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import Added, check_key, check_output, check_place, write_output
from tahoe_distill.embedding.partial import PartialResult, drop, telling_space, unfinished
from tahoe_distill.embedding.pipeline import run_windows
from tahoe_distill.embedding.session import Session, open_session

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
    force: bool = False,
    confidence: bool = False,
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
        force: As in :func:`tahoe_distill.embed`.
        confidence: As in :func:`tahoe_distill.embed`.
        progress: Show a progress bar.
        **settings: Fields of :class:`~tahoe_distill.embedding.options.Options`, except ``attentions``.

    Returns:
        The path of the output.

    Raises:
        ValueError: When input, model, output or options do not fit; nothing has been written then.
        FolderInUseError: When another process writes this output.
        OSError: When the disk is full; what is done is kept.
    """
    options = Options(**settings)
    if options.attentions is not None:
        raise ValueError("attentions are not written to files; call tahoe_distill.embed on the cells of interest")
    check_key(key_added)

    def keys(session: Session) -> list[str]:
        # Read before any work: a model without it is told at once.
        trust.extend([load_confidence(session.name)] if confidence else [])
        return [*_keys(session, key_added), *(f"obs/{name}" for name in COLUMNS if confidence)]

    def add(session: Session, found: FileVectors) -> Added:
        varm = found.totals.gene_table(session.cells.tokens, session.model.config.hidden_size)
        columns = confidence_columns(trust[0], found.vectors, found.genes_read) if trust else {}
        return Added(
            uns={key_added: found.noted},
            obsm={key_added: found.vectors},
            varm={} if varm is None else {key_added: varm},
            obs=columns,
        )

    trust: list[Confidence] = []
    chosen: dict[str, Any] = {"layer": layer, "gene_key": gene_key, "symbols": symbols, "drug_key": drug_key}
    given: dict[str, Any] = {"overwrite": overwrite, "force": force, "progress": progress}
    return vectors_into_file(path, model, out, keys=keys, add=add, options=options, chosen=chosen, **given)


@dataclass(frozen=True)
class FileVectors:
    """What the cells of a file came to.

    Args:
        vectors: (n_obs, e) float32, which live on the disk.
        noted: What to note in ``uns``.
        genes_read: (n_obs,) genes that each vector is made of.
        totals: What all cells add up to.
    """

    vectors: np.ndarray
    noted: dict[str, object]
    genes_read: np.ndarray
    totals: Totals


def vectors_into_file(
    path: str | os.PathLike[str],
    model: ModelSource,
    out: str | os.PathLike[str],
    *,
    keys: Callable[[Session], list[str]],
    add: Callable[[Session, FileVectors], Added],
    options: Options,
    chosen: Mapping[str, Any],
    overwrite: bool = False,
    force: bool = False,
    progress: bool = False,
) -> Path:
    """Embed a file of any size, and write a copy of it with whatever is made of the vectors.

    Args:
        path: Input, as in :func:`embed_file`.
        model: As in :func:`tahoe_distill.embed`.
        out: Output, as in :func:`embed_file`.
        keys: What will be written, such as ``obsm/X_tx1``; asked before any work.
        add: What to write, of the vectors.
        options: How to embed.
        chosen: ``layer``, ``gene_key``, ``symbols`` and ``drug_key``.
        overwrite: As in :func:`embed_file`.
        force: As in :func:`tahoe_distill.embed`.
        progress: Show a progress bar.

    Returns:
        The path of the output.

    Raises:
        ValueError: When input, model, output or options do not fit; nothing has been written then.
        FolderInUseError: When another process writes this output.
        OSError: When the disk is full; what is done is kept.
    """
    path, out = _path(path), Path(out)
    check_place(out, overwrite=overwrite)
    size = stamp(path)[0] if path.exists() else 0
    with telling_space(out.parent, size), unfinished(out, f"embed {path.name}") as folder:
        found = _identity(path)
        layer = chosen["layer"]
        rows = folder / f"rows-{hashlib.sha256(f'{path.resolve()} {layer} {found}'.encode()).hexdigest()[:16]}"
        with open_session(path, model, options, **chosen, force=force, turned=rows) as session:
            check_output(session.cells.source, out, keys(session), needed=_bytes(session), overwrite=overwrite)
            session.check()
            survey = check_cells_make_sense(session)
            noted = session.provenance()
            run = {**noted, **_run_identity(session, path), "input_files": found}
            partial = PartialResult(folder, run, **_extent(session), overwrite=overwrite)
            totals = _run(session, partial, progress)
            noted |= {**totals.counts, "counts_known": survey.share}
            added = add(session, FileVectors(partial.vectors, noted, session.genes_read(survey.lengths), totals))
        if _identity(path) != found:
            drop(folder)
            raise ValueError(f"{path} changed while it was read, so nothing was written; embed it again once it stays")
        # The input is closed, so a copy of it may take its place.
        write_output(path, out, added)
        drop(folder)
    return out


def _path(source: str | os.PathLike[str]) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"embed_file takes the path of a file, found a {type(source).__name__}; for an AnnData call "
            "tahoe_distill.embed"
        )
    if is_address(source):
        raise ValueError(
            f"{source}: a SOMA experiment is not copied; name an output that ends with .zarr, .parquet or .soma "
            "(tahoe_distill.atlas.embed_atlas), which takes its table and the vectors"
        )
    return Path(source)


def _identity(path: Path) -> str:
    """What tells a changed input from the one that was read; empty where there is none, which opening it will tell."""
    return identity(path) if path.exists() else ""


def _keys(session: Session, key: str) -> list[str]:
    return [f"{group}/{key}" for group in ("obsm", "uns", *(["varm"] if session.options.genes else []))]


def _bytes(session: Session) -> int:
    """What the vectors of all cells take."""
    return 4 * session.cells.n_obs * session.model.config.embedding_size


def _extent(session: Session) -> dict[str, Any]:
    """Shape of the vectors and number of windows."""
    count = session.cells.n_obs
    shape = (count, session.model.config.embedding_size)
    return {"shape": shape, "windows": len(session.options.windows(count))}


def _run_identity(session: Session, path: Path) -> dict[str, object]:
    """What must be the same for a run to carry on, beside what is noted in the output."""
    options, extent = session.options, _extent(session)
    return {
        "input": str(path.resolve()),
        "processor": processor_fingerprint(session.processor),
        "tokens": hashlib.sha256(session.cells.tokens.tobytes()).hexdigest(),
        "device": options.places()[0].type,
        "batch_size": options.batch_size,
        "window": options.windows(extent["shape"][0])[0][1],
        "genes": options.genes,
        "shape": list(extent["shape"]),
    }


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
