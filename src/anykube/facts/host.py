"""What one host looks like: made by `probe.parse`, asked by the planner. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anykube.facts.backup import NodeBackups
from anykube.facts.etcd import Etcd, View, consensus

CAP_SYS_RESOURCE = 24


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A regular file on a host. `sha256` is hex; `mode` is octal digits such as '600'."""

    sha256: str
    mode: str
    owner: str


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A systemd unit. `inputs` maps each input file to its sha256 at the time the process started.

    The process records them itself (ExecStartPre, see content/unit.py), so that a file that changed
    after the start, by whomever and whenever, is known to need a restart.
    """

    load: str = "not-found"
    active: str = "inactive"
    enabled: bool = False
    needs_reload: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether the unit does its job now."""
        return self.active == "active"


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """The machine itself. Sizes in MiB; `clock` is seconds since the epoch when the probe ran there."""

    hostname: str
    os: str
    os_version: str
    arch: str
    kernel: str
    machine_id: str
    boot_id: str
    systemd: int
    container: bool
    cgroup: int
    capabilities: int
    cpus: int
    memory: int
    swap: int
    clock: float
    mtu: int
    disk_free: Mapping[str, int]
    addresses: tuple[str, ...]
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """Address and the name of the interface that has it."""

    def capable(self, capability: int) -> bool:
        """Whether processes on this host can have a capability (its kernel number)."""
        return bool(self.capabilities >> capability & 1)

    @property
    def constrained(self) -> bool:
        """Whether oom scores cannot be lowered here (no CAP_SYS_RESOURCE), so that runc would fail."""
        return not self.capable(CAP_SYS_RESOURCE)


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What anykube noted on the host: whose it is, the newest run it saw, every path put there, and its lines
    of the other kinds (facts/ledger.py). others: containers of somebody else in our containerd."""

    lineage: str = ""
    epoch: int = 0
    paths: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    traces: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether anykube has never been there, or has left nothing."""
        return not (self.lineage or self.paths or self.units or self.traces)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything that one probe of one host answered.

    etcd: what its running etcd says, None if none answers.  etcd_data: whether a member's data is there.
    etcd_born: whether a member ever served there (content/etcd.py, BORN).  tools: programs on its path.
    backups: those that it makes by itself.
    """

    name: str
    system: SystemFacts
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    units: Mapping[str, UnitFacts] = field(default_factory=dict)
    ledger: LedgerFacts = LedgerFacts()
    etcd: View | None = None
    etcd_data: bool = False
    etcd_born: bool = False
    tools: frozenset[str] = frozenset()
    backups: NodeBackups = NodeBackups()


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A host that should answer and does not. `remedy` is '' if the reason says nothing about what helps."""

    name: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class WrongHostKey(Unreachable):
    """What answers does not hold the pinned key: another machine, or a new one. Nothing is sent to it."""


def etcd_of(hosts: Mapping[str, HostFacts | Unreachable]) -> Etcd:
    """etcd as all those hosts see it that answer and run a member."""
    views = ((name, host.etcd) for name, host in hosts.items() if isinstance(host, HostFacts))
    return consensus({name: view for name, view in views if view})
