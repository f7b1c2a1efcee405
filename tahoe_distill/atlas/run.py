"""`embed_atlas`: sources in, one output out, by this process, by a share of it, or by a cluster."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tahoe_distill.atlas.finish import finish, note_of_run
from tahoe_distill.atlas.job import Job, Source, Window, chunks_of, find_sources, share_of, windows_of
from tahoe_distill.atlas.ledger import Ledger, refuse_shards, shard_held
from tahoe_distill.atlas.outputs import output_of
from tahoe_distill.atlas.ray_way import Cluster, RaySettings, embed_on_cluster, joined
from tahoe_distill.atlas.worker import SourceError, Worker
from tahoe_distill.cells.formats import expand_inputs, whole_name
from tahoe_distill.embedding.confidence import load_confidence
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.output import check_key, check_place
from tahoe_distill.embedding.partial import STATE, drop, folder_of, unfinished
from tahoe_distill.locks import FolderInUseError
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.models.modeling_tx1 import CPU_WINDOW, GPU_WINDOW

log = logging.getLogger(__name__)

STOP, SKIP = "stop", "skip"
# Windows of a source that are read in a row by the plain way.
_CHUNK = 64
_SETTINGS = ("batch_size", "devices", "backend", "normalize", "dim", "workers")


@dataclass(frozen=True)
class AtlasResult:
    """What a call came to.

    Args:
        out: The output; ``None`` where a share of it is done and others are not.
        cells: Cells of all readable sources.
        computed: Cells of the windows that this call did.
        windows_left: Windows that others have to do.
        skipped: Why sources were left out, by path.
    """

    out: Path | None
    cells: int
    computed: int
    windows_left: int
    skipped: dict[str, str]


@dataclass(frozen=True)
class Atlas:
    """A run: what, from where, to where.

    Args:
        job: How each window is embedded.
        paths: The sources' paths.
        out: The output.
        key: Key of ``obsm`` and ``uns``.
        pair: The model and its processor.
        on_error: ``stop`` or ``skip``.
        confidence: Write how far to trust each vector.
        overwrite: Replace what is there.
        progress: Show a bar.
        about: What the user has to say of the output.
    """

    job: Job
    paths: list[str]
    out: Path
    key: str
    pair: tuple[Tx1Model, Tx1Processor]
    on_error: str = STOP
    confidence: bool = False
    overwrite: bool = False
    progress: bool = False
    about: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to carry on."""
        inputs = [whole_name(path) for path in self.paths]
        return {**self.job.identity(*self.pair), "inputs": inputs}


