"""Downloads from a real HTTPS server: what is right is kept, whatever is wrong leaves nothing behind."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from tests.unit.artifacts.release_server import Answer, ReleaseServer, make_archive, make_program

from anykube.artifacts.sources.base import Request, TransferError
from anykube.artifacts.sources.http import Downloader
from anykube.artifacts.sources.upstream import (
    RELEASES,
    MirrorSource,
    ReleaseFile,
    UpstreamSource,
    find_checksum,
)
from anykube.errors import ArtifactError, UsageError
from anykube.spec import catalog

KUBELET = Request("kubernetes", "1.36.3", "1.36.3", "amd64", ("kubelet",))
ETCD = Request("etcd", "3.7.3", "1.36.3", "amd64", ("etcd", "etcdctl"))
KUBELET_PATH = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
ETCD_FOLDER = "/github.com/etcd-io/etcd/releases/download/v3.7.3"
ETCD_FILE = "etcd-v3.7.3-linux-amd64.tar.gz"
ETCD_INNER = "etcd-v3.7.3-linux-amd64"
SHA256 = "a" * 64


def ignore(_item: str, _message: str, _done: float | None, _total: float | None, _unit: str) -> None:
    pass


def mirror(releases: ReleaseServer, *, stall: float = 5.0, attempts: int = 4) -> MirrorSource:
    downloader = Downloader(redirects={}, tls=releases.tls, stall=stall, attempts=attempts)
    return MirrorSource(releases.url, downloader)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def publish_etcd(releases: ReleaseServer, archive: bytes) -> None:
    sums = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(archive).hexdigest()}  {ETCD_FILE}\n"
    releases.serve(f"{ETCD_FOLDER}/{ETCD_FILE}", Answer(archive))
    releases.serve(f"{ETCD_FOLDER}/SHA256SUMS", Answer(sums.encode()))


async def test_a_good_file_arrives_whole_and_is_reported(releases: ReleaseServer, tmp_path: Path) -> None:
    body = make_program(payload=b"x" * 9_000_000)
    releases.publish(KUBELET_PATH, body)
    heard: list[tuple[object, ...]] = []
    files = await mirror(releases).fetch(KUBELET, tmp_path, lambda *event: heard.append(event))
    assert files["kubelet"].path.read_bytes() == body
    assert files["kubelet"].version == "1.36.3"
    assert heard[-1] == ("kubelet", "downloaded", len(body), len(body), "bytes")
    assert ("kubelet", "downloading") in {event[:2] for event in heard}


async def test_an_archive_comes_once_and_only_named_members_come_out(
    releases: ReleaseServer, tmp_path: Path
) -> None:
    etcd, etcdctl = make_program(payload=b"etcd"), make_program(payload=b"etcdctl")
    files = {"../../evil": b"evil", f"{ETCD_INNER}/etcd": etcd, f"./{ETCD_INNER}/etcdctl": etcdctl}
    publish_etcd(releases, make_archive(files))
    fetched = await mirror(releases).fetch(ETCD, tmp_path, ignore)
    assert fetched["etcd"].path.read_bytes() == etcd
    assert fetched["etcdctl"].path.read_bytes() == etcdctl
    assert releases.seen.count(f"{ETCD_FOLDER}/{ETCD_FILE}") == 1
    assert left_in(tmp_path) == ["etcd", "etcd.download", "etcdctl"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({f"{ETCD_INNER}/etcd": b"x"}, "lacks"),
        ({f"{ETCD_INNER}/etcd": b"x", f"{ETCD_INNER}/etcdctl": None}, "not a regular file"),
    ],
    ids=["member missing", "member is a link"],
)
async def test_an_archive_with_wrong_members_is_refused(
    releases: ReleaseServer, tmp_path: Path, files: dict[str, bytes | None], said: str
) -> None:
    publish_etcd(releases, make_archive(files))
    with pytest.raises(ArtifactError, match=said):
        await mirror(releases).fetch(ETCD, tmp_path, ignore)


@pytest.mark.parametrize("body", [b"<html>", make_archive({"a": b"x" * 9999})[:-40]], ids=["page", "cut"])
async def test_an_archive_that_is_none_is_refused(
    releases: ReleaseServer, tmp_path: Path, body: bytes
) -> None:
    publish_etcd(releases, body)
    with pytest.raises(ArtifactError, match="not a whole archive"):
        await mirror(releases).fetch(ETCD, tmp_path, ignore)


async def test_a_wrong_checksum_is_refused_at_once(releases: ReleaseServer, tmp_path: Path) -> None:
    releases.serve(KUBELET_PATH, Answer(make_program()))
    releases.serve(KUBELET_PATH + ".sha256", Answer(SHA256.encode()))
    with pytest.raises(ArtifactError, match="published checksum") as caught:
        await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert not caught.value.retryable
    assert releases.seen.count(KUBELET_PATH) == 1
    assert left_in(tmp_path) == []


async def test_a_cut_transfer_is_tried_again(releases: ReleaseServer, tmp_path: Path) -> None:
    body = make_program(payload=b"y" * 100_000)
    releases.publish(KUBELET_PATH, body)
    releases.serve(KUBELET_PATH, Answer(body[:5000], claimed=len(body)), Answer(body))
    files = await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert files["kubelet"].path.read_bytes() == body


async def test_a_transfer_that_is_always_cut_ends_in_a_retryable_error(
    releases: ReleaseServer, tmp_path: Path
) -> None:
    body = make_program()
    releases.publish(KUBELET_PATH, body)
    releases.serve(KUBELET_PATH, Answer(body[:100], claimed=len(body)))
    with pytest.raises(TransferError, match="cannot be read"):
        await mirror(releases, attempts=2).fetch(KUBELET, tmp_path, ignore)
    assert releases.seen.count(KUBELET_PATH) == 2
    assert left_in(tmp_path) == []


async def test_a_busy_server_is_asked_again(releases: ReleaseServer, tmp_path: Path) -> None:
    body = make_program()
    releases.publish(KUBELET_PATH, body)
    releases.serve(KUBELET_PATH, Answer(status=503), Answer(status=500), Answer(body))
    await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert releases.seen.count(KUBELET_PATH) == 3


async def test_a_missing_file_is_not_asked_for_again(releases: ReleaseServer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="status 404"):
        await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert releases.seen == [KUBELET_PATH + ".sha256"]


async def test_a_web_page_is_refused(releases: ReleaseServer, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>"
    releases.publish(KUBELET_PATH, page)
    releases.serve(KUBELET_PATH, Answer(page, headers={"content-type": "text/html; charset=utf-8"}))
    with pytest.raises(ArtifactError, match="web page"):
        await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert left_in(tmp_path) == []


async def test_a_server_that_goes_silent_is_given_up(releases: ReleaseServer, tmp_path: Path) -> None:
    body = make_program()
    releases.publish(KUBELET_PATH, body)
    releases.serve(KUBELET_PATH, Answer(body[:50], claimed=len(body), stall=True))
    began = time.monotonic()
    with pytest.raises(TransferError, match="ReadTimeout"):
        await mirror(releases, stall=0.3, attempts=1).fetch(KUBELET, tmp_path, ignore)
    assert time.monotonic() - began < 3
    assert left_in(tmp_path) == []


async def test_more_bytes_than_allowed_are_refused(releases: ReleaseServer, tmp_path: Path) -> None:
    releases.publish("/file", b"x" * 5000)
    small = {"kubernetes": ReleaseFile(releases.url + "/file", releases.url + "/file.sha256", {}, limit=4999)}
    source = UpstreamSource(Downloader(redirects={}, tls=releases.tls), small)
    with pytest.raises(ArtifactError, match="announces 5000"):
        await source.fetch(KUBELET, tmp_path, ignore)
    assert left_in(tmp_path) == []


async def test_more_bytes_than_announced_at_all_are_refused(releases: ReleaseServer, tmp_path: Path) -> None:
    body = b"x" * 5000
    releases.publish("/file", body)
    releases.serve("/file", Answer(body, chunked=True))
    small = {"kubernetes": ReleaseFile(releases.url + "/file", releases.url + "/file.sha256", {}, limit=4999)}
    source = UpstreamSource(Downloader(redirects={}, tls=releases.tls), small)
    with pytest.raises(ArtifactError, match="more than the 4999"):
        await source.fetch(KUBELET, tmp_path, ignore)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("place", ["https://localhost:1/x", "http://{host}/x", "ftp://{host}/x", "//other/x"])
async def test_a_redirect_to_elsewhere_is_refused(
    releases: ReleaseServer, tmp_path: Path, place: str
) -> None:
    releases.publish(KUBELET_PATH, make_program())
    location = place.format(host=releases.url.removeprefix("https://"))
    releases.serve(KUBELET_PATH, Answer(status=302, headers={"location": location}))
    with pytest.raises(ArtifactError, match="not allowed"):
        await mirror(releases).fetch(KUBELET, tmp_path, ignore)
    assert left_in(tmp_path) == []


async def test_a_redirect_to_an_allowed_host_is_followed(releases: ReleaseServer, tmp_path: Path) -> None:
    body = make_program()
    releases.publish("/moved", body)
    elsewhere = releases.url.replace("127.0.0.1", "localhost") + "/moved"
    releases.serve("/file", Answer(status=302, headers={"location": elsewhere}))
    files = {"kubernetes": ReleaseFile(releases.url + "/file", releases.url + "/moved.sha256", {})}
    allowed = {releases.url.removeprefix("https://"): frozenset({elsewhere.split("/")[2]})}
    source = UpstreamSource(Downloader(redirects=allowed, tls=releases.tls), files)
    fetched = await source.fetch(KUBELET, tmp_path, ignore)
    assert fetched["kubelet"].path.read_bytes() == body


async def test_a_loop_of_redirects_ends(releases: ReleaseServer, tmp_path: Path) -> None:
    releases.publish(KUBELET_PATH, make_program())
    releases.serve(KUBELET_PATH, Answer(status=302, headers={"location": KUBELET_PATH}))
    with pytest.raises(ArtifactError, match="redirects more than"):
        await mirror(releases).fetch(KUBELET, tmp_path, ignore)


async def test_a_certificate_of_a_stranger_is_refused(releases: ReleaseServer, tmp_path: Path) -> None:
    releases.publish(KUBELET_PATH, make_program())
    source = MirrorSource(releases.url, Downloader(redirects={}, attempts=1))
    assert not await source.available(KUBELET)
    with pytest.raises(ArtifactError, match=r"(?i)certificate"):
        await source.fetch(KUBELET, tmp_path, ignore)
    assert releases.seen == []


async def test_whether_a_host_answers_is_asked_once_and_fast(releases: ReleaseServer) -> None:
    releases.publish(KUBELET_PATH, make_program())
    source = mirror(releases)
    assert await source.available(KUBELET)
    assert await source.available(KUBELET)
    assert releases.seen == [KUBELET_PATH + ".sha256"]


async def test_a_silent_host_counts_as_absent_within_two_seconds(releases: ReleaseServer) -> None:
    releases.serve(KUBELET_PATH + ".sha256", Answer(claimed=64, stall=True))
    silent = mirror(releases)
    releases.serve("/never", Answer(stall=True))
    began = time.monotonic()
    assert await silent.available(KUBELET)  # its head arrives: it answers
    assert not await MirrorSource("https://127.0.0.1:1", Downloader(redirects={})).available(KUBELET)
    assert time.monotonic() - began < 2


def test_a_mirror_without_tls_is_refused() -> None:
    with pytest.raises(UsageError):
        MirrorSource("http://mirror.example")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SHA256, SHA256),
        (f"{SHA256}\n", SHA256),
        (f"{SHA256}  file", SHA256),
        (f"{SHA256} *file", SHA256),
        (f"{'b' * 64}  other\n{SHA256.upper()}  ./file\n", SHA256),
    ],
)
def test_published_checksums_are_understood(text: str, found: str) -> None:
    assert find_checksum(text, "file") == found


@pytest.mark.parametrize(
    "text", ["", "<html>", SHA256[:-1], f"{SHA256}  files", f"{SHA256}\n{SHA256}", f"file  {SHA256}"]
)
def test_a_list_without_the_file_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="do not list"):
        find_checksum(text, "file")


def test_every_release_file_names_artifacts_of_its_component() -> None:
    for component, release in RELEASES.items():
        assert set(release.members) <= set(catalog.COMPONENTS[component])
        assert release.url.startswith("https://")
        assert release.checksum_url.startswith("https://")
