"""Our images in a real containerd of their own: they are imported, run, and stop when asked to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from anykube.artifacts import service
from anykube.artifacts.sources.base import Request
from anykube.artifacts.sources.distro import DistroSource
from anykube.artifacts.store import Store
from anykube.facts.artifacts import ArtifactLock
from anykube.spec import catalog

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
]

RUNTIME = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
START_SECONDS = 20.0


@dataclass(frozen=True)
class Containerd:
    """A private containerd and how to talk to it."""

    folder: Path
    store: Store
    lock: ArtifactLock

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def ctr(self, *arguments: str, check: bool = True) -> str:
        """Run ctr; its standard output and error."""
        command = [f"{self.folder}/bin/ctr", "-a", f"{self.folder}/c.sock", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def reference(self, name: str) -> str:
        reference = self.lock.artifacts[name].reference
        assert reference is not None
        return reference

    def run(self, name: str, *command: str) -> str:
        """Run a command in an image to its end."""
        return self.ctr("run", "--rm", "--net-host", self.reference(name), f"{name}-test", *command)

    def wait(self, what: str, *arguments: str, holds: str) -> None:
        """Wait until ctr's answer holds a text."""
        end = time.monotonic() + START_SECONDS
        while holds not in self.ctr(*arguments, check=False):
            assert time.monotonic() < end, f"{what} did not happen"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    store = Store()
    names = (*RUNTIME, *catalog.IMAGES)
    lock = asyncio.run(service.fetch(catalog.DEFAULT_VERSION, names, arch=service.arch(), store=store))
    folder = tmp_path_factory.mktemp("containerd")
    (folder / "bin").mkdir()
    for name in RUNTIME:
        (folder / "bin" / name).symlink_to(store.path(lock.artifacts[name].sha256))
    (folder / "config.toml").write_text(
        f"""version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "{folder}/c.sock"
[ttrpc]
address = "{folder}/t.sock"
"""
    )
    made = Containerd(folder, store, lock)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [f"{folder}/bin/containerd", "-c", f"{folder}/config.toml"],
            stdout=log,
            stderr=log,
            env=made.environment,
        )
    try:
        made.wait("containerd's start", "version", holds="Server:")
        for name in catalog.IMAGES:
            made.ctr("images", "import", str(store.path(lock.artifacts[name].sha256)))
        yield made
    finally:
        process.terminate()
        process.wait(20)
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "-R", f"{folder}/root"], capture_output=True)


def test_images_have_their_names(containerd: Containerd) -> None:
    listed = containerd.ctr("images", "ls", "-q").split()
    assert {containerd.reference(name) for name in catalog.IMAGES} <= set(listed)


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("image-coredns", ["/coredns", "--version"], "CoreDNS-1.15.0"),
        ("image-flannel", ["/opt/bin/flanneld", "--version"], "v0.28.4"),
        ("image-flannel", ["/usr/sbin/nft", "--version"], "nftables v1."),
        ("image-flannel", ["/bin/sh", "-c", "cp /bin/busybox /copy && ls /copy"], "/copy"),
        ("image-metrics-server", ["/metrics-server", "--version"], "v0.9.0"),
    ],
)
def test_programs_run_in_their_images(
    containerd: Containerd, name: str, command: list[str], said: str
) -> None:
    assert said in containerd.run(name, *command)


def test_pause_waits_and_stops_when_asked(containerd: Containerd) -> None:
    containerd.ctr("run", "-d", containerd.reference("image-pause"), "pause-test")
    try:
        assert "RUNNING" in containerd.ctr("task", "ls")
        containerd.ctr("task", "kill", "-s", "SIGTERM", "pause-test")
        containerd.wait("the end of pause", "task", "ls", holds="STOPPED")
    finally:
        containerd.ctr("task", "rm", "-f", "pause-test", check=False)
        containerd.ctr("containers", "rm", "pause-test", check=False)


async def test_runc_comes_from_the_distribution(tmp_path: Path) -> None:
    source = DistroSource()
    request = Request("runc", "1.5.2", "1.36.3", service.arch(), ("runc",))
    files = await source.fetch(request, tmp_path, service.ignore)
    stored = Store(tmp_path / "store").add(files["runc"].path, kind="binary", arch=request.arch)
    assert stored.size > 1_000_000
    assert files["runc"].version[0].isdigit()