def embed_atlas(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    key_added: str = "X_tx1",
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: str | os.PathLike[str] | None = None,
    drug_key: str | None = None,
    overwrite: bool = False,
    force: bool = False,
    confidence: bool = False,
    progress: bool = False,
    on_error: str = STOP,
    shard: tuple[int, int] | str | None = None,
    store: str | os.PathLike[str] | None = None,
    ray: RaySettings | None = None,
    about: dict[str, str] | None = None,
    **settings: Any,
) -> AtlasResult:
    """Embed any number of files of any size into one store of their tables and vectors.

    Each file's genes are matched by themselves. A window of cells is done when its file lies beside the output; whoever
    was killed, the same command, by whatever way, does the others and writes the same bytes.

    Args:
        inputs: Paths and globs of h5ad, zarr and 10x ``.h5``, and SOMA experiments
            (:func:`tahoe_distill.cells.soma_address`).
        model: Folder or hub id of an exported model.
        out: A name that ends with ``.zarr``, ``.parquet`` or ``.soma``.
        key_added: Key of ``obsm`` and ``uns``, or name of the column.
        layer: As in :func:`tahoe_distill.embed`.
        gene_key: As in :func:`tahoe_distill.embed`.
        symbols: As in :func:`tahoe_distill.embed`, a file.
        drug_key: As in :func:`tahoe_distill.embed`.
        overwrite: Replace the output, and drop the unfinished result of another run.
        force: As in :func:`tahoe_distill.embed`.
        confidence: As in :func:`tahoe_distill.embed`.
        progress: Show a progress bar.
        on_error: ``"stop"`` at a file that cannot be read, or ``"skip"`` such files and name them.
        shard: ``(i, n)`` for the i-th of n parts of the work, 1 … n; the last to end writes the output. ``"merge"`` to
            write it and nothing else.
        store: Folder of cells that were embedded before: those are not computed again.
        ray: Let the actors of a Ray cluster do the work.
        about: Fields of the schema of contributed embeddings, for a ``.soma`` output: ``title``, ``contact_name`` …
        **settings: Fields of :class:`~tahoe_distill.embedding.options.Options`, except ``genes`` and ``attentions``.

    Returns:
        An :class:`AtlasResult`.

    Raises:
        ValueError: When inputs, model, output or options do not fit, or a file cannot be read; what is done is kept.
        FolderInUseError: When another process writes this output.
        OSError: When the disk is full; what is done is kept.
        ImportError: When a package is missing, with the extra that brings it.
    """
    check_key(key_added)
    if about and output_of(out).check is None:
        raise ValueError(f"about (--about) is for outputs that have room for it (.soma); found {out}")
    _check_ways(on_error, shard, store, ray=ray, settings=settings)
    paths = expand_inputs(inputs)
    with joined(ray) if ray is not None else contextlib.nullcontext() as cluster:
        job = Job(
            _absolute(model), layer, gene_key, None if symbols is None else os.path.abspath(symbols), drug_key, force,
            None if store is None else os.path.abspath(store), _settled(settings, cluster),
        )  # fmt: skip
        if confidence:
            load_confidence(job.model)
        atlas = Atlas(
            job,
            paths,
            Path(os.path.abspath(out)),
            key_added,
            job.load(),
            on_error,
            confidence,
            overwrite,
            progress,
            about or {},
        )
        if _is_there_already(atlas):
            return AtlasResult(atlas.out, 0, 0, 0, {})
        if isinstance(shard, tuple):
            return _embed_shard(atlas, shard)
        return _embed_all(atlas, cluster, merge_only=shard == "merge")


def _check_ways(
    on_error: str,
    shard: tuple[int, int] | str | None,
    store: str | os.PathLike[str] | None,
    *,
    ray: RaySettings | None,
    settings: dict[str, Any],
) -> None:
    """Refuse ways of working that exclude each other."""
    if on_error not in (STOP, SKIP):
        raise ValueError(f"on_error (--on-error) is {on_error!r}; expected {STOP} or {SKIP}")
    if isinstance(shard, tuple) and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard (--shard) is {shard[0]}/{shard[1]}; expected i/n with i from 1 to n")
    if shard is not None and ray is not None:
        raise ValueError("--shard and --ray exclude each other: one has a scheduler hand out the work, the other not")
    if settings.get("genes") or settings.get("attentions") is not None:
        raise ValueError("genes and attentions are for the genes of one file; leave them out, or embed each file alone")
    if settings.get("devices") is not None and (store is not None or ray is not None):
        raise ValueError("--devices is for one process without --store and --ray; with --ray each actor has a device")


def _absolute(model: str | os.PathLike[str]) -> str:
    """A folder by its whole path, as processes elsewhere stand in other folders; a hub id as it is."""
    return os.path.abspath(model) if os.path.exists(model) else str(model)


def _settled(settings: dict[str, Any], cluster: Cluster | None) -> dict[str, Any]:
    """The settings with kind of device and length of windows, which must not hang on the machine that asks."""
    if cluster is None:
        options = Options(**settings)
        device = str(options.places()[0])
    else:
        device = cluster.device(str(settings.get("device", "auto")))
        # GPUs and their precisions are checked where they are.
        options = Options(**{**settings, "device": "cpu", **({} if device == "cpu" else {"dtype": "auto"})})
    window = options.window or (GPU_WINDOW if device.startswith("cuda") else CPU_WINDOW)
    # Told in full, so that a default that was written out is no other run.
    whole = {name: getattr(options, name) for name in _SETTINGS}
    return {**whole, "dtype": str(settings.get("dtype", options.dtype)), "device": device, "window": window}


