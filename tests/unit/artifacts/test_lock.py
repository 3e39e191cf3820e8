"""The lock file as a value: what is written is read again; whatever was tampered with is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.errors import StateError
from anykube.facts.artifacts import ArtifactLock, LockedArtifact, from_dict, to_dict
from anykube.spec import catalog

BINARY = LockedArtifact("kubelet", "1.36.3", "amd64", "binary", "gomod", "a" * 64, 10)
IMAGE = LockedArtifact(
    "image-pause", "1.0.0", "amd64", "image", "built", "b" * 64, 20, "anykube.local/pause:1.0.0"
)
LOCK = ArtifactLock("1.36.3", "amd64", {"kubelet": BINARY, "image-pause": IMAGE})

names = st.sampled_from(catalog.ARTIFACTS)


@st.composite
def locks(draw: st.DrawFn) -> ArtifactLock:
    arch = draw(st.sampled_from(["amd64", "arm64"]))
    version = draw(st.sampled_from(catalog.VERSIONS))
    chosen = draw(st.sets(names))
    artifacts = {
        name: LockedArtifact(
            name=name,
            version=draw(st.sampled_from(["1.36.3", "1.1.5+ds1-1+deb12u1", "1.0~rc1"])),
            arch=arch,
            kind="image" if catalog.is_image(name) else "binary",
            source=draw(st.sampled_from(["upstream", "gomod", "distro", "mirror", "built"])),
            sha256=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
            size=draw(st.integers(1, 1 << 40)),
            reference=f"anykube.local/{name}:1.0.0" if catalog.is_image(name) else None,
        )
        for name in chosen
    }
    return ArtifactLock(version, arch, artifacts)


@given(locks())
def test_what_is_written_is_read_again(lock: ArtifactLock) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(lock)))) == lock


@given(locks(), st.randoms())
def test_the_digest_does_not_depend_on_the_order(lock: ArtifactLock, random: Any) -> None:
    items = list(lock.artifacts.items())
    random.shuffle(items)
    assert replace(lock, artifacts=dict(items)).digest == lock.digest


@pytest.mark.parametrize(
    "other",
    [
        replace(LOCK, kubernetes="1.36.1"),
        replace(LOCK, arch="arm64"),
        replace(LOCK, artifacts={"kubelet": BINARY}),
        replace(LOCK, artifacts={**LOCK.artifacts, "kubelet": replace(BINARY, sha256="c" * 64)}),
        replace(LOCK, artifacts={**LOCK.artifacts, "kubelet": replace(BINARY, size=11)}),
    ],
)
def test_the_digest_tells_locks_apart(other: ArtifactLock) -> None:
    assert other.digest != LOCK.digest


CHANGES: list[tuple[str, Any]] = [
    ("format", 2),
    ("arch", "riscv64"),
    ("kubernetes", "1.36.3; reboot"),
    ("artifacts", []),
    ("surprise", 1),
    ("artifacts.kubelet", None),
    ("artifacts.kubelet.sha256", "A" * 64),
    ("artifacts.kubelet.sha256", "a" * 64 + "\n"),
    ("artifacts.kubelet.sha256", "../../etc/passwd"),
    ("artifacts.kubelet.size", 0),
    ("artifacts.kubelet.size", True),
    ("artifacts.kubelet.size", "10"),
    ("artifacts.kubelet.kind", "script"),
    ("artifacts.kubelet.version", "1.36.3\x1b[31m"),
    ("artifacts.kubelet.source", ""),
    ("artifacts.kubelet.reference", "anykube.local/kubelet:1"),
    ("artifacts.kubelet.surprise", 1),
    ("artifacts.image-pause.reference", None),
    ("artifacts.image-pause.reference", "anykube.local/pause:1 --privileged"),
    ("artifacts.../kubelet", {}),
]


@pytest.mark.parametrize(("where", "value"), CHANGES, ids=[f"{where}={value!r}" for where, value in CHANGES])
def test_whatever_is_not_a_lock_is_refused(where: str, value: object) -> None:
    data = copy.deepcopy(to_dict(LOCK))
    target: Any = data
    *path, last = where.split(".") if "/" not in where else ("artifacts", "../kubelet")
    for part in path:
        target = target[part]
    target[last] = value
    with pytest.raises(StateError) as caught:
        from_dict(data)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("missing", ["format", "kubernetes", "arch", "artifacts"])
def test_a_missing_key_is_refused(missing: str) -> None:
    data = to_dict(LOCK)
    del data[missing]
    with pytest.raises(StateError, match=missing):
        from_dict(data)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=5))
def test_any_other_json_is_refused(data: object) -> None:
    with pytest.raises(StateError):
        from_dict(data)
