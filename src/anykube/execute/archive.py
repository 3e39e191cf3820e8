"""Files on their way to a node: a manifest, then a tar under temporary names, streamed in pieces."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anykube.content.model import File
from anykube.errors import ArtifactError
from anykube.facts.probe import PATH

CHUNK = 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file with its bytes, or where they are on this machine."""

    file: File
    content: bytes | Path
    sha256: str
    size: int


def pack(file: File, content: bytes | Path, sha256: str) -> Parcel:
    """A parcel; refuses a path that could not be told apart from another on the way."""
    require_plain(file.path)
    try:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
    except OSError as error:
        raise _unreadable(content, error) from error
    return Parcel(file, content, sha256, size)


def require_plain(path: str) -> None:
    """Only absolute paths without control characters and without steps up."""
    if not PATH.fullmatch(path) or path.endswith("/") or {"..", "."} & set(path.split("/")):
        raise ValueError(f"not a path for a file on a node: {path!r}")


async def stream(
    parcels: Sequence[Parcel], directories: Sequence[tuple[str, str, str]]
) -> AsyncIterator[bytes]:
    """The input of node_scripts.PUT."""
    yield manifest(parcels, directories)
    for parcel in parcels:
        yield _header(parcel)
        async for piece in _content(parcel):
            yield piece
        yield b"\0" * (-parcel.size % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def manifest(parcels: Sequence[Parcel], directories: Sequence[tuple[str, str, str]]) -> bytes:
    """What comes, line by line."""
    lines = [f"directory {mode} {owner} {path}" for mode, owner, path in directories]
    lines += [
        f"file {parcel.sha256} {parcel.file.mode} {parcel.file.owner} {parcel.size} {parcel.file.path}"
        for parcel in parcels
    ]
    return "".join(f"{line}\n" for line in [*lines, "end"]).encode()


def _header(parcel: Parcel) -> bytes:
    folder, _, name = parcel.file.path.rpartition("/")
    member = tarfile.TarInfo(f"{folder}/.{name}.anykube-new".lstrip("/"))
    member.size = parcel.size
    member.mode = int(parcel.file.mode, 8)
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


async def _content(parcel: Parcel) -> AsyncIterator[bytes]:
    if isinstance(parcel.content, bytes):
        yield parcel.content
        return
    left = parcel.size
    try:
        source: BinaryIO = await asyncio.to_thread(parcel.content.open, "rb")
        with source:
            while left:
                piece = await asyncio.to_thread(source.read, min(CHUNK, left))
                if not piece:
                    raise _unreadable(parcel.content, "it became shorter while it was sent")
                left -= len(piece)
                yield piece
    except OSError as error:
        # Not to be taken for a broken connection, which would be tried again.
        raise _unreadable(parcel.content, error) from error


def _unreadable(path: object, why: object) -> ArtifactError:
    return ArtifactError(f"{path} cannot be sent.", evidence=[str(why)], remedy="anykube artifacts verify")