def _is_there_already(atlas: Atlas) -> bool:
    """Whether this very run has written the output before.

    Raises:
        ValueError: When something else is there that is not to be replaced.
    """
    out = atlas.out
    if out.exists() and not atlas.overwrite:
        found = note_of_run(out, atlas.key)
        mine = atlas.identity
        if found.get("run") == digest_of(mine):
            log.warning("%s is there already, written by this very command", out)
            _clear_up(out)
            return True
        if found.get("weights") not in (None, mine["weights"]):
            raise ValueError(
                f"{out} holds vectors of another model ({found.get('model')}, weights {found['weights']}; this one has "
                f"{mine['weights']}); name another output, or pass --overwrite (overwrite=True) to replace it"
            )
    check_place(out, overwrite=atlas.overwrite)
    return False


def _clear_up(out: Path) -> None:
    """Remove the windows of an output that is whole, where their process was killed before it could."""
    if folder_of(out).exists():
        with contextlib.suppress(FolderInUseError), unfinished(out, f"clear up after {out.name}") as folder:
            drop(folder)


def digest_of(run: dict[str, Any]) -> str:
    """16 hex digits of what identifies a run."""
    return hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _embed_all(atlas: Atlas, cluster: Cluster | None, *, merge_only: bool) -> AtlasResult:
    """Do all windows that are left, and write the output."""
    with unfinished(atlas.out, f"embed {atlas.out.name}") as folder:
        ledger = Ledger(folder)
        if not merge_only:
            refuse_shards(folder)
        try:
            if not merge_only:
                ledger.retry()
            sources, left = _plan(atlas, ledger)
            if merge_only:
                _refuse_gaps(atlas, ledger, left)
            else:
                _work(atlas, ledger, sources, left=left, cluster=cluster)
            return _finished(atlas, ledger, sources, left)
        except Exception:
            if not ledger.done():
                (folder / STATE).unlink(missing_ok=True)
            raise


def _embed_shard(atlas: Atlas, shard: tuple[int, int]) -> AtlasResult:
    """Do a share of the windows; whoever ends last writes the output."""
    folder = folder_of(atlas.out)
    with shard_held(folder, shard):
        ledger = Ledger(folder)
        by = f"{shard[0]}/{shard[1]}"
        ledger.retry(by)
        sources, left = _plan(atlas, ledger)
        # Shares are of all windows and not of those that are left, so that they stay apart while others work.
        mine = set(share_of(windows_of(sources, atlas.job.settings["window"]), shard))
        todo = [window for window in left if window in mine]
        _work(atlas, ledger, sources, left=todo, cluster=None, by=by)
    done, failed = ledger.done(), ledger.failed()
    missing = [window for window in left if window not in done and window.source not in failed]
    if failed and atlas.on_error == STOP:
        log.warning("not merged: %s", _complaint(list(failed.values()), len(sources)))
    if missing or (failed and atlas.on_error == STOP):
        return AtlasResult(None, sum(source.cells for source in sources), _count(todo), len(missing), {})
    # Others that end at the same time may be at it.
    with contextlib.suppress(FolderInUseError), unfinished(atlas.out, f"merge {atlas.out.name}"):
        if (folder / STATE).exists():
            return _finished(atlas, ledger, sources, todo)
    return AtlasResult(None, sum(source.cells for source in sources), _count(todo), 0, {})


def _plan(atlas: Atlas, ledger: Ledger) -> tuple[list[Source], list[Window]]:
    """The sources, and the windows that are left.

    Raises:
        ValueError: When a source cannot be read and that is not to be skipped.
    """
    run = atlas.identity
    known = ledger.known(run, overwrite=atlas.overwrite)
    sources = find_sources(atlas.paths, atlas.job, atlas.pair[1], known=known)
    bad = [source.error for source in sources if source.error is not None]
    if bad and (atlas.on_error == STOP or len(bad) == len(sources)):
        raise ValueError(_complaint(bad, len(sources)))
    check = output_of(atlas.out).check
    if check is not None:
        check([source.path for source in sources if source.error is None], atlas.job.layer, atlas.about)
    ledger.begin(run, sources, overwrite=atlas.overwrite)
    done = ledger.done()
    windows = windows_of(sources, atlas.job.settings["window"])
    if done:
        log.warning("carrying on after %d of %d windows", len(done), len(windows))
    left = [window for window in windows if window not in done]
    _refuse_full_disk(atlas, _count(windows) + _count(left))
    return sources, left


