"""Writes OCI images: files in, an archive that `ctr images import` takes out. Same input, same bytes.

The archive is an OCI image layout in a tar, uncompressed: images travel once, from the store to a node,
and unpacking costs more than copying.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from anykube.artifacts import inspection

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Content:
    """A regular file of an image: the path of its content here, or the bytes themselves."""

    source: Path | bytes
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of an image."""

    target: str


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is made of. `files` maps absolute paths to their content."""

    reference: str
    arch: str
    files: Mapping[str, Content | Link]
    entrypoint: tuple[str, ...]
    user: str = ""
    environment: Mapping[str, str] | None = None


def write(image: Image, destination: Path) -> None:
    """Write the image as an OCI layout tar."""
    with tempfile.TemporaryFile(dir=destination.parent) as layer:
        _write_layer(image, layer)
        layer_digest, layer_size = _hash(layer)
        config = _json(_config(image, layer_digest))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, config),
                "layers": [{"mediaType": _LAYER, "digest": layer_digest, "size": layer_size}],
            }
        )
        index = _json(_index(image, manifest))
        with tarfile.open(destination, "w", format=tarfile.PAX_FORMAT) as archive:
            _add_bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), 0o644)
            _add_bytes(archive, "index.json", index, 0o644)
            for blob in (manifest, config):
                _add_bytes(archive, inspection.blob_name(_digest(blob)), blob, 0o644)
            entry = _entry(inspection.blob_name(layer_digest), 0o644)
            entry.size = layer_size
            layer.seek(0)
            archive.addfile(entry, layer)


def _write_layer(image: Image, stream: IO[bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for folder in sorted(_folders(image)):
            entry = _entry(folder, 0o755)
            entry.type = tarfile.DIRTYPE
            layer.addfile(entry)
        for path, content in sorted(image.files.items()):
            name = path.lstrip("/")
            match content:
                case Link(target):
                    entry = _entry(name, 0o777)
                    entry.type, entry.linkname = tarfile.SYMTYPE, target
                    layer.addfile(entry)
                case Content(bytes() as data, mode):
                    _add_bytes(layer, name, data, mode)
                case Content(Path() as source, mode):
                    _add_file(layer, name, source, mode)


def _folders(image: Image) -> set[str]:
    parents = (parent for path in image.files for parent in PurePosixPath(path.lstrip("/")).parents)
    return {str(parent) for parent in parents} - {"."}


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    return entry


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = _entry(name, mode)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _add_file(archive: tarfile.TarFile, name: str, source: Path, mode: int) -> None:
    entry = _entry(name, mode)
    entry.size = source.stat().st_size
    with source.open("rb") as stream:
        archive.addfile(entry, stream)


def _config(image: Image, layer: str) -> dict[str, object]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(image.environment or {})}
    return {
        "architecture": image.arch,
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
            "Entrypoint": list(image.entrypoint),
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }


def _index(image: Image, manifest: bytes) -> dict[str, object]:
    name, _, tag = image.reference.rpartition(":")
    described = _descriptor(_MANIFEST, manifest) | {
        "platform": {"architecture": image.arch, "os": "linux"},
        "annotations": {
            "io.containerd.image.name": f"{name}:{tag}",
            "org.opencontainers.image.ref.name": tag,
        },
    }
    return {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _hash(stream: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), stream.tell()
    stream.seek(0)
    while chunk := stream.read(inspection.CHUNK):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}", size


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
