"""Builds from Go modules with the real toolchain, on a component so small that it takes a second."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from anykube.artifacts.binaries import BinaryFetcher
from anykube.artifacts.pins import Pins
from anykube.artifacts.service import arch
from anykube.artifacts.sources import toolchain
from anykube.artifacts.sources.base import Fetched, Report, Request
from anykube.artifacts.sources.gomod import GoModSource, describe, output_name
from anykube.artifacts.sources.recipes import Recipe
from anykube.artifacts.store import Store
from anykube.errors import ArtifactError
from anykube.spec import catalog

RELEASE = catalog.release(catalog.DEFAULT_VERSION)
MAIN = """package main

var version = "none"

func main() { println("%s", version) }
"""
RECIPE = Recipe(
    packages={"etcd": "example.test/tiny/server/v3", "etcdctl": "example.test/tiny/etcdctl"},
    variables=("main.version=v{version}",),
)
REQUEST = Request("etcd", RELEASE.etcd, RELEASE.kubernetes, arch(), ("etcd", "etcdctl"))


def ignore(_item: str, _message: str, _done: float | None, _total: float | None, _unit: str) -> None:
    pass


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A pinned module in the place of etcd's."""
    folder = tmp_path / "modules" / f"etcd-{RELEASE.etcd}"
    for package in ("server/v3", "etcdctl"):
        (folder / package).mkdir(parents=True)
        (folder / package / "main.go").write_text(MAIN % package)
    (folder / "go.mod").write_text("module example.test/tiny\n\ngo 1.24\n")
    (folder / "go.sum").write_text("")
    return folder.parent


def source(modules: Path, recipe: Recipe = RECIPE) -> GoModSource:
    return GoModSource(modules, {"etcd": recipe})


async def build(
    modules: Path, workdir: Path, report: Report = ignore, recipe: Recipe = RECIPE
) -> Mapping[str, Fetched]:
    workdir.mkdir()
    return await source(modules, recipe).fetch(REQUEST, workdir, report)


