"""One cluster on this machine, opened: its folders, its provider, its connections. Wiring only, no decisions.

workflow.py opens a session per command. Connections are made when first used and closed together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from anykube.artifacts.store import Store
from anykube.backup.sealed import SealedStore, Wanted
from anykube.content.backup import bucket
from anykube.content.certificates import BACKUP_KEY
from anykube.errors import FencedError, StateError, UsageError
from anykube.facts.backup import SealedFacts
from anykube.facts.record import Record
from anykube.kube.client import KubeClient
from anykube.paths import cache_dir, state_dir
from anykube.pki.store import SecretStore
from anykube.plan.blueprint import Blueprint
from anykube.plan.leave import DRAIN_SECONDS
from anykube.plan.upgrade import PLAIN
from anykube.ports import SUPER_ADMIN, Ports
from anykube.providers.base import Provider
from anykube.providers.registry import make_provider
from anykube.secret import Secret
from anykube.spec.endpoint import ApiEndpoint, api_endpoint
from anykube.spec.load import load
from anykube.spec.model import Cluster, Machine
from anykube.spec.nodes import nodes
from anykube.state.clusters import SECRETS, folder, forget
from anykube.state.lock import ClusterLock
from anykube.state.lockfile import LockFile
from anykube.state.record import RecordStore
from anykube.transports.base import Endpoint, Transport
from anykube.transports.ssh import SSHTransport


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things are kept: what must be kept, and what can be had again."""

    state: Path = field(default_factory=state_dir)
    cache: Path = field(default_factory=cache_dir)


@dataclass(frozen=True, slots=True)
class Doors:
    """What opens the connections to nodes and to the Kubernetes API (servers, CA, certificate, key)."""

    node: Callable[[Endpoint, Secret], Transport] = SSHTransport
    kube: Callable[[tuple[str, ...], bytes, bytes, Secret], KubeClient] = KubeClient


