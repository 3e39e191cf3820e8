"""How a node leaves a cluster: in RETIRE those that are not in the object, in REPLACE those to be made anew,
in REMOVE one whose machine is given back (reset).

Pods first, then its servers, its etcd member, its Node, the machine, and last what is kept here of it. Nodes
with an etcd member or an API server go one after another, others at once. Each step may find its work done:
a run that was killed anywhere is finished by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from anykube.content.haproxy import KEEPALIVED_SERVICE
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Etcd, Member
from anykube.facts.host import HostFacts, Unreachable, WrongHostKey, etcd_of
from anykube.facts.kubernetes import NodeFacts
from anykube.facts.machines import MachineFacts, MachineState
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.cleaning import going, held_by_others
from anykube.plan.effects import (
    CleanNode,
    DeleteMachine,
    DeleteObjects,
    DrainNode,
    Effect,
    ForgetNode,
    RemoveMember,
    SetUnit,
)
from anykube.plan.electorate import Electorate, electorate, expected
from anykube.plan.forecast import forecast
from anykube.plan.membership import names_of
from anykube.plan.model import Change, Obstacle, Phase, PhasePlan, Step
from anykube.plan.order import checked
from anykube.spec.nodes import Node

DRAIN_SECONDS = 300.0
"""For a drain, unless the user says otherwise."""
API_SERVER = "kube-apiserver.service"
STOPPED = (
    KEEPALIVED_SERVICE,
    "kube-scheduler.service",
    "kube-controller-manager.service",
    API_SERVER,
    "kubelet.service",
)
"""Stopped before a node goes, in this order: an API server then takes itself out of the `kubernetes` Service,
a virtual address moves at once, and no kubelet registers the Node again."""
SECRETS = "nodes/"
REASONS = {
    Phase.RETIRE: "not in the object any more",
    Phase.REPLACE: "to be made anew",
    Phase.REMOVE: "its machine is given back",
}


@dataclass(frozen=True, slots=True)
class Leaver:
    """Everything that is known of a node that leaves. `kept`: secrets and addresses of it are here."""

    name: str
    machine: MachineFacts | None
    host: HostFacts | Unreachable | None
    node: NodeFacts | None
    member: Member | None
    kept: bool
    ours: bool
    """Whether the host answers and is not another cluster's."""

    @property
    def server(self) -> bool:
        """Whether an API server runs there."""
        return API_SERVER in self.running

    @property
    def running(self) -> tuple[str, ...]:
        """The units to stop first, of those that run."""
        return _running(self.host) if self.ours else ()

    @property
    def off(self) -> bool:
        """Whether its machine is known not to run, so that its pods cannot end in an orderly way."""
        return self.machine is None or self.machine.state is not MachineState.RUNNING


def _running(host: HostFacts | Unreachable | None) -> tuple[str, ...]:
    """The units that are stopped before a node goes, of those that run there."""
    if not isinstance(host, HostFacts):
        return ()
    return tuple(unit for unit in STOPPED if unit in host.units and host.units[unit].running)


def surplus(facts: Facts, record: Record, blueprint: Blueprint) -> tuple[str, ...]:
    """Nodes of this cluster that are not wanted: known by their machine, Node, or what is kept here."""
    nodes = (name for name, node in facts.kubernetes.nodes.items() if node.pool)
    known = {*facts.site.machines, *record.addresses, *record.departing, *_with_secrets(facts), *nodes}
    return tuple(sorted(known - blueprint.machines.keys()))


def plan_leave(
    phase: Phase,
    names: Sequence[str],
    wanted: Sequence[Node],
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    *,
    provisional: bool = False,
    seconds: float = DRAIN_SECONDS,
) -> PhasePlan:
    """The steps by which these nodes leave, what stands in the way of some, and what is not done."""
    etcd = etcd_of(facts.hosts)
    staying = tuple(node for node in wanted if node.name not in names)
    members = _members(etcd, facts, record, blueprint)
    leavers = [_leaver(name, facts, record, members, blueprint) for name in names]
    voters = electorate(etcd, {member.id: name for name, member in members.items()})
    if provisional:
        voters = expected(voters, [node.name for node in staying if node.etcd], names)
    planner = _Planner(phase, staying, etcd, voters, facts, blueprint, seconds, provisional)
    steps = checked(planner.steps(leavers))
    obstacles = tuple(planner.obstacles)
    return PhasePlan(phase, steps, provisional, obstacles, tuple(planner.notes))