def run(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stderr.strip()


async def test_all_binaries_are_built_with_their_version(modules: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    files = await build(
        modules, tmp_path / "work", lambda item, message, *_: heard.append(f"{item} {message}")
    )
    assert run(files["etcd"].path) == f"server/v3 v{RELEASE.etcd}"
    assert run(files["etcdctl"].path) == f"etcdctl v{RELEASE.etcd}"
    assert "etcd built" in heard
    assert "etcdctl built" in heard


async def test_two_builds_in_two_places_give_the_same_bytes(modules: Path, tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "another-place"):
        files = await build(modules, tmp_path / place)
        digests.add(hashlib.sha256(files["etcd"].path.read_bytes()).hexdigest())
    assert len(digests) == 1


async def test_a_second_fetch_builds_nothing(modules: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    heard: list[str] = []

    def report(item: str, message: str, _d: float | None, _t: float | None, _u: str) -> None:
        heard.append(f"{item} {message}")

    async def fetch() -> dict[str, str]:
        fetcher = BinaryFetcher(Pins(RELEASE, arch(), None), [source(modules)], store, report)
        return {name: item.sha256 for name, item in (await fetcher.fetch(("etcd", "etcdctl"))).items()}

    first = await fetch()
    assert heard
    heard.clear()
    assert await fetch() == first
    assert heard == []


@pytest.mark.parametrize("change", ["go.mod", "go.sum", "etcdctl/main.go", "flags"])
async def test_the_fingerprint_changes_with_what_is_built(modules: Path, change: str) -> None:
    before = await source(modules).fingerprint(REQUEST)
    recipe = Recipe(RECIPE.packages, ("main.version=other",)) if change == "flags" else RECIPE
    if change != "flags":
        file = modules / f"etcd-{RELEASE.etcd}" / change
        file.write_text(file.read_text() + "\n// changed\n")
    after = await source(modules, recipe).fingerprint(REQUEST)
    assert before is not None
    assert after is not None
    assert before != after


async def test_a_compile_error_is_shown(modules: Path, tmp_path: Path) -> None:
    (modules / f"etcd-{RELEASE.etcd}" / "etcdctl" / "main.go").write_text(
        "package main\nfunc main() { nonsense }\n"
    )
    with pytest.raises(ArtifactError, match="go build failed") as caught:
        await build(modules, tmp_path / "work")
    assert "undefined: nonsense" in "\n".join(caught.value.evidence)


async def test_a_module_without_its_checksum_is_refused(modules: Path, tmp_path: Path) -> None:
    folder = modules / f"etcd-{RELEASE.etcd}"
    (folder / "go.mod").write_text(
        "module example.test/tiny\n\ngo 1.24\n\nrequire golang.org/x/sys v0.35.0\n"
    )
    (folder / "etcdctl" / "main.go").write_text(
        'package main\n\nimport "golang.org/x/sys/unix"\n\nfunc main() { println(unix.Getpid()) }\n'
    )
    with pytest.raises(ArtifactError) as caught:
        await build(modules, tmp_path / "work")
    assert "missing go.sum entry" in "\n".join(caught.value.evidence)


async def test_a_module_for_a_newer_go_says_so(modules: Path, tmp_path: Path) -> None:
    (modules / f"etcd-{RELEASE.etcd}" / "go.mod").write_text("module example.test/tiny\n\ngo 1.99.1\n")
    with pytest.raises(ArtifactError, match=r"needs Go 1\.99\.1 or newer") as caught:
        await build(modules, tmp_path / "work")
    assert "scripts/setup" in (caught.value.remedy or "")


async def test_what_is_not_pinned_is_not_offered(modules: Path, tmp_path: Path) -> None:
    other = Request("etcd", "9.9.9", RELEASE.kubernetes, arch(), ("etcd",))
    assert not await source(modules).available(other)
    assert await source(modules).fingerprint(other) is None
    with pytest.raises(ArtifactError, match="no Go module for etcd"):
        await source(modules).fetch(other, tmp_path, ignore)


async def test_no_go_at_all_leads_to_setup() -> None:
    with pytest.raises(ArtifactError, match="there is none") as caught:
        await toolchain.find(places=[])
    assert "scripts/setup" in (caught.value.remedy or "")


async def test_an_old_go_is_passed_over(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, version in ((old, "go1.20.1"), (new, "go1.99.0")):
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)
    assert (await toolchain.find(places=[old, new])).path == new
    with pytest.raises(ArtifactError, match="No Go toolchain") as caught:
        await toolchain.find(places=[old])
    assert "go1.20.1" in caught.value.evidence[0]


async def test_a_stopped_build_leaves_no_process(modules: Path, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    fake = tmp_path / "go"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = env ] && { echo go1.99.0; exit; }\n'
        f"sleep 300 & echo $! > {marker}.new; mv {marker}.new {marker}; wait\n"
    )
    fake.chmod(0o755)
    slow = source(modules)
    slow._toolchain = await toolchain.find(places=[fake])
    task = asyncio.create_task(slow.fetch(REQUEST, tmp_path, ignore))
    async with asyncio.timeout(5):
        while not marker.exists():
            await asyncio.wait({task}, timeout=0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = Path(f"/proc/{marker.read_text().strip()}/stat")
    async with asyncio.timeout(5):
        while state.exists() and state.read_text().split()[2] != "Z":
            await asyncio.wait({asyncio.create_task(asyncio.to_thread(lambda: None))}, timeout=0.02)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("github.com/coredns/coredns", "coredns"),
        ("vim", "vim"),
        ("a/v2x", "v2x"),
    ],
)
def test_output_names_are_those_of_go(package: str, name: str) -> None:
    assert output_name(package) == name


def test_durations_in_words() -> None:
    assert [describe(5), describe(89), describe(90), describe(200)] == ["5 s", "89 s", "2 min", "3 min"]
