"""The planner's world with an etcd whose members live and die. It refuses what no real etcd would survive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.unit.plan.world import World

from anykube.content.etcd import BORN, FIRST_START, SERVICE, peer_url
from anykube.content.paths import BINARIES
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Member, View, cluster_of_one, quorum
from anykube.facts.host import FileFacts, HostFacts, UnitFacts, Unreachable
from anykube.plan import effects
from anykube.plan.blueprint import Blueprint
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

CLUSTER_ID = 7
ALONE = 2


@dataclass
class EtcdWorld(World):
    """`disks` maps a node to the id of the member whose data it holds; `dead` machines answer nobody."""

    members: dict[int, Member] = field(default_factory=dict)
    disks: dict[str, int] = field(default_factory=dict)
    born: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    addresses: dict[str, str] = field(default_factory=dict)
    next_id: int = 1
    fewest: int = 99
    """The smallest margin of healthy voters that was ever seen while etcd was there."""
    cluster_id: int = CLUSTER_ID
    unpacked: dict[str, str] = field(default_factory=dict)
    """Nodes on which a snapshot is unpacked, with the token of its new cluster."""

    def edit(self, cluster: Cluster) -> None:
        """Another object."""
        self.cluster = cluster

    def blueprint(self) -> Blueprint:
        drawn = super().blueprint()
        for name in drawn.machines:
            self.addresses.setdefault(name, f"10.81.1.{len(self.addresses) + 1}")
        machines = {
            name: replace(machine, address=self.addresses[name]) for name, machine in drawn.machines.items()
        }
        return replace(drawn, machines=machines)

    def facts(self) -> Facts:
        known = super().facts()
        hosts = {
            name: Unreachable(name, "no answer") if name in self.dead else self._seen(host)
            for name, host in known.hosts.items()
        }
        return replace(known, hosts=hosts)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.AddMember(node, url, through):
                self._ask(through)
                self._add(node, url)
            case effects.PromoteMember(node, url, through):
                self._ask(through)
                member = self._at(url)
                assert member and self.running.get(node) == member.id, f"{node} is promoted and does not run"
                self.members[member.id] = replace(member, learner=False)
            case effects.RemoveMember(node, member_id, through):
                self._ask(through)
                self._remove(node, member_id)
            case effects.MoveMember(_, member_id, url, through):
                self._ask(through)
                self.members[member_id] = replace(self.members[member_id], peer_urls=(url,))
            case effects.SetAsideEtcd(node):
                assert self.running.get(node) is None, f"the data of a member that runs is moved on {node}"
                self.disks.pop(node, None)
                self.born.discard(node)
                self._stop(node)
            case effects.SetUnit(node, unit, "started" | "restarted" as state) if unit == SERVICE:
                self._start(node, state)
            case effects.HaltUnits(node, units):
                self.fewest = 99
                for unit in units:
                    super().perform(effects.SetUnit(node, unit, "stopped"))
            case effects.UnpackSnapshot(node, _, _, token):
                assert f"{BINARIES}/etcdutl" in self.hosts[node].files, f"nothing to unpack with on {node}"
                self.unpacked[node] = token
            case effects.BeginAnew(node, True):
                self._begin_anew(node)
            case effects.DeleteMachine(name):
                super().perform(effect)
                self.disks.pop(name, None)
                self.born.discard(name)
                self.dead.discard(name)
            case _:
                super().perform(effect)
        self._must_be_safe(str(effect))

    @property
    def running(self) -> dict[str, int]:
        """Nodes whose member serves, with its id."""
        return {
            name: self.disks[name]
            for name, host in self.hosts.items()
            if name in self.disks
            and self.disks[name] in self.members
            and name not in self.dead
            and self._runs(name)
            and host.units.get(SERVICE, UnitFacts()).running
        }

    @property
    def voters(self) -> set[int]:
        return {member.id for member in self.members.values() if not member.learner}

    @property
    def healthy(self) -> int:
        return len(self.voters & set(self.running.values()))

    @property
    def quorate(self) -> bool:
        return self.healthy >= quorum(len(self.voters))

    def wipe(self, name: str) -> None:
        """The machine comes back with an empty disk."""
        self.disks.pop(name, None)
        self.born.discard(name)
        fresh = self.hosts[name]
        self.hosts[name] = HostFacts(name, fresh.system, tools=fresh.tools)

    def must_be_right(self) -> None:
        """Exactly the members of the object, all of them voters that run."""
        wanted = {node.name for node in nodes(self.cluster) if node.etcd}
        assert set(self.running) == wanted
        assert self.voters == set(self.members) == set(self.running.values())

    def _seen(self, host: object) -> HostFacts:
        assert isinstance(host, HostFacts)
        files = dict(host.files)
        if host.name in self.born:
            files[BORN] = FileFacts("born", "600", "root:root")
        view = self._view(self.running[host.name]) if host.name in self.running else None
        data = host.name in self.disks
        return replace(host, files=files, etcd=view, etcd_data=data, etcd_born=host.name in self.born)

    def _view(self, member_id: int) -> View:
        leader = min(self.voters & set(self.running.values()), default=0) if self.quorate else 0
        members = tuple(self.members[key] for key in sorted(self.members))
        return View(
            self.cluster_id, member_id, leader, 2, 9, 9, members, learner=self.members[member_id].learner
        )

    def _ask(self, through: tuple[str, ...]) -> None:
        assert self.quorate, "members are changed without a quorum"
        assert set(through) & set(self.running), f"none of {through} runs a member to ask"

    def _at(self, url: str) -> Member | None:
        return next((member for member in self.members.values() if url in member.peer_urls), None)

    def _add(self, node: str, url: str) -> None:
        if self._at(url) is None:
            assert not any(member.learner for member in self.members.values()), "two learners at once"
            assert self.healthy == len(self.voters), "a member is added while another is not healthy"
            self.members[self.next_id] = Member(self.next_id, "", (url,), learner=True)
            self.next_id += 1
        self._place(node, FIRST_START, "join")

    def _place(self, node: str, path: str, sha256: str) -> None:
        host = self.hosts[node]
        ledger = replace(host.ledger, paths=host.ledger.paths | {path})
        files = {**host.files, path: FileFacts(sha256, "600", "root:root")}
        self.hosts[node] = replace(host, files=files, ledger=ledger)

    def _remove(self, node: str, member_id: int) -> None:
        if member_id not in self.members:
            return
        left = self.voters - {member_id}
        alive = left & set(self.running.values())
        assert left, "the last voter is removed"
        assert member_id not in self.voters or len(alive) >= quorum(len(left)), (
            f"{node} takes the quorum along"
        )
        del self.members[member_id]

    def _start(self, node: str, state: str) -> None:
        if state == "restarted" and node in self.running and len(self.voters) > ALONE:
            spare = self.healthy - 1 if self.running[node] in self.voters else self.healthy
            assert spare >= quorum(len(self.voters)), f"the restart of {node} stops etcd"
        super().perform(effects.SetUnit(node, SERVICE, state))
        if node in self.disks:
            if self.disks[node] not in self.members:
                self._stop(node)
            return
        assert node not in self.born, f"{node} starts again without the data that it had"
        first = self.hosts[node].files.get(FIRST_START)
        if not self.members and not self.born:
            assert first and first.sha256 != "join", f"{node} starts before there is a cluster"
            self.members = {member.id: member for member in self._founders()}
        member = self._at(peer_url(self.addresses[node]))
        assert member, f"{node} would found a second cluster"
        assert not member.client_urls, f"{node} starts as a member that has served elsewhere"
        self.members[member.id] = replace(member, name=node, client_urls=("https://x:2379",))
        self.disks[node] = member.id
        self.born.add(node)
        files = {path: file for path, file in self.hosts[node].files.items() if path != FIRST_START}
        self.hosts[node] = replace(self.hosts[node], files=files)

    def _begin_anew(self, node: str) -> None:
        """From the unpacked snapshot; nothing else of the old cluster may run then."""
        serving = [
            name
            for name, host in self.hosts.items()
            if self._runs(name) and host.units.get("kube-apiserver.service", UnitFacts()).running
        ]
        assert not serving, f"API servers run while etcd changes under them: {serving}"
        assert not set(self.running) - {node}, f"the old etcd runs on {self.running}"
        assert not set(self.disks) - {node}, f"data of the old etcd is left on {self.disks}"
        url = peer_url(self.addresses[node])
        self.cluster_id = cluster_of_one(url, self.unpacked.pop(node))
        self.members = {self.next_id: Member(self.next_id, node, (url,), ("https://x:2379",))}
        self.disks, self.born = {node: self.next_id}, {node}
        self.next_id += 1
        super().perform(effects.SetUnit(node, SERVICE, "started"))

    def _founders(self) -> Iterator[Member]:
        for node in nodes(self.cluster):
            if node.etcd:
                yield Member(self.next_id, node.name, (peer_url(self.addresses[node.name]),))
                self.next_id += 1

    def _stop(self, node: str) -> None:
        host = self.hosts[node]
        if unit := host.units.get(SERVICE):
            units = {**host.units, SERVICE: replace(unit, active="inactive")}
            self.hosts[node] = replace(host, units=units)

    def _must_be_safe(self, what: str) -> None:
        """From the first quorum on there is always one, whatever is changed."""
        if self.members and (self.fewest < 99 or self.quorate):
            margin = self.healthy - quorum(len(self.voters))
            self.fewest = min(self.fewest, margin)
            assert margin >= 0, f"no quorum after {what}"
