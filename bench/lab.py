"""Clusters of the benchmark: LXC machines made by anykube's own provider, the same for both sides.

Every node has the same root file system, the same binaries and the same imported images, those that only
kubeadm uses included. So nothing but the way of bringing a cluster up differs.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anykube import workflow
from anykube.errors import InterruptedRun
from anykube.events import Event, PhaseDone
from anykube.execute.engine import StopFlag
from anykube.facts.artifacts import ArtifactLock
from anykube.paths import cache_dir
from anykube.plan.model import Phase
from anykube.providers.lxc.addressing import cgroup_names
from anykube.providers.lxc.provider import ROOT
from anykube.session import Folders, Session
from anykube.spec.catalog import DEFAULT_VERSION
from anykube.spec.load import load
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node, nodes
from bench.shape import Shape

SETTLE_SECONDS = 30.0
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of the benchmark with folders of its own; the cache of artifacts is the user's."""

    cluster: Cluster
    text: str
    folder: Path

    @property
    def folders(self) -> Folders:
        """State here, cache where the user has it."""
        return Folders(state=self.folder / "state", cache=cache_dir())

    @property
    def file(self) -> Path:
        """The cluster object, for commands."""
        return self.folder / "cluster.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """What commands need to find this cluster's state."""
        return {"ANYKUBE_STATE_DIR": str(self.folders.state), "NO_COLOR": "1"}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        return nodes(self.cluster)

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the control planes."""
        return tuple(node.name for node in self.nodes if node.control_plane)

    def edited(self, shape: Shape, **spec: Any) -> Site:
        """The same cluster with another object, which is in its file from now on."""
        text = cluster_text(self.cluster.name, shape, **spec)
        self.file.write_text(text)
        return replace(self, cluster=load(text, self.cluster.name), text=text)

    def machine(self, node: str) -> Path:
        """The folder of a machine."""
        return ROOT / self.cluster.name / "nodes" / node

    def processor_seconds(self) -> float:
        """What all machines of this cluster used of this machine's processors since they were made."""
        return sum(_used(self.machine(node.name)) for node in self.nodes)

    def on_disk(self, node: str, path: str) -> Path:
        """Where a file of a node is on this machine: looking there does not disturb the node."""
        folder = self.machine(node)
        kubelet = "/var/lib/kubelet/"
        if path.startswith(kubelet):
            return folder / "disks" / "kubelet" / path.removeprefix(kubelet)
        return folder / "delta" / path.lstrip("/")


def _used(machine: Path) -> float:
    group, _ = cgroup_names(machine)
    first, second = CGROUPS / "cpuacct" / group / "cpuacct.usage", CGROUPS / group / "cpu.stat"
    if first.exists():
        return int(first.read_text()) / 1e9
    fields = dict(line.split() for line in second.read_text().splitlines()) if second.exists() else {}
    return int(fields.get("usage_usec", 0)) / 1e6


def cluster_text(name: str, shape: Shape, **spec: Any) -> str:
    """A cluster object of this shape; `spec` is added to its spec."""
    whole = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "kubernetes": {"version": DEFAULT_VERSION},
            "machines": {"provider": {"lxc": {}}, "pools": shape.pools()},
            **spec,
        },
    }
    return json.dumps(whole, indent=1)


@asynccontextmanager
async def site(name: str, shape: Shape, lock: ArtifactLock, **spec: Any) -> AsyncIterator[Site]:
    """A cluster of which nothing exists yet but its artifact lock. All of it is gone afterwards."""
    text = cluster_text(name, shape, **spec)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = Site(load(text, name), text, Path(folder))
        made.file.write_text(text)
        Session(made.cluster, made.folders).lock_file.save(lock)
        try:
            yield made
        finally:
            # The object may have been edited meanwhile.
            last = load(made.file.read_text(), name)
            await workflow.destroy(last, approve=lambda _: True, folders=made.folders)


async def make_machines(made: Site) -> None:
    """The machines of a cluster, running, calm, and with nothing on them but software."""
    stop = StopFlag()

    def listen(event: Event) -> None:
        if isinstance(event, PhaseDone) and event.phase == Phase.PROVISION:
            stop.set()

    with suppress(InterruptedRun):
        await workflow.apply(
            made.cluster,
            text=made.text,
            approve=lambda _: True,
            emit=listen,
            stop=stop,
            folders=made.folders,
        )
    async with opened(made) as session:
        settled = ["systemctl", "is-system-running", "--wait"]
        await asyncio.gather(
            *(session.transport(node.name).run(settled, seconds=SETTLE_SECONDS) for node in made.nodes)
        )


@asynccontextmanager
async def opened(made: Site) -> AsyncIterator[Session]:
    """The doors to a cluster whose machines exist."""
    async with Session(made.cluster, made.folders) as session:
        session.draw(())
        yield session


def addresses(session: Session) -> Mapping[str, str]:
    """Name and address of each node."""
    return session.addresses()
