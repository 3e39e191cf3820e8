"""One run per cluster on this machine: a lock that dies with its holder, or is taken away (takeover.py).

The kernel frees an flock when its process ends, however it ends, so there is no stale lock to clean up.
A holder that is frozen keeps it; then another puts a new lock file in its place, and `check` of the old
holder fails from that moment on. `lock.json` beside it says who holds it; it is there for people and is
never trusted.
"""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from anykube.errors import FencedError, LockedError, StateError
from anykube.state.clusters import HOLDER, LOCK
from anykube.state.files import make_folder, read_file, reported, write_file

PATIENCE = 2.5
"""Seconds to wait for a run that is about to end; two runs at once must be told apart within five."""
POLL = 0.1
HOLDER_SIZE_LIMIT = 4096
FIELD_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock. `since` is UTC, as text, because a person reads it."""

    pid: int
    user: str
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}: {self.command}"


class ClusterLock:
    """The lock of a cluster's folder, for `with` and `async with`. LockedError if another run holds it.

    After entering, `interrupted` is the run that ended without releasing the lock, if there was one.
    """

    def __init__(self, folder: Path, command: str, *, patience: float = PATIENCE) -> None:
        self.folder = folder
        self.command = command
        self.patience = patience
        self.interrupted: Holder | None = None
        self._descriptor = -1

    def check(self) -> None:
        """FencedError if the lock was taken away. No other file gets the number of one that we keep open."""
        if self._descriptor < 0 or identity(self.folder) != _identity(os.fstat(self._descriptor)):
            raise FencedError(
                f"The lock of {self.folder.name} was taken away from this run; it must not change anything.",
                evidence=[f"{self.folder / LOCK} is not the file that was locked for: {self.command}"],
                remedy="Let the newer run finish, then: anykube apply",
            )

    def __enter__(self) -> ClusterLock:
        deadline = self._begin()
        while not self._acquired():
            self._refuse(deadline)
            time.sleep(POLL)
        return self._entered()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The name goes before the lock: after it, the file could already be the next holder's.
        with suppress(OSError, FencedError):
            self.check()
            (self.folder / HOLDER).unlink(missing_ok=True)
        self._release()

    async def __aenter__(self) -> ClusterLock:
        deadline = self._begin()
        while not self._acquired():
            self._refuse(deadline)
            await asyncio.sleep(POLL)
        return self._entered()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _begin(self) -> float:
        make_folder(self.folder)
        return time.monotonic() + self.patience

    def _acquired(self) -> bool:
        with reported("locked", self.folder / LOCK):
            self._descriptor = open_lock(self.folder / LOCK)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._release()
                return False
        try:
            self.check()  # the file may have been replaced between opening and locking it
        except FencedError:
            self._release()
            return False
        return True

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _refuse(self, deadline: float) -> None:
        if time.monotonic() < deadline:
            return
        name = self.folder.name
        holder = read_holder(self.folder)
        raise LockedError(
            f"Another run holds the cluster {name}.",
            evidence=[str(holder) if holder else f"who, cannot be read from {self.folder / HOLDER}"],
            remedy="Wait until it is done, or stop it with Ctrl-C in its terminal (or kill -INT "
            f"{holder.pid if holder else 'its process id'}). The lock is freed when that process ends. "
            f"If it hangs: anykube unlock -c {name}",
        )

    def _entered(self) -> ClusterLock:
        self.interrupted = read_holder(self.folder)
        try:
            content = json.dumps(asdict(self._holder())).encode()
            write_file(self.folder / HOLDER, content, guard=self.check)
        except BaseException:
            self._release()
            raise
        return self

    def _holder(self) -> Holder:
        return Holder(
            pid=os.getpid(),
            user=_user(),
            host=socket.gethostname(),
            since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            command=self.command,
        )


def open_lock(path: Path) -> int:
    """Open a lock file, which is made if it is not there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def identity(folder: Path) -> tuple[int, int] | None:
    """Which file is the lock of this folder now; None if there is none."""
    try:
        return _identity((folder / LOCK).lstat())
    except OSError:
        return None


def read_holder(folder: Path) -> Holder | None:
    """Who holds, or last held, the lock of this folder; None if that cannot be read."""
    try:
        data = json.loads(read_file(folder / HOLDER, limit=HOLDER_SIZE_LIMIT))
        texts = {field.name: _printable(data[field.name]) for field in fields(Holder) if field.name != "pid"}
        return Holder(pid=int(data["pid"]), **texts)
    except (OSError, StateError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _printable(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:FIELD_LIMIT])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.geteuid())
