"""Puts the order of a living cluster into the steps of its nodes: one member, one server at a time. Pure.

plan/bootstrap.py makes the steps of each node as if it were alone, plan/membership.py decides which members
change. Here both become one order:

  dead members go > members that run restart, one by one > members join, one by one
  > API servers that run restart, one by one > nodes that stay give up the role etcd, one by one

What only starts does so at once on all nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.etcd import NAME as ETCD
from anykube.content.etcd import SERVICE as ETCD_SERVICE
from anykube.content.etcd import peer_url
from anykube.facts.etcd import margin
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.effects import (
    AddMember,
    Effect,
    MoveMember,
    PromoteMember,
    PutFiles,
    RemoveMember,
    SetAsideEtcd,
    SetUnit,
    WaitFor,
)
from anykube.plan.electorate import Electorate
from anykube.plan.membership import Membership
from anykube.plan.model import CLUSTER, Change, Obstacle, Phase, Step
from anykube.plan.road import ROLL
from anykube.spec.endpoint import API_PORT, url
from anykube.spec.nodes import Node

PROMOTE_SECONDS = 600.0
"""A learner first gets a copy of all data: 8 GiB over a line of 20 MB/s takes seven minutes."""
READY_SECONDS = 120.0
"""For an API server that was restarted; the next one waits for it."""
ALONE = 2
"""Up to so many voters each restart stops writes for a moment; with more one may be missing."""

Hosts = Mapping[str, HostFacts | Unreachable]


def in_order(
    steps: Sequence[Step],
    membership: Membership,
    wanted: Sequence[Node],
    hosts: Hosts,
    addresses: Mapping[str, str],
) -> tuple[tuple[Step, ...], tuple[Obstacle, ...]]:
    """The steps of all nodes and those of members that go, with the needs that keep a quorum and an API.

    And the nodes whose etcd may not be restarted now, because too few others are healthy.
    """
    order = _Order(steps, membership, wanted, hosts, addresses)
    order.remove_dead()
    order.restart_members()
    order.join_members()
    order.let_roll()
    order.restart_servers()
    order.yield_members()
    return tuple(order.steps.values()), tuple(order.obstacles)


class _Order:
    """The steps so far, and what the next change of a member has to wait for."""

    def __init__(
        self,
        steps: Sequence[Step],
        membership: Membership,
        wanted: Sequence[Node],
        hosts: Hosts,
        addresses: Mapping[str, str],
    ) -> None:
        self.steps = {step.id: step for step in steps}
        self._membership = membership
        self._wanted = wanted
        self._hosts = hosts
        self._addresses = addresses
        self._voters = membership.voters
        self._before: tuple[str, ...] = ()
        self.obstacles: list[Obstacle] = []

    def remove_dead(self) -> None:
        """One step each, apart from any node: theirs are not there."""
        for name, member in self._membership.dead.items():
            if not member.learner:
                self._voters = self._voters.without(name)
            reason = "does not answer and is not wanted" if member.started else "never started"
            change = Change("leave", "etcd member", name, f"{reason}; then {self._voters.shown}")
            step = Step(
                f"{CLUSTER}/etcd-without-{name}",
                Phase.BOOTSTRAP,
                CLUSTER,
                f"etcd without {name}",
                reason,
                (change,),
                (RemoveMember(name, member.id, self._others(name)),),
                self._before,
            )
            self.steps[step.id] = step
            self._before = (step.id,)

    def restart_members(self) -> None:
        """Members that run and must restart or move; the leader last, so that it changes once."""
        leader = self._membership.etcd.leader
        views = self._membership.etcd.views
        names = [node.name for node in self._wanted if node.etcd and self._restarts(node.name, ETCD)]
        if names:
            self._before += self._starting_members()
        for name in sorted(names, key=lambda name: (name in views and views[name].member_id == leader, name)):
            step = self._chained(self.steps[f"{name}/{ETCD}"])
            if refusal := self._restart_refusal(name):
                self.obstacles.append(refusal)
            if member := self._membership.moving.get(name):
                step = self._moved(step, name, member.id)
            self.steps[step.id] = step

    def join_members(self) -> None:
        """Learners first; each is promoted before the next is added."""
        for name in self._membership.joining:
            if (step := self.steps.get(f"{name}/{ETCD}")) is None:
                continue
            self._voters = Electorate({**self._voters.voters, name: True})
            self.steps[step.id] = self._joined(self._chained(step), name)

    def let_roll(self) -> None:
        """Nodes that change as a whole (plan/road.py) do so when all members are there."""
        for step in [step for step in self.steps.values() if step.id.endswith(ROLL)]:
            self.steps[step.id] = replace(step, needs=_unique(step.needs, self._before))
            stops = any(
                isinstance(effect, SetUnit) and effect.unit == ETCD_SERVICE for effect in step.effects
            )
            if stops and (refusal := self._restart_refusal(step.target)):
                self.obstacles.append(refusal)

    def restart_servers(self) -> None:
        """API servers that run and must restart. Those without a member of their own follow all joins."""
        joins = tuple(f"{name}/{ETCD}" for name in self._membership.joining)
        births = tuple(f"{node.name}/{ETCD}" for node in self._wanted if node.etcd)
        before: tuple[str, ...] = ()
        for node in self._wanted:
            step = self.steps.get(f"{node.name}/{API_SERVER}")
            if step is None:
                continue
            if not node.etcd:
                known = tuple(name for name in births if name in self.steps)
                step = replace(step, needs=_unique(step.needs, joins), needs_any=known)
            if self._restarts(node.name, API_SERVER) and self._several_servers:
                ready = WaitFor("server-ready", url(self._addresses[node.name], API_PORT), READY_SECONDS)
                step = replace(step, needs=_unique(step.needs, before), effects=(*step.effects, ready))
                before = (step.id,)
            self.steps[step.id] = step

    def yield_members(self) -> None:
        """Members of nodes that stay, once every API server has other members to speak to."""
        servers = tuple(id_ for node in self._wanted if (id_ := f"{node.name}/{API_SERVER}") in self.steps)
        rolls = (name for name in self.steps if name.endswith(ROLL))
        before = (*self._before, *servers, *rolls)
        for name, member in self._membership.yielding.items():
            if not member.learner:
                self._voters = self._voters.without(name)
            change = Change("leave", "etcd member", name, f"gives up the role; then {self._voters.shown}")
            through = tuple(node.name for node in self._wanted if node.etcd)
            effects = (RemoveMember(name, member.id, through), SetAsideEtcd(name))
            step = Step(
                f"{name}/etcd-leave",
                Phase.BOOTSTRAP,
                name,
                "etcd leave",
                "the object gives the role etcd to other machines",
                (change,),
                effects,
                before,
            )
            self.steps[step.id] = step
            before = (step.id,)
            leftovers = self.steps[f"{name}/leftovers"]
            self.steps[leftovers.id] = replace(leftovers, needs=(*leftovers.needs, step.id))

    def _starting_members(self) -> tuple[str, ...]:
        """Steps that start members which are down: they must serve before one that runs may restart. One that
        runs without a leader, as too many others are down, is no such."""
        down = [name for name in self._down if not self._restarts(name, ETCD)]
        return tuple(f"{name}/{ETCD}" for name in down if f"{name}/{ETCD}" in self.steps)

    @property
    def _down(self) -> list[str]:
        """Nodes with a voter that is down and that this run starts."""
        hosts = {name: self._hosts.get(name) for name, well in self._voters.voters.items() if not well}
        return [name for name, host in hosts.items() if isinstance(host, HostFacts) and host.etcd_data]

    def _restart_refusal(self, name: str) -> Obstacle | None:
        voters = self._voters.voters
        well = {voter for voter, healthy in voters.items() if healthy} | set(self._down)
        if len(voters) <= ALONE or name not in well or margin(len(voters), len(well)) > 0:
            return None
        ill = ", ".join(sorted(voters.keys() - well))
        brief = f"cannot restart its etcd: there would be no quorum without it, {ill} does not answer"
        return Obstacle(name, brief, f"start {ill}, or: anykube replace {ill.split(', ')[0]}")

    @property
    def _several_servers(self) -> bool:
        return sum(node.control_plane for node in self._wanted) > 1

    def _restarts(self, name: str, component: str) -> bool:
        """Whether a unit that runs now is restarted, or its member told of a new address."""
        step, host = self.steps.get(f"{name}/{component}"), self._hosts.get(name)
        if step is None or not isinstance(host, HostFacts):
            return False
        unit = host.units.get(f"{component}.service")
        restarts = any(change.action == "restart" for change in step.changes)
        moves = component == ETCD and name in self._membership.moving
        return moves or (restarts and unit is not None and unit.running)

    def _chained(self, step: Step) -> Step:
        chained = replace(step, needs=_unique(step.needs, self._before))
        self._before = (step.id,)
        return chained

    def _others(self, name: str) -> tuple[str, ...]:
        """Who is asked: not the one that it is about, if there are others."""
        through = self._membership.through
        return tuple(other for other in through if other != name) or through

    def _moved(self, step: Step, name: str, member_id: int) -> Step:
        """The others learn the new address before it serves there. Alone it must serve first."""
        address = peer_url(self._addresses[name])
        change = Change("move", "etcd member", name, f"its address is now {address}")
        others = tuple(other for other in self._membership.through if other != name)
        move = MoveMember(name, member_id, address, others or (name,))
        first = len(self._voters.voters) > ALONE
        effects = (move, *step.effects) if first else (*step.effects, move)
        return replace(step, changes=(change, *step.changes), effects=effects)

    def _joined(self, step: Step, name: str) -> Step:
        """Files, then the learner, then its first start, then its vote."""
        host = self._hosts[name]
        runs = isinstance(host, HostFacts) and host.etcd is not None
        change = Change("join", "etcd member", name, f"as a learner, then {self._voters.shown}")
        effects: list[Effect] = [effect for effect in step.effects if isinstance(effect, PutFiles)]
        address, through = peer_url(self._addresses[name]), self._others(name)
        if not runs:
            effects += self._first_start(name, address, through)
        effects.append(PromoteMember(name, address, through, PROMOTE_SECONDS))
        return replace(step, changes=(*step.changes, change), effects=tuple(effects), reason=change.reason)

    def _first_start(self, name: str, address: str, through: tuple[str, ...]) -> Iterator[Effect]:
        host, member = self._hosts[name], self._membership.joining[name]
        if isinstance(host, HostFacts) and member is None and (host.etcd_data or host.etcd_born):
            yield SetAsideEtcd(name)
        if member is not None and member.started:
            yield SetUnit(name, ETCD_SERVICE, "started")
            return
        yield AddMember(name, address, through)
        yield SetUnit(name, ETCD_SERVICE, "restarted")


def _unique(*groups: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))
