"""Machines that exist already, for stories: LXC nodes with an operating system and nothing of ours on them.

Made with the LXC provider's own parts, and handed to anykube as a list of machines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anykube.artifacts.service import arch
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.record import Record
from anykube.observe.networks import routes
from anykube.paths import cache_dir
from anykube.pki.authority import generate
from anykube.pki.store import SecretStore
from anykube.plan.blueprint import Blueprint
from anykube.plan.effects import CreateMachine, DeleteMachine, EnsureSite, RemoveSite
from anykube.plan.provision import SSH_SECRET
from anykube.providers.lxc.provider import LxcProvider
from anykube.spec.catalog import DEFAULT_VERSION
from anykube.spec.load import load
from anykube.spec.nodes import nodes

Pool = dict[str, Any]


def document(name: str, pools: Sequence[Pool], provider: dict[str, Any]) -> str:
    """A cluster object."""
    return json.dumps(
        {
            "apiVersion": "anykube.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": name},
            "spec": {
                "kubernetes": {"version": DEFAULT_VERSION},
                "machines": {"provider": provider, "pools": list(pools)},
            },
        }
    )


class Bare:
    """Nodes with an operating system and nothing else. `pools` have a name, roles and a count."""

    def __init__(self, folder: Path, name: str, pools: Sequence[Pool]) -> None:
        self.name = name
        self.pools = pools
        self.secrets = SecretStore(folder / "secrets")
        generate(self.secrets, (SSH_SECRET,))
        self.key = folder / "key"
        self.key.touch(mode=0o600)
        self.key.write_bytes(self.secrets.part("ssh", "key").reveal())
        self.cluster = load(document(name, pools, {"lxc": {}}), "bare")
        self.provider = LxcProvider(
            self.cluster,
            cache=cache_dir(),
            ssh_public_key=lambda: self.secrets.part("ssh", "public").reveal().decode(),
            artifact_path=Path,
        )
        self.blueprint: Blueprint = self.provider.blueprint(
            nodes(self.cluster),
            Record(name, "bare"),
            ArtifactLock(DEFAULT_VERSION, arch(), {}),
            [route.network for route in routes()],
        )

    async def make(self) -> None:
        """All of them."""
        for part, settings in self.blueprint.parts.items():
            await self.provider.perform(EnsureSite(part, settings), quiet)
        for name, machine in self.blueprint.machines.items():
            await self.provider.perform(CreateMachine(name, machine.address, machine.settings), quiet)

    async def remove(self) -> None:
        """All of them, and what they share."""
        for name in self.blueprint.machines:
            await self.provider.perform(DeleteMachine(name), quiet)
        for part in reversed(tuple(self.blueprint.parts)):
            await self.provider.perform(RemoveSite(part), quiet)

    def object(self, addresses: Mapping[str, str] | None = None) -> str:
        """The object that lists them; `addresses` of some may differ from those they were made with."""
        pool_of = {node.name: node.pool for node in nodes(self.cluster)}
        hosts = []
        for name, machine in self.blueprint.machines.items():
            key = self.provider.endpoint(name, machine.address).host_key
            address = (addresses or {}).get(name, machine.address)
            hosts.append({"name": name, "address": address, "hostKey": key, "pool": pool_of[name]})
        pools = [{key: value for key, value in pool.items() if key != "count"} for pool in self.pools]
        return document(self.name, pools, {"machines": {"key": str(self.key), "hosts": hosts}})


def quiet(*_: object) -> None:
    """Nobody listens."""
