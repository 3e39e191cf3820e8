"""A world for the planner: facts that effects change the way the real handlers do, without any I/O.

It knows nothing of plans: it takes one effect at a time, so that a test can stop anywhere between two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from anykube.addons.references import reference
from anykube.content.backup import sealed_files
from anykube.content.model import CertificateRequest, File, SecretRequest, expected_sha256
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.facts.backup import SealedFacts
from anykube.facts.cluster import Facts
from anykube.facts.host import FileFacts, HostFacts, LedgerFacts, SystemFacts, UnitFacts
from anykube.facts.kubernetes import KubernetesFacts, NodeFacts, ObjectFacts, WorkloadFacts
from anykube.facts.machines import MachineFacts, MachineState, SiteFacts
from anykube.facts.record import Record
from anykube.facts.secrets import CertificateFacts, SecretFacts
from anykube.plan import effects
from anykube.plan.artifacts import needed
from anykube.plan.assemble import plan
from anykube.plan.blueprint import Blueprint, MachineBlueprint, settings_digest
from anykube.plan.bootstrap import fresh_host
from anykube.plan.model import Plan
from anykube.spec.catalog import component_of, release
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SYSTEM = SystemFacts(
    hostname="node",
    os="debian",
    os_version="12",
    arch="amd64",
    kernel="6.1.0",
    machine_id="",
    boot_id="boot",
    systemd=252,
    container=True,
    cgroup=1,
    capabilities=0x1FFFEFFFFFF,
    cpus=2,
    memory=24000,
    swap=0,
    clock=NOW.timestamp(),
    mtu=1500,
    disk_free={"/": 50000},
    addresses=(),
)


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class World:
    """One cluster's world. `now` may be moved; `serial` makes every issued certificate another one."""

    cluster: Cluster
    record: Record = Record("demo", "lineage", epoch=1)
    now: datetime = NOW
    lock: ArtifactLock | None = None
    stored: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)
    machines: dict[str, MachineFacts] = field(default_factory=dict)
    hosts: dict[str, HostFacts] = field(default_factory=dict)
    secrets: dict[str, SecretFacts] = field(default_factory=dict)
    objects: dict[str, ObjectFacts] = field(default_factory=dict)
    serial: int = 0
    sealed: SealedFacts = SealedFacts()

    def blueprint(self) -> Blueprint:
        return Blueprint(
            machines={
                node.name: MachineBlueprint(f"10.81.0.{number}")
                for number, node in enumerate(nodes(self.cluster), start=11)
            },
            parts={"rootfs": {"id": "r"}, "software": {"id": self.lock.digest if self.lock else "pending"}},
            baked=needed(self.cluster),
        )

    def facts(self) -> Facts:
        return Facts(
            now=self.now,
            lock=self.lock,
            stored=frozenset(self.stored),
            site=SiteFacts(dict(self.parts), dict(self.machines)),
            hosts={name: host for name, host in self.hosts.items() if self._runs(name)},
            secrets=dict(self.secrets),
            kubernetes=self._kubernetes(),
            fresh=SYSTEM,
            sealed=replace(self.sealed, current=self._sealable() == self.sealed.credentials),
        )

    def plan(self, previous: Cluster | None = None) -> Plan:
        return plan(self.cluster, self.facts(), self.record, self.blueprint(), previous)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.FetchArtifacts():
                self._fetch(effect)
            case effects.GenerateSecrets(requests):
                for request in requests:
                    self._generate(request)
            case effects.IssueCertificates(certificates):
                for certificate in certificates:
                    self._issue(certificate)
            case effects.EnsureSite(part, settings):
                self.parts[part] = settings_digest(settings)
            case effects.CreateMachine(name, address, settings):
                self._create(name, address, settings_digest(settings))
            case effects.StartMachine(name):
                self.machines[name] = replace(self.machines[name], state=MachineState.RUNNING)
            case effects.DeleteMachine(name):
                self.machines.pop(name, None)
                self.hosts.pop(name, None)
            case effects.PutFiles(node, files) | effects.PlaceFiles(node, files):
                self._put(node, files)
            case effects.RemovePaths(node, paths):
                host = self.hosts[node]
                kept = {path: file for path, file in host.files.items() if path not in paths}
                ledger = replace(host.ledger, paths=host.ledger.paths - set(paths))
                self.hosts[node] = replace(host, files=kept, ledger=ledger)
            case effects.SetUnit(node, unit, state):
                self._set_unit(node, unit, state)
            case effects.ApplyObjects(objects):
                for thing in objects:
                    self.objects[reference(thing)] = ObjectFacts(present=True)
            case effects.DeleteObjects(references):
                for name in references:
                    self.objects.pop(name, None)
            case effects.ForgetNode(node):
                gone = f"nodes/{node}/"
                self.secrets = {name: s for name, s in self.secrets.items() if not name.startswith(gone)}
            case effects.SealState():
                self.serial += 1
                self.sealed = SealedFacts(digest("sealed", self.serial), credentials=self._sealable())
            case effects.PlaceState(node):
                self._put(node, sealed_files(self.sealed))
            case effects.WaitFor() | effects.DrainNode() | effects.UncordonNode():
                pass
            case effects.StageFiles() | effects.KeepFiles() | effects.ForgetKept() | effects.SaveSnapshot():
                pass
            case _:
                raise AssertionError(f"the world does not know {effect}")

    def _sealable(self) -> str:
        """What the state of this machine comes down to; here it stands for the key for S3, too."""
        return digest("state", sorted(self.secrets), self.lock, self.cluster)

    def _runs(self, name: str) -> bool:
        return name in self.machines and self.machines[name].state is MachineState.RUNNING

    def _create(self, name: str, address: str, settings: str) -> None:
        self.machines[name] = MachineFacts(name, MachineState.RUNNING, address, settings)
        if name not in self.hosts:
            fresh = fresh_host(name, self.facts(), self.blueprint().baked)
            assert fresh
            self.hosts[name] = fresh

    def _fetch(self, effect: effects.FetchArtifacts) -> None:
        items = {
            name: LockedArtifact(
                name,
                "1",
                effect.arch,
                "image" if name.startswith("image-") else "binary",
                "gomod",
                digest("artifact", name, release(effect.kubernetes).version_of(component_of(name))),
                1,
                "x/y:1" if name.startswith("image-") else None,
            )
            for name in effect.names
        }
        self.lock = ArtifactLock(effect.kubernetes, effect.arch, items)
        self.stored = {item.sha256 for item in items.values()}

    def _generate(self, request: SecretRequest) -> None:
        assert request.secret not in self.secrets, f"{request.secret} was made again"
        parts = {part: digest(request.secret, part) for part in ("key", "public", "bundle", "value")}
        self.secrets[request.secret] = SecretFacts(request.secret, parts, keys=(parts["key"],))

    def _issue(self, request: CertificateRequest) -> None:
        assert not (request.is_authority and request.secret in self.secrets), (
            f"{request.secret} was made again"
        )
        self.serial += 1
        parts = {part: digest(request.secret, part, self.serial) for part in ("certificate", "key", "bundle")}
        issuer = self.secrets[request.authority].certificate if request.authority else None
        certificate = CertificateFacts(
            common_name=request.common_name,
            organizations=request.organizations,
            dns_names=request.dns_names,
            addresses=request.addresses,
            server=request.server,
            client=request.client,
            authority=request.is_authority,
            not_before=self.now,
            not_after=self.now + timedelta(days=request.days),
            issuer=issuer.fingerprint if issuer else "",
            fingerprint=parts["certificate"],
        )
        keys = (certificate.fingerprint,) if request.is_authority else ()
        self.secrets[request.secret] = SecretFacts(request.secret, parts, certificate, keys)

    def _put(self, node: str, files: tuple[File, ...]) -> None:
        host = self.hosts[node]
        placed = dict(host.files)
        for file in files:
            sha256 = expected_sha256(file, self.secrets, self.lock)
            assert sha256, f"{file.path} is put before its content exists"
            placed[file.path] = FileFacts(sha256, file.mode, file.owner)
        ledger = LedgerFacts(
            self.record.lineage,
            self.record.epoch,
            host.ledger.paths | {file.path for file in files},
            host.ledger.units,
        )
        self.hosts[node] = replace(host, files=placed, ledger=ledger)

    def _set_unit(self, node: str, unit: str, state: str) -> None:
        host = self.hosts[node]
        units = dict(host.units)
        if state == "absent":
            units.pop(unit, None)
            ledger = replace(host.ledger, units=host.ledger.units - {unit})
        elif state == "stopped":
            units[unit] = replace(units[unit], active="inactive")
            ledger = host.ledger
        else:
            inputs = {path: file.sha256 for path, file in host.files.items()}
            assert f"/etc/systemd/system/{unit}" in inputs, f"{unit} is started before its unit file is there"
            units[unit] = UnitFacts("loaded", "active", True, False, inputs)
            ledger = replace(host.ledger, units=host.ledger.units | {unit})
        self.hosts[node] = replace(host, units=units, ledger=ledger)

    def _pool(self, name: str) -> str:
        return "some" if f"Node//{name}" in self.objects else ""

    def _kubelet_runs(self, name: str) -> bool:
        host = self.hosts.get(name)
        return isinstance(host, HostFacts) and host.units.get("kubelet.service", UnitFacts()).running

    def _kubernetes(self) -> KubernetesFacts:
        serving = [
            name
            for name, host in self.hosts.items()
            if self._runs(name)
            and isinstance(host, HostFacts)
            and host.units.get("kube-apiserver.service", UnitFacts()).running
        ]
        if not serving:
            return KubernetesFacts()
        registered = {
            name: NodeFacts(name, True, "v1.36.3", False, pool=self._pool(name))
            for name in self.hosts
            if self._kubelet_runs(name)
        } | {
            name: NodeFacts(name, False, "v1.36.3", False, pool="some")
            for name in (thing.removeprefix("Node//") for thing in self.objects if thing.startswith("Node//"))
            if not self._kubelet_runs(name)
        }
        workloads = {
            name: WorkloadFacts(1, 1)
            for name in self.objects
            if name.startswith(("Deployment/", "DaemonSet/"))
        }
        inventory = {name: "core" for name in self.objects if not name.startswith("Node/")}
        return KubernetesFacts(True, "v1.36.3", registered, dict(self.objects), workloads, inventory)
