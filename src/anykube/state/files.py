"""Private files: the only place where state and secrets meet the file system.

A file is created 0600 under a temporary name in its own folder, synced, and renamed, so that a reader
finds the old bytes or the new ones whatever kills the writer. Reading refuses what others could have
read or changed. Every failure is a StateError that names the path.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anykube.errors import StateError

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes read from one file at most; a larger one is not ours."""
TEMPORARY = ".tmp"
OTHERS = 0o077
"""Permission bits of everyone but the owner."""

Guard = Callable[[], None]
"""Raises FencedError if the cluster is not this run's any more."""


@contextmanager
def reported(action: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into an error that says what was tried, and where."""
    try:
        yield
    except OSError as error:
        raise StateError(
            f"{path}: cannot be {action}.",
            evidence=[error.strerror or str(error)],
            remedy="Check the free space and the owner and permissions of the folder, then run it again.",
        ) from error


def make_folder(folder: Path) -> None:
    """Have a folder that only its owner can enter; parents that are missing are made the same way."""
    with reported("made", folder):
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            # Another process may make the same folder in this moment.
            with suppress(FileExistsError):
                missing.mkdir(mode=0o700)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder that belongs to someone else or that others can look into."""
    with reported("read", folder):
        status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(f"{folder} is not a folder.", remedy="Move it away, then run it again.")
    _check_owner(folder, status, OTHERS, "700")


def check_file(path: Path, status: os.stat_result, forbidden: int = OTHERS) -> None:
    """Refuse what is no regular file, belongs to someone else, or is open to others."""
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"{path} is not a regular file.", remedy="Move it away, then run it again.")
    _check_owner(path, status, forbidden, "600")


def _check_owner(path: Path, status: os.stat_result, forbidden: int, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise StateError(
            f"{path} belongs to another user.",
            evidence=[f"owner {status.st_uid}, this process runs as {os.geteuid()}"],
            remedy="Run anykube as the user who made the cluster.",
        )
    if status.st_mode & forbidden:
        raise StateError(
            f"{path} is open to other users of this machine.",
            evidence=[f"mode {stat.S_IMODE(status.st_mode):o}, expected {mode}"],
            remedy=f"Find out who could use it, then: chmod {mode} {path}",
        )


def read_file(path: Path, *, limit: int = SIZE_LIMIT, forbidden: int = OTHERS) -> bytes:
    """The bytes of a private file. Symbolic links are not followed. FileNotFoundError passes through."""
    # O_NONBLOCK: a named pipe in this place is refused below instead of waiting for its writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read.",
            evidence=[error.strerror or str(error)],
            remedy="It must be a regular file of the user who runs anykube.",
        ) from error
    with reported("read", path), os.fdopen(descriptor, "rb") as stream:
        check_file(path, os.fstat(descriptor), forbidden)
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise StateError(
            f"{path} is larger than {limit} bytes.", remedy="This file is not ours: move it away."
        )
    return content


def unguarded() -> None:
    """The guard of a file that no other run could write."""


def write_file(path: Path, content: bytes, *, replace: bool = True, guard: Guard = unguarded) -> None:
    """Write a private file in one atomic move. With `replace=False` an existing file is never touched:
    FileExistsError passes through. The guard is asked last, between writing and moving: see takeover.py."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        with reported("written", path):
            _create(temporary, content)
        guard()
        if replace:
            with reported("replaced", path):
                temporary.replace(path)
        else:
            _link(temporary, path)
    finally:
        # Also a name that is too long cannot be removed; the first error is the one to tell.
        with suppress(OSError):
            temporary.unlink()
    with reported("synced", path.parent):
        sync_folder(path.parent)


def _create(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _link(temporary: Path, path: Path) -> None:
    # A hard link, unlike a rename, fails if the name is taken, whoever took it and whenever.
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        raise StateError(f"{path}: cannot be made.", evidence=[error.strerror or str(error)]) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, of: str = "") -> None:
    """Remove temporary files that a killed run left: of the names that begin with `of`, or all.

    The caller is the only one that writes those: it holds the cluster's lock.
    """
    with reported("cleaned", folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f".{of}") and entry.name.endswith(TEMPORARY):
                Path(entry.path).unlink(missing_ok=True)
