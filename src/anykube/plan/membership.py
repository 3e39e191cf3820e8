"""Which members of etcd join, go, or move, in which order, and which changes are refused: decided here. Pure.

plan/assemble.py asks first; plan/rolling.py then puts the decision into the steps of the nodes. A node that
leaves with its machine is plan/leave.py's; here are those that come, those that are dead, and those that stay
and give up the role. The rules:

- etcd is born with all its members at once; whoever comes later joins as a learner, one after another.
- What is dead or never started goes before anything joins. What is healthy goes after its successors serve.
- Without a quorum nothing changes. A member whose data is gone is made anew by name only (`anykube replace`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from anykube.content.etcd import peer_url
from anykube.facts.etcd import Etcd, Member, quorum
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.electorate import Electorate, electorate
from anykube.plan.model import Obstacle
from anykube.spec.nodes import Node

START_ALL = "start every machine with the role etcd, or take it out of the object"
RECOVER = "start machines with the role etcd until there is a quorum, or: anykube recover NODE"


@dataclass(frozen=True, slots=True)
class Membership:
    """The decision. Nodes are in the order in which their members change.

    dead: members that go first, by name.  joining: nodes whose member is added (None), or whose
    joining goes on.
    moving: nodes that have another address.  yielding: nodes that stay and give up the role.
    through: nodes to ask for changes: their members are healthy and stay.
    """

    etcd: Etcd = Etcd({})
    birth: bool = False
    voters: Electorate = Electorate({})
    dead: Mapping[str, Member] = field(default_factory=dict)
    joining: Mapping[str, Member | None] = field(default_factory=dict)
    moving: Mapping[str, Member] = field(default_factory=dict)
    yielding: Mapping[str, Member] = field(default_factory=dict)
    through: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class Electors:
    """What the decision is made from.

    hosts: every wanted machine; one on which nothing may be done now is Unreachable.
    asleep: machines that are off and will be started before.  born: whether etcd of this cluster ever served,
    as the record has it.
    """

    wanted: Sequence[Node]
    addresses: Mapping[str, str]
    hosts: Mapping[str, HostFacts | Unreachable]
    etcd: Etcd
    asleep: Collection[str] = ()
    born: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that should have a member."""
        return tuple(node.name for node in self.wanted if node.etcd)

    def host(self, name: str) -> HostFacts | None:
        """A machine on which something can be done, None for any other."""
        found = self.hosts.get(name)
        return found if isinstance(found, HostFacts) else None


def decide(electors: Electors) -> Membership:
    """The decision for one run. A node with an obstacle is left alone altogether."""
    etcd = electors.etcd
    if not etcd.exists:
        return _without_members(electors)
    named = names_of(etcd, electors.addresses)
    members = {named[member.id]: member for member in etcd.members}
    voters = electorate(etcd, named)
    obstacles = [*_strangers(electors), *_stale(electors, members)]
    blocked = {obstacle.target for obstacle in obstacles}
    joining = {
        name: members.get(name)
        for name in electors.nodes
        if name not in blocked and _joins(electors, members, name)
    }
    moving = {name: member for name, member in _moving(electors, members) if name not in blocked}
    dead = dict(_dead(electors, members))
    yielding = dict(_yielding(electors, members))
    if (joining or dead or yielding) and not etcd.quorate:
        return Membership(etcd, obstacles=(*obstacles, *_no_quorum((*joining, *yielding, *dead), voters)))
    refusal, left = _after(voters, dead)
    if refusal:
        return Membership(etcd, voters=voters, obstacles=(*obstacles, *refusal))
    if waiting := list(_ill(electors, left, members)):
        obstacles += [_waits(name, waiting) for name in joining]
        joining = {}
    through = tuple(
        name for name, view in etcd.views.items() if view.healthy and not view.learner and name not in dead
    )
    staying = sorted(through, key=lambda name: (name not in electors.nodes, name))
    return Membership(etcd, False, voters, dead, joining, moving, yielding, tuple(staying), tuple(obstacles))


def names_of(etcd: Etcd, addresses: Mapping[str, str]) -> dict[int, str]:
    """The node of each member: the one that answers for it, else by its address, else by its name."""
    own = {view.member_id: name for name, view in etcd.views.items()}
    by_url = {peer_url(address): name for name, address in addresses.items()}
    found: dict[int, str] = {}
    for member in etcd.members:
        at = next((by_url[url] for url in member.peer_urls if url in by_url), "")
        found[member.id] = own.get(member.id) or at or member.name or f"member {member.id:x}"
    return found