def _refuse_full_disk(atlas: Atlas, cells: int) -> None:
    """Refuse to begin where windows and output, which stand side by side for a while, find no room."""
    needed, free = 4 * cells * atlas.pair[0].config.embedding_size, shutil.disk_usage(atlas.out.parent).free
    if free < needed:
        raise ValueError(
            f"{atlas.out.parent} has {free / 1e9:.2f} GB free, but vectors and output need {needed / 1e9:.2f} GB; free "
            "some space or name an output on another disk"
        )


def _complaint(bad: Sequence[str | None], count: int) -> str:
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return (
        f"{len(bad)} of {count} inputs cannot be embedded: {bad[0]}{more}. Repair or remove it and give the same "
        "command again, which carries on; or pass --on-error skip (on_error='skip') to leave such inputs out"
    )


def _refuse_gaps(atlas: Atlas, ledger: Ledger, left: Sequence[Window]) -> None:
    failed = ledger.failed()
    missing = [window for window in left if window.source not in failed]
    if missing:
        raise ValueError(
            f"{len(missing)} windows are not done yet, the first of them cells {missing[0].start} to "
            f"{missing[0].stop - 1} of {atlas.paths[missing[0].source]}; run the shards that are missing first"
        )


def _work(
    atlas: Atlas,
    ledger: Ledger,
    sources: Sequence[Source],
    *,
    left: Sequence[Window],
    cluster: Cluster | None,
    by: str = "",
) -> None:
    """Do windows, in this process or on a cluster."""
    failed = ledger.failed()
    left = [window for window in left if window.source not in failed]

    def on_error(number: int, message: str) -> None:
        ledger.fail(number, message, by)
        if atlas.on_error == STOP:
            raise ValueError(_complaint([message], len(sources)))
        log.warning("left out: %s", message)

    total = sum(source.cells for source in sources)
    with tqdm(total=total, initial=total - _count(left), unit="cell", disable=not atlas.progress) as bar:
        if not left:
            return
        if cluster is not None:
            embed_on_cluster(
                cluster, atlas.job, sources, ledger=ledger, left=left, on_cells=bar.update, on_error=on_error
            )
        else:
            _work_here(Worker(atlas.job, sources, ledger, pair=atlas.pair), left, bar.update, on_error=on_error)


def _work_here(
    worker: Worker,
    left: Sequence[Window],
    on_cells: Callable[[int], object],
    *,
    on_error: Callable[[int, str], None],
) -> None:
    failed = set()
    for chunk in chunks_of(left, _CHUNK):
        if chunk[0].source in failed:
            continue
        try:
            worker.embed(chunk, on_cells)
        except SourceError as error:
            failed.add(error.source)
            on_error(error.source, error.message)
    worker.close()


def _finished(atlas: Atlas, ledger: Ledger, sources: Sequence[Source], todo: Sequence[Window]) -> AtlasResult:
    """Write the output of all that could be read."""
    failed = ledger.failed()
    if failed and atlas.on_error == STOP:
        raise ValueError(_complaint(list(failed.values()), len(sources)))
    told = [
        replace(source, cells=0, error=source.error or failed.get(number))
        if source.error or number in failed
        else source
        for number, source in enumerate(sources)
    ]
    skipped = {source.path: source.error for source in told if source.error is not None}
    if len(skipped) == len(told):
        raise ValueError(_complaint(list(skipped.values()), len(told)))
    finish(
        atlas.job, told, ledger, out=atlas.out, key=atlas.key, pair=atlas.pair, confidence=atlas.confidence,
        run=digest_of(atlas.identity), about=atlas.about,
    )  # fmt: skip
    return AtlasResult(atlas.out, sum(source.cells for source in told), _count(todo), 0, skipped)


def _count(windows: Iterable[Window]) -> int:
    return sum(window.stop - window.start for window in windows)
