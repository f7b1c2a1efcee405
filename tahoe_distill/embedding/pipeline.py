"""Read, tokenise, compute: three stages that run at the same time and hand windows on in order."""

import contextlib
import copy
import multiprocessing
import signal
from collections import deque
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from tahoe_distill.embedding.engine import Engine


@dataclass
class Job:
    """Everything that stays the same over the windows of a run.

    Args:
        model: A ``Tx1Model``.
        processor: Its ``Tx1Processor``.
        tokens: (n_vars,) token of each column, -1 where unknown.
        options: An :class:`~tahoe_distill.embedding.options.Options`.
        drug_ids: (n_obs,) drug numbers, for a model with a drug token.
        owned: Whether the model was loaded for this job alone.
    """

    model: object
    processor: object
    tokens: np.ndarray
    options: object
    drug_ids: np.ndarray | None = None
    owned: bool = False


def run_windows(job, read, windows, on_cells=None):
    """Yield ``(window, cells, WindowResult)`` for each window, in order.

    Args:
        job: A :class:`Job`.
        read: Function from ``(start, stop)`` to the matrix of these rows.
        windows: List of ``(start, stop)``.
        on_cells: Called with the number of cells done, more than once a window where one process computes.
    """
    places = job.options.places()
    with contextlib.ExitStack() as stack:
        encoded = _encode_ahead(job, read, windows, stack)
        if len(places) == 1:
            engine = Engine(job.model, job.processor, job.options, places[0], job.owned)
            for window, cells in encoded:
                yield window, cells, engine.window(cells, _drugs(job, window), on_cells)
        else:
            yield from _compute_ahead(job, encoded, places, stack, on_cells)


def _encode_ahead(job, read, windows, stack):
    """Yield each window and its encoded cells; the next ones are read and tokenised meanwhile."""
    if not job.options.workers:
        pool = ThreadPoolExecutor(1)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        return _in_order(partial(pool.submit, _read_and_encode, job.processor, job.tokens, read), windows, 2)
    pool = _processes(stack, job.options.workers, _start_tokeniser, (job.processor, job.tokens))
    packed = _in_order(
        lambda window: pool.submit(_encode_in_worker, read(*window), window), windows, 2 * job.options.workers
    )
    return ((window, unpack(cells)) for window, cells in packed)


def _compute_ahead(job, encoded, places, stack, on_cells):
    """Yield results of several computing processes; window ``i`` goes to process ``i % n``."""
    threads = max(1, torch.get_num_threads() // len(places))
    here = next(job.model.parameters()).device.type == "cpu"
    model = job.model if here else copy.deepcopy(job.model).cpu()
    pools = [
        _processes(stack, 1, _start_engine, (model, job.processor, job.options, str(place), threads))
        for place in places
    ]

    def submit(numbered):
        number, (window, cells) = numbered
        return pools[number % len(pools)].submit(_compute_in_worker, pack(cells), _drugs(job, window))

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


def _drugs(job, window):
    return None if job.drug_ids is None else job.drug_ids[slice(*window)]


def _read_and_encode(processor, tokens, read, window):
    return _encode(processor, tokens, read(*window), window)


def _encode(processor, tokens, matrix, window):
    try:
        return processor.encode_rows(matrix, tokens)
    except ValueError as error:
        raise ValueError(f"cells {window[0]} to {window[1] - 1}: {error}") from error


def pack(cells):
    """Encoded cells as three flat arrays, which cross a process border many times faster than a list."""
    sizes = np.array([len(tokens) for tokens, _ in cells], dtype=np.int64)
    tokens = np.concatenate([tokens for tokens, _ in cells]).astype(np.int32)
    return tokens, np.concatenate([values for _, values in cells]), np.concatenate([[0], np.cumsum(sizes)])


def unpack(packed):
    """The inverse of :func:`pack`."""
    tokens, values, bounds = packed
    tokens = tokens.astype(np.int64)
    return [(tokens[start:stop], values[start:stop]) for start, stop in zip(bounds[:-1], bounds[1:])]


# What a worker process works with, set once by its initialiser.
_worker = {}


def _start_tokeniser(processor, tokens):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _worker.update(processor=processor, tokens=tokens)


def _encode_in_worker(matrix, window):
    return pack(_encode(_worker["processor"], _worker["tokens"], matrix, window))


def _start_engine(model, processor, options, place, threads):
    # Ctrl-C reaches the whole group; the parent decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _worker["engine"] = Engine(model, processor, options, torch.device(place), owned=True)


def _compute_in_worker(packed, drug_ids):
    return _worker["engine"].window(unpack(packed), drug_ids)
