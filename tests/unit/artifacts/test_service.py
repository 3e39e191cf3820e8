"""fetch and verify from the outside: a real mirror over HTTPS, a real store, a lock that must hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from tests.unit.artifacts.release_server import Answer, ReleaseServer, make_program

from anykube.artifacts import service
from anykube.artifacts.sources.choice import choose
from anykube.artifacts.store import Store
from anykube.errors import ArtifactError, UsageError
from anykube.facts.artifacts import ArtifactLock

FOLDER = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/"
NAMES = ("kubelet", "kubectl")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def trusted(releases: ReleaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trusts the test's CA, as a user would make it trust that of a mirror."""
    monkeypatch.setenv("SSL_CERT_FILE", str(releases.ca_file))
    for name in NAMES:
        releases.publish(FOLDER + name, make_program(payload=name.encode()))


async def fetch(
    releases: ReleaseServer,
    store: Store,
    *names: str,
    lock: ArtifactLock | None = None,
    source: str = "mirror",
    arch: str = "amd64",
) -> ArtifactLock:
    return await service.fetch(
        "1.36.3", names or NAMES, arch=arch, source=source, mirror=releases.url, store=store, lock=lock
    )


async def test_what_is_fetched_is_in_the_store_and_in_the_lock(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store)
    assert set(lock.artifacts) == set(NAMES)
    kubelet = lock.artifacts["kubelet"]
    assert (kubelet.version, kubelet.source, kubelet.kind) == ("1.36.3", "mirror", "binary")
    assert store.path(kubelet.sha256).read_bytes() == make_program(payload=b"kubelet")
    assert service.verify(lock, store) == []


async def test_what_is_in_the_store_is_not_asked_for(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store)
    releases.seen.clear()
    assert await fetch(releases, store, lock=lock) == lock
    assert await fetch(releases, store) == lock, "without a lock the store's index remembers"
    assert releases.seen == []


async def test_a_new_name_is_added_to_the_lock(releases: ReleaseServer, store: Store) -> None:
    first = await fetch(releases, store, "kubelet")
    second = await fetch(releases, store, "kubectl", lock=first)
    assert set(second.artifacts) == set(NAMES)
    assert second.artifacts["kubelet"] == first.artifacts["kubelet"]


async def test_a_lock_of_another_version_does_not_count(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store, "kubelet")
    old = replace(lock, kubernetes="1.35.4")
    assert await fetch(releases, store, "kubectl", lock=old) == await fetch(releases, store, "kubectl")


async def test_what_differs_from_the_lock_is_refused(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store, "kubelet")
    expected = lock.artifacts["kubelet"].sha256
    store.path(expected).unlink()
    releases.publish(FOLDER + "kubelet", make_program(payload=b"replaced on the server"))
    with pytest.raises(ArtifactError, match="kubelet differs from the lock file") as caught:
        await fetch(releases, store, lock=lock)
    assert expected in caught.value.evidence[0]
    kubectl = (await fetch(releases, store, "kubectl")).artifacts["kubectl"].sha256
    assert store.contents() == {kubectl}


async def test_a_lost_file_comes_back_the_same(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store)
    store.path(lock.artifacts["kubelet"].sha256).unlink()
    assert await fetch(releases, store, lock=lock) == lock
    assert service.verify(lock, store) == []


async def test_damage_and_loss_are_reported_by_verify(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store)
    damaged = store.path(lock.artifacts["kubectl"].sha256)
    damaged.chmod(0o644)
    damaged.write_bytes(b"x")
    store.path(lock.artifacts["kubelet"].sha256).unlink()
    problems = service.verify(lock, store)
    assert [problem.artifact for problem in problems] == ["kubectl", "kubelet"]


@pytest.mark.parametrize("body", [b"<html>login</html>", make_program("arm64"), make_program()[:-1]])
async def test_wrong_content_with_a_right_checksum_is_refused(
    releases: ReleaseServer, store: Store, body: bytes
) -> None:
    releases.publish(FOLDER + "kubelet", body)
    with pytest.raises(ArtifactError, match="kubelet"):
        await fetch(releases, store, "kubelet")
    assert store.contents() == frozenset()
    assert list((store.root / "work").iterdir()) == []


async def test_two_fetches_at_once_download_once(releases: ReleaseServer, store: Store) -> None:
    locks = await asyncio.gather(*(fetch(releases, store) for _ in range(3)))
    assert locks[0] == locks[1] == locks[2]
    assert releases.seen.count(FOLDER + "kubelet") == 1


async def test_auto_takes_the_mirror_when_it_answers(releases: ReleaseServer, store: Store) -> None:
    lock = await fetch(releases, store, "kubelet", source="auto")
    assert lock.artifacts["kubelet"].source == "mirror"


async def test_one_source_that_fails_says_why(releases: ReleaseServer, store: Store) -> None:
    releases.serve(FOLDER + "kubelet.sha256", Answer(b"gone", 410))
    with pytest.raises(ArtifactError, match="status 410"):
        await fetch(releases, store, "kubelet")


async def test_no_source_at_all_lists_them(releases: ReleaseServer, store: Store) -> None:
    with pytest.raises(ArtifactError, match=r"No source has runc") as caught:
        await fetch(releases, store, "runc", source="auto", arch="arm64")
    assert [line.split(":")[0] for line in caught.value.evidence] == ["mirror", "gomod", "distro"]


async def test_unknown_names_are_refused_before_anything(releases: ReleaseServer, store: Store) -> None:
    with pytest.raises(ArtifactError, match="no artifact 'kublet'"):
        await fetch(releases, store, "kublet")
    with pytest.raises(ArtifactError, match="not in the catalog"):
        await service.fetch("1.2.3", NAMES, arch="amd64", store=store)
    assert releases.seen == []


async def test_a_store_that_cannot_be_written_is_an_error_with_a_remedy(
    releases: ReleaseServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArtifactError, match="store cannot be used") as caught:
        await fetch(releases, Store(tmp_path / "file" / "store"))
    assert "ANYKUBE_CACHE_DIR" in (caught.value.remedy or "")


async def test_waiting_for_another_process_is_said(releases: ReleaseServer, store: Store) -> None:
    heard: list[str] = []

    def report(item: str, message: str, _d: float | None, _t: float | None, _u: str) -> None:
        heard.append(f"{item}: {message}")
        if "waiting" in message:
            other.release()

    other = FileLock(store.lock_path("kubernetes-1.36.3-amd64"))
    other.acquire()
    await service.fetch(
        "1.36.3", NAMES, arch="amd64", source="mirror", mirror=releases.url, store=store, report=report
    )
    assert heard[0] == "kubernetes 1.36.3: another anykube is fetching it; waiting"


def test_the_order_of_sources() -> None:
    assert [source.name for source in choose("auto")] == ["upstream", "gomod", "distro"]
    assert [source.name for source in choose("auto", "https://m")] == ["mirror", "gomod", "distro"]
    assert [source.name for source in choose("gomod")] == ["gomod"]
    with pytest.raises(UsageError, match="no URL"):
        choose("mirror")
    with pytest.raises(UsageError, match="auto, upstream"):
        choose("gomdo")


def test_this_machine_has_an_architecture() -> None:
    assert service.arch() in {"amd64", "arm64"}
