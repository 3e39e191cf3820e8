"""Taking the lock of a cluster away from a run that hangs, so that another can go on. Asked for by name only.

The old lock file is replaced by a new one, already locked: from then on every change that the old run tries
is refused (ClusterLock.check, and the guard of files.write_file). What it was about to rename is removed, and
the epoch of the record is raised, which nodes see too. Of two takeovers at once one wins.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anykube.errors import LockedError
from anykube.state.clusters import LOCK, SECRETS
from anykube.state.files import TEMPORARY, remove_leftovers, reported, sync_folder
from anykube.state.lock import Holder, identity, open_lock, read_holder
from anykube.state.record import RecordStore

PROCESSES = Path("/proc")
_STATES = {
    "T": "is stopped, by Ctrl-Z or SIGSTOP; `kill -CONT {pid}` lets it go on",
    "t": "is stopped by a debugger",
    "D": "waits for a disk or a network file system",
    "Z": "has ended; what it started still holds the lock",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that someone holds: who, in what state that process is, and which file the lock is."""

    holder: Holder | None
    process: str
    file: tuple[int, int]


def held(folder: Path) -> Held | None:
    """Who holds the lock of this folder; None if nobody does."""
    file = identity(folder)
    if file is None:
        return None
    with reported("looked at", folder / LOCK):
        descriptor = open_lock(folder / LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = read_holder(folder)
            return Held(holder, _state(holder) if holder else "is not known", file)
        finally:
            os.close(descriptor)
    return None


def take_over(folder: Path, seen: Held) -> None:
    """Take the lock from the holder that was seen, and leave it free. LockedError if another has it now."""
    with _alone(folder):
        if identity(folder) != seen.file:
            raise LockedError(
                f"The lock of {folder.name} was taken over by another meanwhile.",
                evidence=[str(read_holder(folder) or "its holder is not known yet")],
                remedy=f"look again: anykube unlock -c {folder.name}",
            )
        with _new_lock(folder):
            # The old run checks its lock after it wrote a temporary file and before it renames it. So one
            # that passed the check is in its place by now, or is removed here.
            remove_leftovers(folder)
            for below in (folder / SECRETS, *(folder / SECRETS).rglob("*/")):
                if below.is_dir():
                    remove_leftovers(below)
            records = RecordStore(folder)
            if records.load() is not None:
                records.next_epoch()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other takeovers out. The lock is the folder's own, and dies with this process."""
    with reported("locked", folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LockedError(
            f"Another process is taking {folder.name} over at this moment.", remedy="wait until it is done"
        ) from error
    finally:
        os.close(handle)


@contextmanager
def _new_lock(folder: Path) -> Iterator[None]:
    """Put a new lock file, locked by us, in the place of the old one."""
    new = folder / f".{LOCK}.{secrets.token_hex(6)}{TEMPORARY}"
    with reported("locked", new):
        descriptor = open_lock(new)
    try:
        with reported("replaced", folder / LOCK):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.replace(folder / LOCK)
            sync_folder(folder)
        yield
    finally:
        os.close(descriptor)


def _state(holder: Holder) -> str:
    """What the process of a holder does, as far as this machine can tell."""
    if holder.host != socket.gethostname():
        return f"runs on {holder.host}, which cannot be looked at from here"
    if not PROCESSES.joinpath("self").exists():
        return "cannot be looked at here"
    try:
        # The name in brackets may hold anything, brackets too; the state follows the last one.
        letter = PROCESSES.joinpath(str(holder.pid), "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "does not exist any more; what it started still holds the lock"
    return _STATES.get(letter, "is alive and not stopped").format(pid=holder.pid)