def _without_members(electors: Electors) -> Membership:
    """No member answers: etcd is to be born, or it is down, or its data is gone."""
    hosts = {name: electors.host(name) for name in electors.nodes}
    known = {name: host for name, host in hosts.items() if host}
    lived = electors.born or any(host.etcd_born for host in known.values())
    missing = [name for name, host in hosts.items() if host is None and name not in electors.asleep]
    empty = [name for name, host in known.items() if not host.etcd_data]
    if not lived and not missing:
        return Membership(birth=True)
    if not lived:
        names = ", ".join(missing)
        return Membership(
            obstacles=tuple(
                Obstacle(
                    name,
                    f"cannot begin etcd: all its members begin at once, and {names} does not answer",
                    START_ALL,
                )
                for name in empty
            )
        )
    if len(empty) == len(hosts):
        brief = "has lost its etcd data, and so has every other: a new etcd would be an empty cluster"
        remedy = "anykube recover NODE --snapshot FILE; or for an empty cluster destroy, then apply"
        return Membership(obstacles=tuple(Obstacle(name, brief, remedy) for name in empty))
    brief = "cannot join etcd: no member answers yet"
    return Membership(
        obstacles=tuple(Obstacle(name, brief, "when the others serve: anykube apply") for name in empty)
    )


def _strangers(electors: Electors) -> Iterator[Obstacle]:
    for name in electors.etcd.strangers:
        if name in electors.nodes:
            brief = "has an etcd that is a cluster of its own, apart from that of the other nodes"
            yield Obstacle(name, brief, f"look at it first; then anykube replace {name}")


def _stale(electors: Electors, members: Mapping[str, Member]) -> Iterator[Obstacle]:
    """A member that served and whose data is gone must not vote again on what it has forgotten."""
    for name in electors.nodes:
        host, member = electors.host(name), members.get(name)
        if host and member and member.started and not host.etcd_data and host.etcd is None:
            brief = "is listed as an etcd member, and the data of that member is gone"
            remedy = f"anykube replace {name}" if electors.etcd.quorate else RECOVER
            yield Obstacle(name, brief, remedy)


def _joins(electors: Electors, members: Mapping[str, Member], name: str) -> bool:
    """Whether a member must be added, or what an earlier run began is to be finished."""
    member = members.get(name)
    if electors.host(name) is None:
        return False
    return member is None or member.learner or not member.started


def _moving(electors: Electors, members: Mapping[str, Member]) -> Iterator[tuple[str, Member]]:
    for name in electors.nodes:
        member = members.get(name)
        if electors.host(name) is None or member is None or member.learner or not member.started:
            continue
        if peer_url(electors.addresses[name]) not in member.peer_urls:
            yield name, member


def _dead(electors: Electors, members: Mapping[str, Member]) -> Iterator[tuple[str, Member]]:
    """Members that do not answer and will not: not wanted any more, or never started on what is not there.

    And learners on machines that leave: etcd has one learner at a time, and those that join wait for it.
    """
    answering = {view.member_id for view in electors.etcd.views.values()}
    staying = {node.name for node in electors.wanted}
    for name, member in members.items():
        if member.learner and name not in staying:
            yield name, member
            continue
        if member.id in answering or name in electors.asleep:
            continue
        wanted = name in electors.nodes
        never = wanted and not member.started and electors.host(name) is None
        unwanted = not wanted and (name not in staying or electors.host(name) is None)
        if never or unwanted:
            yield name, member


def _yielding(electors: Electors, members: Mapping[str, Member]) -> Iterator[tuple[str, Member]]:
    for node in electors.wanted:
        if not node.etcd and node.name in members and electors.host(node.name):
            yield node.name, members[node.name]


def _after(voters: Electorate, dead: Mapping[str, Member]) -> tuple[list[Obstacle], Electorate]:
    """The voters once the dead have gone, or why one of them may not."""
    for name, member in dead.items():
        if member.learner:
            continue
        if why := voters.refusal(name):
            return [Obstacle(name, f"cannot leave etcd: {why}", RECOVER)], voters
        voters = voters.without(name)
    return [], voters


def _ill(electors: Electors, voters: Electorate, members: Mapping[str, Member]) -> Iterator[str]:
    """Voters that do not follow a leader and are not started by this run."""
    for name, well in voters.voters.items():
        host = electors.host(name)
        started = host is not None and host.etcd_data and name in electors.nodes
        joins = name in members and not members[name].started
        if not well and not started and not joins and name not in electors.asleep:
            yield name


def _waits(name: str, ill: Sequence[str]) -> Obstacle:
    brief = f"cannot join etcd before all its members are healthy, and {', '.join(ill)} is not"
    return Obstacle(name, brief, f"start {ill[0]}, or: anykube replace {ill[0]}")


def _no_quorum(names: Collection[str], voters: Electorate) -> Iterator[Obstacle]:
    count = len(voters.voters)
    healthy = f"{voters.healthy} of {count} voters are healthy, {quorum(count)} are needed"
    brief = f"has to wait, etcd has lost its quorum: {healthy}"
    for name in names:
        yield Obstacle(name, brief, RECOVER)
