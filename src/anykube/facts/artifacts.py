"""The lock file as a value: every artifact that a cluster uses, by sha256. No I/O.

artifacts/service.py makes it, state/ keeps it, the planner compares hosts with it. Parsing is strict: the
file may have been edited, and its hashes decide what runs as root on every node.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from anykube.errors import StateError

Kind = Literal["binary", "image"]
ARCHITECTURES = ("amd64", "arm64")
LOCK_FORMAT = 1

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,99}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_REFERENCE = re.compile(r"[a-z0-9.]+(?:/[a-z0-9-]+)+:[A-Za-z0-9_.-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class LockedArtifact:
    """One file by its content. `source` says where it came from; `reference` is the name of an image."""

    name: str
    version: str
    arch: str
    kind: Kind
    source: str
    sha256: str
    size: int
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactLock:
    """All artifacts of a cluster, by name."""

    kubernetes: str
    arch: str
    artifacts: Mapping[str, LockedArtifact] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One sha256 for the whole lock: equal locks have equal digests."""
        text = json.dumps(to_dict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def to_dict(lock: ArtifactLock) -> dict[str, object]:
    """The lock as a JSON-ready mapping, artifacts sorted by name."""
    return {
        "format": LOCK_FORMAT,
        "kubernetes": lock.kubernetes,
        "arch": lock.arch,
        "artifacts": {name: _entry(lock.artifacts[name]) for name in sorted(lock.artifacts)},
    }


def from_dict(data: object) -> ArtifactLock:
    """Parse what `to_dict` made. StateError names the first thing that is wrong."""
    top = _mapping(data, "lock file", {"format", "kubernetes", "arch", "artifacts"}, set())
    if top["format"] != LOCK_FORMAT:
        raise _wrong("format", f"{LOCK_FORMAT} is known here")
    arch = _choice(top["arch"], "arch", ARCHITECTURES)
    entries = top["artifacts"]
    if not isinstance(entries, dict):
        raise _wrong("artifacts", "must be a mapping")
    return ArtifactLock(
        kubernetes=_text(top["kubernetes"], "kubernetes", _VERSION),
        arch=arch,
        artifacts={
            _text(name, "artifact name", _NAME): _parse(name, arch, item) for name, item in entries.items()
        },
    )


def _entry(artifact: LockedArtifact) -> dict[str, object]:
    entry: dict[str, object] = {
        "version": artifact.version,
        "kind": artifact.kind,
        "source": artifact.source,
        "sha256": artifact.sha256,
        "size": artifact.size,
    }
    return entry if artifact.reference is None else {**entry, "reference": artifact.reference}


def _parse(name: str, arch: str, data: object) -> LockedArtifact:
    item = _mapping(data, name, {"version", "kind", "source", "sha256", "size"}, {"reference"})
    kind = cast(Kind, _choice(item["kind"], f"{name}.kind", get_args(Kind)))
    size, reference = item["size"], item.get("reference")
    if type(size) is not int or size <= 0:
        raise _wrong(f"{name}.size", "must be a positive whole number")
    if (reference is not None) != (kind == "image"):
        raise _wrong(f"{name}.reference", "an image has one, a binary has none")
    return LockedArtifact(
        name=name,
        version=_text(item["version"], f"{name}.version", _VERSION),
        arch=arch,
        kind=kind,
        source=_text(item["source"], f"{name}.source", _NAME),
        sha256=_text(item["sha256"], f"{name}.sha256", _SHA256),
        size=size,
        reference=None if reference is None else _text(reference, f"{name}.reference", _REFERENCE),
    )


def _mapping(data: object, where: str, required: set[str], optional: set[str]) -> dict[str, object]:
    if not isinstance(data, dict):
        raise _wrong(where, "must be a mapping")
    missing, unknown = required - data.keys(), data.keys() - required - optional
    if missing or unknown:
        raise _wrong(where, f"missing {sorted(missing)}, unknown {sorted(map(repr, unknown))[:5]}")
    return cast(dict[str, object], data)


def _text(value: object, where: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise _wrong(where, f"{str(value)[:80]!r} is not of the form {pattern.pattern[:-2]}")
    return value


def _choice(value: object, where: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _wrong(where, f"must be one of {', '.join(choices)}")
    return value


def _wrong(where: str, why: str) -> StateError:
    return StateError(
        f"The artifact lock is not valid at {where[:80]!r}: {why}.",
        remedy="restore the lock file, or remove it and run anykube artifacts get to write a new one",
    )
