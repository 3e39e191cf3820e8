"""Is this file what it claims to be? Asked before anything enters the store, whatever its checksum says.

A checksum proves that bytes arrived; these checks prove that they were the right bytes to ask for.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from pathlib import Path
from typing import IO, Any

from anykube.artifacts import elf
from anykube.errors import ArtifactError
from anykube.facts.artifacts import Kind

CHUNK = 1 << 20
_INDEX_LIMIT = 1 << 20


def check(path: Path, *, kind: Kind, arch: str) -> None:
    """Raise ArtifactError unless the file is a whole program, or a whole image, for `arch`."""
    if kind == "image":
        _check_image(path, arch)
    else:
        _check_binary(path, arch)


def _check_binary(path: Path, arch: str) -> None:
    try:
        program = elf.read(path)
    except (ValueError, struct.error) as error:
        raise ArtifactError(
            f"{path.name} is not a program: {error}.",
            evidence=[describe_start(path)],
            remedy="a proxy or a mirror may answer with a page of its own; choose another artifacts.source",
        ) from error
    if program.arch != arch:
        raise ArtifactError(f"{path.name} is a program for {program.arch}, wanted is {arch}.")
    size = path.stat().st_size
    if size < program.size:
        raise ArtifactError(f"{path.name} is cut off: {size} of at least {program.size} bytes.")


def describe_start(path: Path) -> str:
    """The first bytes, for evidence: 'begins with b"<!DOCTYPE html>"'."""
    with path.open("rb") as stream:
        start = stream.read(200)
    kind = "an HTML page, " if start.lstrip()[:1] == b"<" else ""
    return f"{kind}{path.stat().st_size} bytes, begins with {start[:60]!r}"


def _check_image(path: Path, arch: str) -> None:
    try:
        with tarfile.open(path, "r:") as archive:
            index = _json(archive, "index.json")
            manifest = _blob_json(archive, index["manifests"][0]["digest"])
            config = _blob_json(archive, manifest["config"]["digest"])
            for layer in manifest["layers"]:
                _verify_blob(archive, layer["digest"])
    except (tarfile.TarError, KeyError, IndexError, TypeError, ValueError, EOFError) as error:
        raise ArtifactError(
            f"{path.name} is not a whole image: {type(error).__name__} {error}.",
            evidence=[describe_start(path)],
        ) from error
    if config.get("architecture") != arch:
        raise ArtifactError(f"{path.name} is an image for {config.get('architecture')}, wanted is {arch}.")


def _json(archive: tarfile.TarFile, name: str) -> Any:
    return json.loads(_member(archive, name).read(_INDEX_LIMIT))


def _blob_json(archive: tarfile.TarFile, digest: str) -> Any:
    _verify_blob(archive, digest)
    return _json(archive, blob_name(digest))


def _verify_blob(archive: tarfile.TarFile, digest: str) -> None:
    found = hashlib.sha256()
    stream = _member(archive, blob_name(digest))
    while chunk := stream.read(CHUNK):
        found.update(chunk)
    if f"sha256:{found.hexdigest()}" != digest:
        raise ValueError(f"the content of {digest} is another")


def blob_name(digest: str) -> str:
    """Where a blob is in an OCI layout."""
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a regular file")
    return stream