class _Planner:
    """The nodes of one phase, in their order."""

    def __init__(
        self,
        phase: Phase,
        staying: Sequence[Node],
        etcd: Etcd,
        voters: Electorate,
        facts: Facts,
        blueprint: Blueprint,
        seconds: float,
        provisional: bool,
    ) -> None:
        self._phase = phase
        self._reason = REASONS[phase]
        self._etcd = etcd
        self._voters = voters
        self._facts = facts
        self._blueprint = blueprint
        self._seconds = seconds
        self._through = tuple(node.name for node in staying if node.etcd)
        self._api_stays = provisional or any(
            node.control_plane and API_SERVER in _running(facts.hosts.get(node.name)) for node in staying
        )
        self.obstacles: list[Obstacle] = []
        self.notes: list[str] = []

    def steps(self, leavers: Iterable[Leaver]) -> Iterator[Step]:
        """All steps. What does not follow a leader goes first, the leader last: fewest changes of leaders."""
        before: tuple[str, ...] = ()
        for leaver in sorted(leavers, key=self._rank):
            if refusal := self._refusal(leaver):
                self.obstacles.append(refusal)
                continue
            heavy = leaver.member is not None or leaver.server
            own = list(self._node(leaver, before if heavy else ()))
            yield from own
            if heavy and own:
                before = (own[-1].id,)
            if leaver.member is not None and not leaver.member.learner:
                self._voters = self._voters.without(leaver.name)

    def _rank(self, leaver: Leaver) -> tuple[bool, bool, str]:
        member = leaver.member
        healthy = member is not None and member.id in self._etcd.healthy
        return healthy, member is not None and member.id == self._etcd.leader, leaver.name

    def _refusal(self, leaver: Leaver) -> Obstacle | None:
        why, remedy = self._etcd_refusal(leaver) if leaver.member else ("", "")
        if not why and not self._deletes and leaver.ours and (held := held_by_others(leaver.host)):
            return held
        if not why and leaver.server and not self._api_stays and self._phase is not Phase.REPLACE:
            why, remedy = "no other API server runs", "bring up the control planes of the object first"
        return Obstacle(leaver.name, f"cannot leave: {why}", remedy) if why else None

    def _etcd_refusal(self, leaver: Leaver) -> tuple[str, str]:
        why = self._voters.refusal(leaver.name)
        if not self._voters.without(leaver.name).voters:
            return why, "give the role etcd to more machines in the object and apply, before this one goes"
        if not self._voters.quorate:
            return why, "start machines with the role etcd until there is a quorum, or: anykube recover NODE"
        return why, "start or replace the nodes that are not healthy, one at a time"

    def _node(self, leaver: Leaver, before: tuple[str, ...]) -> Iterator[Step]:
        needs = before
        made = (
            self._drain(leaver),
            self._stop(leaver),
            self._member(leaver),
            self._object(leaver),
            self._machine(leaver),
            self._forget(leaver),
        )
        for name, reason, changes, effects, disruption in (part for part in made if part):
            step = Step(
                id=f"{leaver.name}/{name}",
                phase=self._phase,
                target=leaver.name,
                title=name.replace("-", " "),
                reason=reason,
                changes=changes if effects else (),
                effects=effects,
                needs=needs,
                disruption=disruption if effects else "",
            )
            yield step
            needs = (step.id,)

    def _drain(self, leaver: Leaver) -> _Part:
        node = leaver.node
        if node is None:
            return _skipped("drain", "has no Node")
        if not self._api_stays:
            return _skipped("drain", "no API server but its own runs, and that one goes")
        if not node.ready or leaver.off:
            return _skipped("drain", "does not run: its pods are made again when its Node is gone")
        kubernetes = self._facts.kubernetes
        lines = forecast(kubernetes.pods_on.get(leaver.name, ()), kubernetes.budgets, self._seconds)
        change = Change("drain", "node", leaver.name, self._reason)
        effect = DrainNode(leaver.name, self._seconds)
        return "drain", self._reason, (change, *lines), (effect,), "its pods end and are made again elsewhere"

    def _stop(self, leaver: Leaver) -> _Part:
        units = leaver.running
        if not units:
            return _skipped("stop", "nothing to stop there")
        changes = tuple(Change("stop", "unit", unit, self._reason) for unit in units)
        effects = tuple(SetUnit(leaver.name, unit, "stopped") for unit in units)
        disruption = "this API server goes; the others go on" if leaver.server else ""
        return "stop", self._reason, changes, effects, disruption

    def _member(self, leaver: Leaver) -> _Part:
        member = leaver.member
        if member is None:
            return _skipped("etcd-member", "has no member of etcd")
        kind = "etcd learner" if member.learner else "etcd member"
        change = Change("leave", kind, leaver.name, f"then {self._voters.without(leaver.name).shown}")
        effect = RemoveMember(leaver.name, member.id, self._through)
        leads = member.id == self._etcd.leader
        return (
            "etcd-member",
            self._reason,
            (change,),
            (effect,),
            "etcd's leader changes, writes wait for a moment" if leads else "",
        )

    def _object(self, leaver: Leaver) -> _Part:
        if leaver.node is None:
            return _skipped("node", "has no Node")
        if not self._api_stays:
            return _skipped("node", "its Node stays for the machine that is made anew")
        change = Change("delete", "object", f"Node//{leaver.name}", self._reason)
        return "node", self._reason, (change,), (DeleteObjects((f"Node//{leaver.name}",)),), ""

    @property
    def _deletes(self) -> bool:
        """Whether machines go, and not only what is on them."""
        return self._blueprint.creates and self._phase is not Phase.REMOVE

    def _machine(self, leaver: Leaver) -> _Part:
        if self._deletes:
            if leaver.machine is None:
                return _skipped("delete-machine", "there is no machine")
            change = Change("delete", "machine", leaver.name, self._reason)
            return "delete-machine", self._reason, (change,), (DeleteMachine(leaver.name),), ""
        if leaver.machine is None:
            return _skipped("clean", "how to reach its machine is not known")
        if isinstance(leaver.host, HostFacts):
            if not leaver.ours or leaver.host.ledger.empty:
                return _skipped("clean", "nothing of this cluster is there")
            return "clean", self._reason, going(leaver.host), (CleanNode(leaver.name),), ""
        self.notes.append(_not_cleaned(leaver))
        return _skipped("clean", "cannot be reached")

    def _forget(self, leaver: Leaver) -> _Part:
        if not leaver.kept:
            return _skipped("forget", "nothing is kept of it here")
        change = Change("delete", "record", leaver.name, "its certificates and keys, here")
        return "forget", self._reason, (change,), (ForgetNode(leaver.name),), ""


