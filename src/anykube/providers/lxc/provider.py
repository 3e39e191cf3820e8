"""The Provider interface for LXC: pure choices in `blueprint`, everything else in the modules beside."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from anykube.errors import ProviderError
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.host import SystemFacts
from anykube.facts.machines import SiteFacts
from anykube.facts.record import Record
from anykube.plan.artifacts import needed
from anykube.plan.blueprint import Blueprint, MachineBlueprint, settings_digest
from anykube.plan.effects import (
    CreateMachine,
    DeleteMachine,
    EnsureSite,
    MachineEffect,
    RemoveSite,
    StartMachine,
)
from anykube.providers.base import Report
from anykube.providers.lxc import addressing, host, machine, network, recipe, rootfs, software
from anykube.providers.lxc.commands import require_root_and_tools
from anykube.providers.lxc.layout import CHANGED, Layout
from anykube.spec.endpoint import VIRTUAL_IP, endpoint_kind
from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import Node
from anykube.transports.base import Endpoint

ROOT = Path("/var/lib/anykube/lxc")
ROOTFS, SOFTWARE, NETWORK = "rootfs", "software", "network"
INTERFACES = Path("/sys/class/net")


class LxcProvider:
    """Machines of one cluster as LXC containers on this machine."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        cache: Path,
        ssh_public_key: Callable[[], str],
        artifact_path: Callable[[str], Path],
        root: Path = ROOT,
    ) -> None:
        """`ssh_public_key` and `artifact_path` (by sha256) are asked only when something is made."""
        self._cluster = cluster
        self._layout = Layout(root, cache, cluster.name)
        self._ssh_public_key = ssh_public_key
        self._artifact_path = artifact_path
        self._host = host.inspect()
        self._reserved = self._layout.other_subnets()

    def blueprint(
        self, nodes: Sequence[Node], record: Record, lock: ArtifactLock | None, taken: Sequence[str]
    ) -> Blueprint:
        """What should exist; see Provider."""
        spec = self._cluster.spec
        lxc = spec.machines.provider.lxc
        occupied = (*taken, *self._reserved, spec.network.pods, spec.network.services)
        bridge = addressing.bridge_name(self._cluster.name)
        recorded = record.site.get("subnet")
        if not self._begun(bridge) and addressing.overlaps(recorded, (*taken, *self._reserved)):
            # Another cluster was quicker: chosen at the same time, its network was made first.
            recorded = None
        subnet = addressing.choose_subnet(lxc.subnet if lxc else None, recorded, occupied)
        carried = endpoint_kind(self._cluster) is EndpointKind.VIRTUAL_IP
        virtual = spec.endpoint.address if carried else None
        addresses = addressing.assign(nodes, subnet, record.addresses, virtual)
        if virtual:
            addressing.refuse_virtual(virtual, subnet, addresses)
        return Blueprint(
            machines={
                node.name: MachineBlueprint(addresses[node.name], machine_settings(node)) for node in nodes
            },
            choices={"subnet": str(subnet), VIRTUAL_IP: str(addressing.virtual_address(subnet))},
            parts={
                ROOTFS: recipe.settings(self._host.suite),
                SOFTWARE: software.settings(lock),
                NETWORK: {"bridge": bridge, "subnet": str(subnet)},
            },
            baked=needed(self._cluster),
            for_births=frozenset({ROOTFS, SOFTWARE}),
        )

    def _begun(self, bridge: str) -> bool:
        """Whether nodes, or the network between them, exist: from then on the subnet is fixed."""
        return bool(self._layout.complete_nodes()) or (INTERFACES / bridge).exists()

    async def observe(self) -> SiteFacts:
        """What exists now; see Provider."""
        if not self._layout.home.exists():
            return SiteFacts()
        require_root_and_tools()
        machines, digest = await asyncio.gather(machine.observe(self._layout), network.digest(self._layout))
        parts = {part: found for part in (ROOTFS, SOFTWARE) if (found := self._layer_digest(part))}
        if digest is not None:
            parts[NETWORK] = digest
        # A folder of ours without any note: anykube was killed in its first step.
        return SiteFacts(parts or {ROOTFS: CHANGED}, machines)

    async def perform(self, effect: MachineEffect, report: Report) -> Mapping[str, str]:
        """Do one effect; see Provider."""
        require_root_and_tools()
        match effect:
            case EnsureSite(part, settings):
                await self._ensure(part, settings, report)
            case CreateMachine(name, address, settings):
                await self._create(name, address, settings)
            case StartMachine(name):
                await machine.start(self._layout, name)
            case DeleteMachine(name):
                await machine.delete(self._layout, name)
            case RemoveSite(part):
                await self._remove(part)
        return {}

    async def fresh(self) -> SystemFacts | None:
        """What a machine made now would look like; see Provider."""
        existing = next(path for path in (self._layout.root, *self._layout.root.parents) if path.exists())
        free = shutil.disk_usage(existing).free // (1024 * 1024)
        return host.fresh(self._host, free)

    def endpoint(self, machine_name: str, address: str) -> Endpoint:
        """Where a machine answers SSH; see Provider."""
        return Endpoint(machine_name, address, 22, "root", machine.host_key(self._layout, machine_name))

    def _layer_digest(self, part: str) -> str | None:
        note = self._layout.note(part)
        if note is None:
            return None
        settings: Mapping[str, str] = note["settings"]
        return settings_digest(settings) if self._layer_folder(part, settings).is_dir() else CHANGED

    def _layer_folder(self, part: str, settings: Mapping[str, str]) -> Path:
        if part == ROOTFS:
            return self._layout.layer(ROOTFS, settings["id"])
        return software.layer(self._layout, settings).folder

    async def _ensure(self, part: str, settings: Mapping[str, str], report: Report) -> None:
        match part:
            case "rootfs":
                await rootfs.ensure(self._layout, self._host, settings["id"], report)
            case "software":
                await software.ensure(self._layout, settings, self._artifact_path, report)
            case "network":
                await network.ensure(self._layout, settings)
                return
            case _:
                raise ProviderError(f"LXC has no shared part {part!r}.")
        await asyncio.to_thread(self._layout.write_note, part, {"settings": dict(settings)})

    async def _create(self, name: str, address: str, settings: Mapping[str, str]) -> None:
        if machine.exists(self._layout, name):
            await machine.resize(self._layout, name, settings)
        else:
            await machine.delete(self._layout, name)
            await machine.create(self._layout, name, address, settings, await self._birth(name))
        await machine.start(self._layout, name)

    async def _birth(self, name: str) -> machine.Birth:
        notes = {part: self._layout.note(part) for part in (ROOTFS, SOFTWARE, NETWORK)}
        if missing := [part for part, note in notes.items() if note is None]:
            raise ProviderError(f"{name} cannot be made before {', '.join(missing)}.", remedy="apply again")
        made = {part: note["settings"] for part, note in notes.items() if note is not None}
        subnet = made[NETWORK]["subnet"]
        source = str(addressing.gateway(addressing.choose_subnet(None, subnet, ())))
        return machine.Birth(
            rootfs=self._layer_folder(ROOTFS, made[ROOTFS]) / "tree",
            software=software.layer(self._layout, made[SOFTWARE]),
            subnet=subnet,
            bridge=made[NETWORK]["bridge"],
            resolvers=tuple(await host.answering_resolvers(source)),
            authorized_key=self._ssh_public_key(),
        )

    async def _remove(self, part: str) -> None:
        if part == NETWORK:
            await network.remove(self._layout, addressing.bridge_name(self._cluster.name))
        else:
            await asyncio.to_thread(self._layout.remove_note, part)


def machine_settings(node: Node) -> dict[str, str]:
    """The size of a machine, as text; what is absent has no limit."""
    size = {} if node.cpus is None else {"cpus": f"{node.cpus:g}"}
    return size if node.memory is None else {**size, "memory": str(node.memory)}
