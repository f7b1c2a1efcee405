"""Windows handed to the actors of a Ray cluster, which read, compute and write them; here is only the counting."""

import contextlib
import importlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tahoe_distill import __version__
from tahoe_distill.atlas.job import Job, Source, Window, chunks_of
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.worker import SourceError, Worker
from tahoe_distill.lazy import needed

log = logging.getLogger(__name__)

LOCAL = "local"
# Windows of a source that an actor is given at once, at most.
_CHUNK = 8
# A window that has killed so many actors will kill the next one.
_ATTEMPTS = 5
_GIGABYTE = 1 << 30


@dataclass(frozen=True)
class RaySettings:
    """The cluster, and what each actor is to have there.

    Args:
        address: Of the cluster, as ``ray start`` prints it; ``"auto"`` for the one this machine is part of; ``"local"``
            to start one on this machine.
        actors: How many; ``None`` for as many as fit.
        cores: CPU cores of each, for reading and computing; set aside, so that actors cannot starve each other.
        memory: Gigabytes of each, set aside likewise.
        patience: Seconds to wait for an actor to start while none works.
    """

    address: str = LOCAL
    actors: int | None = None
    cores: int = 1
    memory: float = 2.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        if self.cores < 1 or self.memory <= 0 or (self.actors is not None and self.actors < 1):
            raise ValueError(
                f"an actor needs a core and some memory, and there must be one: found --actors {self.actors}, "
                f"--actor-cores {self.cores}, --actor-memory {self.memory}"
            )


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Args:
        ray: The package.
        settings: What was asked for.
        nodes: Its nodes that live, as Ray lists them.
    """

    ray: Any
    settings: RaySettings
    nodes: list[dict[str, Any]]

    def device(self, wanted: str) -> str:
        """``cuda`` or ``cpu``: GPUs are used where the cluster has them, unless told otherwise.

        Raises:
            ValueError: When GPUs are wanted and there are none.
        """
        gpus = sum(node["Resources"].get("GPU", 0) for node in self.nodes)
        if wanted.startswith("cuda") and not gpus:
            raise ValueError(f"device {wanted!r} was asked for, but no node of the cluster has a GPU; use auto or cpu")
        return "cpu" if wanted == "cpu" or not gpus else "cuda"

    def demand(self, device: str) -> dict[str, float]:
        """What an actor sets aside, in Ray's words."""
        settings = self.settings
        gpu = {"num_gpus": 1.0} if device == "cuda" else {}
        return {"num_cpus": settings.cores, "memory": int(settings.memory * _GIGABYTE), **gpu}

    def room(self, device: str) -> int:
        """How many actors fit.

        Raises:
            ValueError: When none does, since it would be waited for without end.
        """
        demand = self.demand(device)
        names = {"num_cpus": "CPU", "memory": "memory", "num_gpus": "GPU"}
        fits = [
            min(int(node["Resources"].get(names[name], 0) // amount) for name, amount in demand.items())
            for node in self.nodes
        ]
        if not sum(fits):
            has = "; ".join(
                f"{node['NodeManagerHostname']} has {node['Resources'].get('CPU', 0):g} cores, "
                f"{node['Resources'].get('memory', 0) / _GIGABYTE:.1f} GB, {node['Resources'].get('GPU', 0):g} GPUs"
                for node in self.nodes
            )
            raise ValueError(
                f"no node has room for an actor of {self.settings.cores} cores and {self.settings.memory:g} GB"
                f"{' and a GPU' if device == 'cuda' else ''}: {has}. Ask for less (--actor-cores, --actor-memory) or "
                "start larger nodes"
            )
        return sum(fits)


@contextlib.contextmanager
def joined(settings: RaySettings) -> Iterator[Cluster]:
    """Be part of a cluster; one that was started here ends with the block.

    Raises:
        ImportError: When Ray is not installed.
        ValueError: When there is no cluster at the address.
    """
    ray = needed("ray", "ray")
    chosen: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address == LOCAL:
        chosen |= {"address": LOCAL, "include_dashboard": False}
    else:
        chosen |= {"address": settings.address}
        _look_for_cluster(settings.address)
    mine = not ray.is_initialized()
    try:
        ray.init(ignore_reinit_error=True, **chosen)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ValueError(_no_cluster(settings.address, error)) from error
    try:
        yield Cluster(ray, settings, [node for node in ray.nodes() if node["Alive"]])
    finally:
        if mine:
            ray.shutdown()


def _look_for_cluster(address: str) -> None:
    """Refuse an address where nobody listens at once, for which Ray takes a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(_no_cluster(address, error)) from error


def _no_cluster(address: str, error: object) -> str:
    return (
        f"there is no Ray cluster at {address} ({error}); start one with `ray start --head`, which prints its address, "
        "or give --ray without an address to start one on this machine"
    )


@dataclass
class Seat:
    """An actor: what it is asked for, and what it is to do."""

    actor: Any
    answer: Any
    chunk: list[Window] = field(default_factory=list)
    is_ready: bool = False


def embed_on_cluster(
    cluster: Cluster,
    job: Job,
    sources: Sequence[Source],
    *,
    ledger: Ledger,
    left: Sequence[Window],
    on_cells: Callable[[int], object],
    on_error: Callable[[int, str], None],
) -> None:
    """Have windows done by actors.

    Args:
        cluster: The cluster.
        job: How.
        sources: All sources.
        ledger: Where actors write windows; its folder must be seen by every node.
        left: The windows.
        on_cells: Called with numbers of cells done.
        on_error: Called with the number of a source that cannot be read, and why.

    Raises:
        ValueError: When no actor fits, or a node lacks a path or has another version of this package.
        OSError: When actors die of a window again and again, or none can start.
    """
    check_nodes(cluster, [job.model, *_folders(job, ledger), *(sources[number].path for number in _numbers(left))])
    room = cluster.room(job.settings["device"])
    count = min(cluster.settings.actors or room, len(left))
    _Driver(cluster, job, sources, ledger=ledger, on_cells=on_cells, on_error=on_error).run(left, count)


def _folders(job: Job, ledger: Ledger) -> list[str]:
    return [str(ledger.folder), *([job.store] if job.store else []), *([job.symbols] if job.symbols else [])]


def _numbers(windows: Sequence[Window]) -> list[int]:
    return sorted({window.source for window in windows})


def check_nodes(cluster: Cluster, paths: Sequence[str]) -> None:
    """Ask every node for its version of this package, and whether it sees what it is to read.

    Raises:
        ValueError: With the name of the first node that will not do.
    """
    ray = cluster.ray
    here = [path for path in paths if os.path.exists(path)]
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy

    # Defined here, so that it goes to the nodes as a whole: one of them may have another version, or none.
    def look() -> dict[str, Any]:
        try:
            version = importlib.import_module("tahoe_distill").__version__
        except ImportError:
            version = None
        return {"version": version, "missing": [path for path in here if not os.path.exists(path)]}

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = [
        (node, task.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote())
        for node in cluster.nodes
    ]
    for node, answer in asked:
        with contextlib.suppress(ray.exceptions.RayError):
            refuse_node(f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", ray.get(answer))


def refuse_node(name: str, found: dict[str, Any]) -> None:
    """Refuse a node by what it answered.

    Args:
        name: Of the node.
        found: Its ``version`` of this package, or ``None``, and the paths that it is ``missing``.

    Raises:
        ValueError: When it has another version, or does not see a path.
    """
    if found["version"] != __version__:
        has = "does not have tahoe-distill" if found["version"] is None else f"has tahoe-distill {found['version']}"
        raise ValueError(f"node {name} {has}, this process {__version__}; install the same version on all nodes")
    if found["missing"]:
        more = f" and {len(found['missing']) - 1} more paths" if len(found["missing"]) > 1 else ""
        raise ValueError(
            f"node {name} does not see {found['missing'][0]}{more}; put model, inputs and output on a disk that all "
            "nodes share, under the same names"
        )


class RemoteWorker:
    """What an actor is: a :class:`Worker` made when the actor starts."""

    def __init__(self, job: Job, sources: list[Source], ledger: Ledger, *, cores: int):
        import torch

        torch.set_num_threads(cores)
        self._worker = Worker(job, sources, ledger)

    def greet(self) -> int:
        """The process id, once the model is ready."""
        return os.getpid()

    def embed(self, windows: list[Window]) -> tuple[int, str] | None:
        """Embed windows; return which source could not be read, and why, or ``None``."""
        try:
            self._worker.embed(windows)
        except SourceError as error:
            return error.source, error.message
        return None

    def close(self) -> None:
        """Leave the store in order."""
        self._worker.close()


class _Driver:
    """Seats actors, hands out chunks of windows, and believes nothing but the ledger where one died."""

    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        sources: Sequence[Source],
        *,
        ledger: Ledger,
        on_cells: Callable[[int], object],
        on_error: Callable[[int, str], None],
    ):
        self.ray, self.settings = cluster.ray, cluster.settings
        self.ledger, self.on_cells, self.on_error = ledger, on_cells, on_error
        # Sent once, and not with every actor.
        self._given = [cluster.ray.put(job), cluster.ray.put(list(sources)), ledger]
        self._demand = cluster.demand(job.settings["device"])
        self._lost: dict[Window, int] = {}
        self._failed: set[int] = set()
        self._stillborn = 0
        self.seats: list[Seat] = []
        errors = cluster.ray.exceptions
        self._deaths = (errors.RayActorError, errors.OutOfMemoryError, errors.WorkerCrashedError, errors.NodeDiedError)

    def run(self, left: Sequence[Window], count: int) -> None:
        """Have all windows done by ``count`` actors; those that die are replaced."""
        # Short enough that all have work to the end.
        self._waiting = deque(chunks_of(left, max(1, min(_CHUNK, len(left) // (4 * count)))))
        try:
            while self._waiting or any(seat.chunk for seat in self.seats):
                self._fill(min(count, len(self._waiting) + sum(bool(seat.chunk) for seat in self.seats)))
                self._hand_out()
                self._listen()
            self._tidy()
        finally:
            for seat in self.seats:
                self.ray.kill(seat.actor)

    def _fill(self, count: int) -> None:
        while len(self.seats) < count:
            kind = self.ray.remote(max_restarts=0, max_task_retries=0, **self._demand)(RemoteWorker)
            actor = kind.remote(*self._given, cores=self.settings.cores)
            self.seats.append(Seat(actor, actor.greet.remote()))

    def _hand_out(self) -> None:
        for seat in self.seats:
            while seat.is_ready and seat.answer is None and self._waiting:
                chunk = self._waiting.popleft()
                if chunk[0].source not in self._failed:
                    seat.chunk, seat.answer = chunk, seat.actor.embed.remote(chunk)

    def _listen(self) -> None:
        """Wait for an answer. Actors that have none yet to give may never start, once their node is gone."""
        busy = {seat.answer: seat for seat in self.seats if seat.answer is not None}
        if not busy:
            return
        works = any(seat.chunk for seat in self.seats)
        answers, _ = self.ray.wait(list(busy), num_returns=1, timeout=None if works else self.settings.patience)
        if not answers:
            raise OSError(
                f"no actor could start within {self.settings.patience:g} s: the nodes are gone or taken by others. "
                "What is done is kept; give the same command again when there is room"
            )
        for answer in answers:
            self._take(busy[answer], answer)

    def _take(self, seat: Seat, answer: Any) -> None:
        try:
            found = self.ray.get(answer)
        except self._deaths as error:
            self._bury(seat, error)
            return
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        chunk, seat.chunk, seat.answer = seat.chunk, [], None
        if not seat.is_ready:
            seat.is_ready = True
            return
        self.on_cells(sum(window.stop - window.start for window in chunk))
        if found is not None:
            self._failed.add(found[0])
            self.on_error(*found)

    def _bury(self, seat: Seat, error: Exception) -> None:
        """Let go of a dead actor; what it had not finished is done by another."""
        self.seats.remove(seat)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if getattr(error, "actor_init_failed", False):
            raise ValueError(f"an actor could not start: {lines[-1]}")
        reason = lines[0]
        log.warning("an actor died (%s); its windows are handed out again", reason)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(seat.actor)
        left = [window for window in seat.chunk if not self.ledger.path(window).exists()]
        self.on_cells(sum(window.stop - window.start for window in set(seat.chunk) - set(left)))
        if left:
            self._lost[left[0]] = self._lost.get(left[0], 0) + 1
            if self._lost[left[0]] >= _ATTEMPTS:
                raise OSError(
                    f"{_ATTEMPTS} actors died at cells {left[0].start} to {left[0].stop - 1} of source "
                    f"{left[0].source} (the last one: {reason}), most often for lack of memory; give them "
                    "more (--actor-memory), or a smaller --window"
                )
            self._waiting.appendleft(left)
        elif not seat.is_ready:
            self._stillborn += 1
            if self._stillborn >= _ATTEMPTS * max(1, len(self.seats)):
                raise OSError(f"{self._stillborn} actors died before they could work (the last one: {reason})")

    def _tidy(self) -> None:
        ready = [seat for seat in self.seats if seat.is_ready]
        if ready:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.get(ready[0].actor.close.remote())
