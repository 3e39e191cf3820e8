"""The artifact lock of a cluster: read back equal, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from anykube.errors import StateError
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.state.lockfile import LockFile

LOCK = ArtifactLock(
    "1.36.3",
    "amd64",
    {
        "kubelet": LockedArtifact("kubelet", "1.36.3", "amd64", "binary", "gomod", "0" * 64, 7),
        "image-coredns": LockedArtifact(
            "image-coredns",
            "1.15.0",
            "amd64",
            "image",
            "gomod",
            "1" * 64,
            9,
            "registry.k8s.io/coredns:v1.15.0",
        ),
    },
)


def test_nothing_locked_is_none(tmp_path: Path) -> None:
    assert LockFile(tmp_path / "demo").load() is None


def test_a_lock_is_read_back_equal(tmp_path: Path) -> None:
    store = LockFile(tmp_path / "demo")
    store.save(LOCK)
    assert store.load() == LOCK
    assert (store.path.stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"[" * 100_000, b'{"format": 1, "format": 1}', b"\xff"]
)
def test_damage_is_named_and_left(tmp_path: Path, content: bytes) -> None:
    store = LockFile(tmp_path / "demo")
    store.save(LOCK)
    store.path.write_bytes(content)
    with pytest.raises(StateError, match=r"artifacts\.lock\.json") as caught:
        store.load()
    assert caught.value.remedy
    assert store.path.read_bytes() == content