_Part = tuple[str, str, tuple[Change, ...], tuple[Effect, ...], str]
"""Name of a step, its reason, changes, effects, disruption."""


def _skipped(name: str, reason: str) -> _Part:
    return name, reason, (), (), ""


def _not_cleaned(leaver: Leaver) -> str:
    wrong = isinstance(leaver.host, WrongHostKey)
    why = "its host key is another one" if wrong else "it does not answer"
    return f"nothing was cleaned on {leaver.name}: {why}; wipe it before it is used for anything else"


def _leaver(
    name: str, facts: Facts, record: Record, members: Mapping[str, Member], blueprint: Blueprint
) -> Leaver:
    host = facts.hosts.get(name)
    # One that stays in the object keeps its address.
    noted = name not in blueprint.machines and (name in record.addresses or name in record.departing)
    return Leaver(
        name=name,
        machine=facts.site.machines.get(name),
        host=host,
        node=facts.kubernetes.nodes.get(name),
        member=members.get(name),
        kept=noted or name in _with_secrets(facts),
        ours=isinstance(host, HostFacts) and host.ledger.lineage in ("", record.lineage),
    )


def _members(etcd: Etcd, facts: Facts, record: Record, blueprint: Blueprint) -> dict[str, Member]:
    """Members by the name of their node, also of machines that are not wanted any more."""
    exists = {name: machine.address for name, machine in facts.site.machines.items()}
    named = names_of(etcd, {**blueprint.addresses, **record.addresses, **exists})
    return {named[member.id]: member for member in etcd.members}


def _with_secrets(facts: Facts) -> frozenset[str]:
    """Nodes that secrets here were made for."""
    return frozenset(name.split("/")[1] for name in facts.secrets if name.startswith(SECRETS))
