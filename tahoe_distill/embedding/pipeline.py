"""Read, tokenise, compute: three stages that run at the same time and hand windows on in order."""

import contextlib
import copy
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import numpy as np
import torch

from tahoe_distill.embedding.engine import Engine, WindowResult
from tahoe_distill.embedding.session import Session
from tahoe_distill.models.processing_tx1 import Cell


def run_windows(
    session: Session, windows: list[tuple[int, int]], on_cells: Callable[[int], object] | None = None
) -> Iterator[tuple[tuple[int, int], list[Cell], WindowResult]]:
    """Yield ``(window, cells, WindowResult)`` for each window, in order.

    Args:
        session: Model, cells and options.
        windows: Bounds ``(start, stop)`` of the cells of each.
        on_cells: Called with the number of cells done, more than once a window where one process computes.
    """
    places = session.options.places()
    with contextlib.ExitStack() as stack:
        encoded = _encode_ahead(session, windows, stack)
        if len(places) == 1:
            engine = session.engine(places[0])
            for window, cells in encoded:
                yield window, cells, engine.window(cells, session.cells.drugs(*window), on_cells)
        else:
            yield from _compute_ahead(session, encoded, places, stack, on_cells)


def _encode_ahead(session, windows, stack):
    """Yield each window and its encoded cells; the next ones are read and tokenised meanwhile."""
    workers, cells = session.options.workers, session.cells
    if not workers:
        pool = ThreadPoolExecutor(1)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        return _in_order(partial(pool.submit, _read_and_encode, cells), windows, 2)
    pool = _processes(stack, workers, _start_tokeniser, (session.processor, cells.tokens))
    packed = _in_order(
        lambda window: _submit(pool, _encode_in_worker, cells.source.rows(*window), window), windows, 2 * workers
    )
    return ((window, unpack(cells)) for window, cells in packed)


def _compute_ahead(session, encoded, places, stack, on_cells):
    """Yield results of several computing processes; window ``i`` goes to process ``i % n``."""
    threads = max(1, torch.get_num_threads() // len(places))
    here = session.model.device.type == "cpu"
    model = session.model if here else copy.deepcopy(session.model).cpu()
    pools = [
        _processes(stack, 1, _start_engine, (model, session.processor, session.options, str(place), threads))
        for place in places
    ]

    def submit(numbered):
        number, (window, cells) = numbered
        pool = pools[number % len(pools)]
        return _submit(pool, _compute_in_worker, pack(cells), session.cells.drugs(*window))

    for (_, (window, cells)), result in _in_order(submit, enumerate(encoded), 2 * len(pools)):
        if on_cells is not None:
            on_cells(len(cells))
        yield window, cells, result


def _in_order(submit, items, depth):
    """Yield ``(item, result)`` in the order of ``items`` with up to ``depth`` of them under way."""
    pending = deque()
    for item in items:
        pending.append((item, submit(item)))
        if len(pending) > depth:
            yield _finish(*pending.popleft())
    while pending:
        yield _finish(*pending.popleft())


def _finish(item, future):
    try:
        return item, future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died, most often for lack of memory; use fewer workers or devices, or a smaller "
            "batch_size"
        ) from error


def _processes(stack, count, initializer, arguments):
    # Spawned, not forked: a forked child inherits locks of PyTorch's threads that nobody will ever open.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=initializer, initargs=arguments)
    stack.callback(pool.shutdown, wait=True, cancel_futures=True)
    return pool


def _submit(pool, *work):
    """Submit to a pool of processes, which starts one where it has too few.

    It starts with Ctrl-C blocked, as it inherits that: a traceback of each worker's imports would follow otherwise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return pool.submit(*work)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read_and_encode(cells, window):
    with _naming(window):
        return cells.encode(*window)


@contextlib.contextmanager
def _naming(window):
    """Say in which cells a bad value was found."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"cells {window[0]} to {window[1] - 1}: {error}") from error


def pack(cells: list[Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encoded cells as three flat arrays, which cross a process border many times faster than a list."""
    sizes = np.array([len(tokens) for tokens, _ in cells], dtype=np.int64)
    tokens = np.concatenate([tokens for tokens, _ in cells]).astype(np.int32)
    return tokens, np.concatenate([values for _, values in cells]), np.concatenate([[0], np.cumsum(sizes)])


def unpack(packed: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[Cell]:
    """The inverse of :func:`pack`."""
    tokens, values, bounds = packed
    tokens = tokens.astype(np.int64)
    return [(tokens[start:stop], values[start:stop]) for start, stop in zip(bounds[:-1], bounds[1:])]


# What a worker process works with, set once by its initialiser.
_worker: dict[str, Any] = {}


def _end_with_parent():
    """Have this process end when its parent does, which may be killed without a word to its children."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    # Ctrl-C reaches the whole group; the parent decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _start_tokeniser(processor, tokens):
    _end_with_parent()
    torch.set_num_threads(1)
    _worker.update(processor=processor, tokens=tokens)


def _encode_in_worker(matrix, window):
    with _naming(window):
        return pack(_worker["processor"].encode_rows(matrix, _worker["tokens"]))


def _start_engine(model, processor, options, place, threads):
    _end_with_parent()
    torch.set_num_threads(threads)
    _worker["engine"] = Engine(model, processor, options, device=torch.device(place), owned=True)


def _compute_in_worker(packed, drug_ids):
    return _worker["engine"].window(unpack(packed), drug_ids)
