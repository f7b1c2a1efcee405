"""One process at a time in a folder: who holds it, whether it still lives, and the way out where nobody can tell."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = ".lock.json"
# A lock is written and then given its name; one that cannot be read is one that was cut short by a full disk.
_ATTEMPTS = 5


class FolderInUseError(OSError):
    """A folder that another process holds."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder.

    Args:
        host: Name of its machine.
        machine: Boot of that machine and space of its process ids; the ids of another one say nothing here.
        pid: Its process id.
        started: When it started, in the kernel's ticks since boot: process ids are used again.
        since: When it took the folder, as local time.
        what: What it does there, such as the name of a run.
    """

    host: str
    machine: str
    pid: int
    started: int
    since: str
    what: str

    @classmethod
    def here(cls, what: str, pid: int | None = None) -> "Holder":
        """This process, or another one of this machine."""
        pid = os.getpid() if pid is None else pid
        return cls(socket.gethostname(), _machine(), pid, _started(pid), time.strftime("%Y-%m-%d %H:%M:%S"), what)

    @property
    def is_near(self) -> bool:
        """Whether it is, or was, a process that this one can see."""
        return self.machine == _machine()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; only for one that is near."""
        return _started(self.pid) == self.started != 0

    def __str__(self) -> str:
        return f"{self.what} (process {self.pid} on {self.host}, since {self.since})"


@contextlib.contextmanager
def held(folder: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Hold a folder, which is made where it is missing, as long as the block runs.

    A lock that a killed process of this machine left is taken over. Whether one of another machine is still in use
    cannot be told from here, so that is refused, with the file to remove.

    Args:
        folder: The folder.
        what: What this process does there, for the message that another one gets.

    Yields:
        The lock's file.

    Raises:
        FolderInUseError: When another process holds it.
        OSError: When the lock cannot be written.
    """
    path = Path(folder) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = Holder.here(what)
    _take(path, mine)
    try:
        yield path
    finally:
        # Whoever removed it by hand and took the folder keeps it.
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def holder_of(folder: str | os.PathLike[str]) -> Holder | None:
    """The process whose lock lies in a folder, alive or not; ``None`` where there is none."""
    return _read(Path(folder) / LOCK_FILE)


def _take(path: Path, mine: Holder) -> None:
    draft = path.with_name(f"{path.name}.{mine.pid}")
    try:
        draft.write_text(json.dumps(dataclasses.asdict(mine)) + "\n", encoding="utf-8")
        for _ in range(_ATTEMPTS):
            try:
                _link(draft, path)
                return
            except FileExistsError:
                with _one_at_a_time(path.parent):
                    _make_way(path)
    finally:
        draft.unlink(missing_ok=True)
    raise FolderInUseError(f"{path.parent} changes hands all the time; several starts seem to fight for it, keep one")


def _make_way(path: Path) -> None:
    """Remove the lock of a process that is gone.

    Raises:
        FolderInUseError: When it is not gone, or that cannot be told.
    """
    found = _read(path)
    if found is None and not path.exists():
        return
    if found is None:
        raise FolderInUseError(
            f"{path} cannot be read, so who holds {path.parent} is unknown; remove it if nobody does"
        )
    if not found.is_near:
        raise FolderInUseError(
            f"{path.parent} is held by {found}, which cannot be seen from {socket.gethostname()}: wait until it has "
            f"ended, name another folder, or, when you know that it is gone, remove {path}"
        )
    if found.is_alive:
        raise FolderInUseError(f"{path.parent} is held by {found}: wait until it has ended, or name another folder")
    path.unlink(missing_ok=True)


def _link(draft: Path, path: Path) -> None:
    """Give the lock its name, whole or not at all, and only where there is none."""
    try:
        os.link(draft, path)
    except OSError as error:
        # Mounted object stores have no links.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        with open(path, "x", encoding="utf-8") as file:
            file.write(draft.read_text(encoding="utf-8"))


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep the others of this machine from removing a lock; without it, one could remove what another just took."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _machine() -> str:
    """What tells machines, their boots, and the process spaces of containers apart."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> int:
    """When a process started, in ticks since boot; 0 where there is none, or where the system does not say."""
    try:
        # Field 22, counted behind the name in brackets, which may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        # One that has ended stays listed until its parent asks, which in a container may be never.
        return 0 if fields[0] == "Z" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