class Session:
    """Everything that belongs to one cluster here. `record` and `blueprint` change as the run goes on.

    `replacing` are nodes to be made anew, until they have left; `drain_seconds` is how long a drain may take.
    `files` are what this run brings to nodes, by name; `restoring`: whether it finishes a restore.
    """

    doors: ClassVar[Doors] = Doors()
    """A process that works on simulated hosts (simulated_api.py) puts its own here."""

    def __init__(self, cluster: Cluster, folders: Folders | None = None) -> None:
        self.cluster = cluster
        self.folders = folders or Folders()
        self.folder = folder(self.folders.state, cluster.name)
        self._lock: ClusterLock | None = None
        self.records = RecordStore(self.folder, self._check_lock)
        self.secrets = SecretStore(self.folder / SECRETS, self._check_lock)
        self._sealed = SealedStore(self.folder, self._check_lock)
        self.lock_file = LockFile(self.folder, self._check_lock)
        self.store = Store(self.folders.cache / "artifacts")
        self.record = self.records.load() or Record(cluster.name, lineage="")
        self.blueprint = Blueprint(machines={})
        self.replacing: frozenset[str] = frozenset()
        self.drain_seconds = DRAIN_SECONDS
        self.asked = PLAIN
        self.files: dict[str, Path] = {}
        self.restoring = False
        self.provider: Provider = make_provider(
            cluster, self.folders.cache, self.secrets, self.store, self.departing
        )
        self._previous: tuple[str, Cluster | None] = ("", None)
        self._transports: dict[str, Transport] = {}
        self._kube: dict[tuple[bytes, bytes], KubeClient] = {}

    @property
    def known(self) -> bool:
        """Whether this cluster has a record here."""
        return bool(self.record.lineage)

    def lock(self, command: str) -> ClusterLock:
        """The lock of the cluster, for `async with`. Every later change is refused once it is taken away."""
        self._lock = ClusterLock(self.folder, command)
        return self._lock

    def fence(self) -> None:
        """FencedError if another run has taken the cluster over: its lock, or the epoch of its record."""
        self._check_lock()
        found = self.records.load() if self.known else self.record
        if found is None or (found.lineage, found.epoch) != (self.record.lineage, self.record.epoch):
            seen = "gone" if found is None else f"{found.lineage} {found.epoch}"
            raise FencedError(
                f"The record of {self.cluster.name} is not this run's any more; it must not change anything.",
                evidence=[f"record: {seen}", f"this run: {self.record.lineage} {self.record.epoch}"],
                remedy="Let the newer run finish, then: anykube apply",
            )

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    @property
    def previous(self) -> Cluster | None:
        """The object that was applied last."""
        if self._previous[0] != self.record.object:
            text = self.record.object
            self._previous = (text, load(text, f"record of {self.cluster.name}"))
        return self._previous[1]

    def departing(self) -> Mapping[str, Machine]:
        """Machines that the object listed and does not list any more, until they are clean."""
        earlier = {name: Machine.model_validate_json(text) for name, text in self.record.departing.items()}
        known = {**earlier, **_listed(self.previous)}
        return {name: machine for name, machine in known.items() if name not in _listed(self.cluster)}

    async def forget_node(self, name: str) -> None:
        """Remove what is kept here of a node that is gone. One that is made anew keeps its address."""
        if not (self.cluster.spec.security.external_authorities and name in self.blueprint.machines):
            # Others would have to sign again for a node that is made anew.
            self.secrets.forget_node(name)
        if transport := self._transports.pop(name, None):
            await transport.close()
        if name not in self.blueprint.machines:
            addresses, departing = dict(self.record.addresses), dict(self.record.departing)
            addresses.pop(name, None)
            departing.pop(name, None)
            self.record = self.records.save(replace(self.record, addresses=addresses, departing=departing))

    def ports(self) -> Ports:
        """The doors for the handlers."""
        return Ports(
            record=self.record,
            provider=self.provider,
            transport=self.transport,
            kube=self.kube,
            secrets=self.secrets,
            store=self.store,
            lock_file=self.lock_file,
            forget=lambda: forget(self.folder),
            forget_node=self.forget_node,
            fence=self.fence,
            files={**self._sealed.files(), **self.files},
            seal=lambda: self._sealed.seal(self._to_seal()),
            sealed=self._sealed_facts,
            made=self.blueprint.creates,
        )

    def recipients(self) -> tuple[str, ...]:
        """Who can read archives: those that the object names, else the cluster's own key, once it is made."""
        backup = self.cluster.spec.backup
        if backup and backup.recipients:
            return backup.recipients
        if BACKUP_KEY.secret not in self.secrets.names():
            return ()
        return (self.secrets.part(BACKUP_KEY.secret, "public").reveal().decode().strip(),)

    def _to_seal(self) -> Wanted:
        backup = self.cluster.spec.backup
        s3 = bucket(backup) if backup else None
        path = Path(s3.credentials) if s3 else None
        return Wanted(self.record, self.recipients(), path, version("anykube"))

    def adopt_sealed(self, sealed: bytes, keys: Sequence[Secret]) -> None:
        """Keep what a node holds sealed for its backups, if that is the state as it is here."""
        self._sealed.adopt(sealed, keys, self._to_seal())

    def _sealed_facts(self) -> SealedFacts:
        if self.cluster.spec.backup is None or not self.known or not self.recipients():
            return SealedFacts(anykube=version("anykube"))
        return self._sealed.facts(self._to_seal())

    def draw(self, taken: Sequence[str]) -> Blueprint:
        """What the provider should have, made anew: it depends on the record and the artifact lock.

        `taken` are the networks that this machine routes.
        """
        lock = self.lock_file.load()
        self.blueprint = self.provider.blueprint(nodes(self.cluster), self.record, lock, taken)
        return self.blueprint

    def addresses(self) -> Mapping[str, str]:
        """Name and address of every machine: as planned, else as recorded."""
        leaving = {name: machine.address for name, machine in self.departing().items()}
        return {**self.record.addresses, **leaving, **self.blueprint.addresses}

    def transport(self, node: str) -> Transport:
        """The connection to a node. UsageError if the cluster has no such node."""
        if node not in self._transports:
            addresses = self.addresses()
            if node not in addresses:
                known = ", ".join(sorted(addresses)) or "none yet"
                raise UsageError(f"{self.cluster.name} has no node {node[:60]!r}.", remedy=f"nodes: {known}")
            endpoint = self.provider.endpoint(node, addresses[node])
            self._transports[node] = self.doors.node(endpoint, self.ssh_key())
        return self._transports[node]

    def ssh_key(self) -> Secret:
        """The private key for SSH: the user's for existing machines, else our own."""
        machines = self.cluster.spec.machines.provider.machines
        if machines is None:
            return self.secrets.part("ssh", "key")
        try:
            return Secret(Path(machines.key).read_bytes())
        except OSError as error:
            raise StateError(
                f"The SSH key {machines.key} cannot be read.",
                evidence=[str(error)],
                remedy="mend machines.key",
            ) from error

    def note_birth(self) -> None:
        """Keep in the record that etcd of this cluster has served: it is never founded again."""
        if self.known and not self.record.born:
            self.record = self.records.save(replace(self.record, born=True))

    def note_upgraded(self) -> None:
        """Keep in the record that every node runs what the upgrade brought."""
        if (upgrade := self.record.upgrade) is not None and not upgrade.finished:
            done = replace(upgrade, finished=True)
            self.record = self.records.save(replace(self.record, upgrade=done))

    def kube(self) -> KubeClient:
        """The Kubernetes API, as anykube itself."""
        ca = self.secrets.part("ca/cluster", "bundle").reveal()
        certificate = self.secrets.part(SUPER_ADMIN, "certificate").reveal()
        if (ca, certificate) not in self._kube:
            # Also when they were made anew in this run: the API knows us by the new ones.
            key = self.secrets.part(SUPER_ADMIN, "key")
            self._kube[ca, certificate] = self.doors.kube(self.endpoint().urls, ca, certificate, key)
        return self._kube[ca, certificate]

    def endpoint(self) -> ApiEndpoint:
        """How the API is reached: as planned, else as recorded."""
        choices = {**self.record.site, **self.blueprint.choices}
        return api_endpoint(self.cluster, self.addresses(), choices)

    def server(self) -> str:
        """The URL of the API."""
        return self.endpoint().urls[0]

    async def close(self) -> None:
        """Close all connections."""
        closing = [transport.close() for transport in self._transports.values()]
        closing += [client.close() for client in self._kube.values()]
        self._transports, self._kube = {}, {}
        await asyncio.gather(*closing, return_exceptions=True)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _listed(cluster: Cluster | None) -> Mapping[str, Machine]:
    """The existing machines of an object, by name."""
    machines = cluster.spec.machines.provider.machines if cluster else None
    return {host.name: host for host in machines.hosts} if machines else {}
