"""One run per cluster on this machine: a lock that dies with its holder.

The kernel frees an flock when its process ends, however it ends, so there is no stale lock to clean up.
`lock.json` beside it says who holds it; it is there for people and is never trusted.
"""

from __future__ import annotations

import asyncio
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

from filelock import Timeout, UnixFileLock

from anykube.errors import LockedError, StateError
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
        self._lock = UnixFileLock(
            folder / LOCK, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False
        )

    def __enter__(self) -> ClusterLock:
        deadline = self._begin()
        while not self._acquired():
            self._check(deadline)
            time.sleep(POLL)
        return self._entered()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The name goes before the lock: after it, the file could already be the next holder's.
        with suppress(OSError):
            (self.folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()

    async def __aenter__(self) -> ClusterLock:
        deadline = self._begin()
        while not self._acquired():
            self._check(deadline)
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
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return False
        return True

    def _check(self, deadline: float) -> None:
        if time.monotonic() < deadline:
            return
        holder = read_holder(self.folder)
        raise LockedError(
            f"Another run holds the cluster {self.folder.name}.",
            evidence=[str(holder) if holder else f"who, cannot be read from {self.folder / HOLDER}"],
            remedy="Wait until it is done, or stop it with Ctrl-C in its terminal (or kill -INT "
            f"{holder.pid if holder else 'its process id'}). The lock is freed when that process ends.",
        )

    def _entered(self) -> ClusterLock:
        self.interrupted = read_holder(self.folder)
        try:
            write_file(self.folder / HOLDER, json.dumps(asdict(self._holder())).encode())
        except BaseException:
            self._lock.release()
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


def read_holder(folder: Path) -> Holder | None:
    """Who holds, or last held, the lock of this folder; None if that cannot be read."""
    try:
        data = json.loads(read_file(folder / HOLDER, limit=HOLDER_SIZE_LIMIT))
        texts = {field.name: _printable(data[field.name]) for field in fields(Holder) if field.name != "pid"}
        return Holder(pid=int(data["pid"]), **texts)
    except (OSError, StateError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _printable(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:FIELD_LIMIT])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.geteuid())
