"""Reads a cluster object from a file or from standard input, and writes an edited one back. I/O.

The text then goes to `spec.load`. At most 1 MiB is read, whatever the file claims to be.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from anykube.errors import SpecError, UsageError
from anykube.spec.load import load
from anykube.spec.model import Cluster
from anykube.spec.problem import Problem, escaped
from anykube.spec.tree import MAX_TEXT
from anykube.state.files import reported, sync_folder

STDIN = "-"


def load_file(path: str | Path) -> Cluster:
    """The checked cluster in a file ('-' for standard input); SpecError with all problems otherwise."""
    text, source = read(path)
    return load(text, source)


def read(path: str | Path) -> tuple[str, str]:
    """The text of a file and the name to call it by in messages; SpecError when it cannot be an object."""
    if str(path) == STDIN:
        return _text(sys.stdin.buffer.read(MAX_TEXT + 1), "stdin"), "stdin"
    source = escaped(str(path), 200)
    try:
        # Without O_NONBLOCK a named pipe would hang here before its kind is known.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _refused(source, "the file does not exist", "write one with: anykube init") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(source, f"cannot be read: {escaped(str(reason))}") from error
    try:
        return _text(_content(descriptor, source), source), source
    finally:
        os.close(descriptor)


def rewrite(path: Path, before: str, after: str) -> None:
    """Put an edited text in the place of `before`, in one move; owner and mode of the file stay.

    UsageError if the file holds something else by now: another's edit is not lost. Again is harmless.
    """
    file = path.resolve()
    found = read(file)[0]
    if found == after:
        return
    if found != before:
        raise UsageError(f"{path} was changed meanwhile; it was not written.", remedy="run the command again")
    status = file.stat()
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}.tmp")
    try:
        with reported("written", file):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                # The owner first: giving a file away takes set-id bits from its mode.
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
                stream.write(after.encode())
                stream.flush()
                os.fsync(descriptor)
            temporary.replace(file)
            sync_folder(file.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _content(descriptor: int, source: str) -> bytes:
    """The bytes of an open file, after a look at what it is."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _refused(source, "is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_TEXT + 1)


def _text(data: bytes, source: str) -> str:
    if len(data) > MAX_TEXT:
        raise _refused(source, "is larger than 1 MiB; this is not a cluster object")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        raise _refused(source, "is not UTF-8 text", line=line, column=column) from error


def _refused(source: str, message: str, hint: str = "", *, line: int = 1, column: int = 1) -> SpecError:
    return SpecError(source, [Problem(source, line, column, "SPEC-001", message, hint)])
