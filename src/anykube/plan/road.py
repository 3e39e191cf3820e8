"""The road that every restart on living nodes takes: node by node, and each can go back. Pure.

plan/bootstrap.py makes the steps of each node as if it were alone. Where several nodes would restart
something, or the version changes, all that is pending on a node becomes one step here:

  all nodes at once: new software beside the old, verified; what will be replaced is kept
  > control planes, members of etcd and load balancers one by one, etcd's leader last
  > workers in lanes, as many at once as may be missing

A step ends when its node is well. One that fails returns its node to what it ran before (Step.undo), and all
that comes after does not begin. Why the order keeps the version skew policy is in docs/decisions/0016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from anykube.content.etcd import NAME as ETCD
from anykube.facts.host import HostFacts
from anykube.plan.bootstrap import API_READY, FOLLOWERS
from anykube.plan.certificates import STEP as CERTIFICATES
from anykube.plan.effects import SetUnit
from anykube.plan.endpoint import ENDPOINT
from anykube.plan.model import Obstacle, Step
from anykube.plan.roll import BACK, ROLL, Roll, Traffic, minor_of_etcd_changes
from anykube.spec.model import Role
from anykube.spec.nodes import Node

__all__ = ["ROLL", "Traffic", "lanes", "on_the_road"]

ROLLING = frozenset(BACK)
"""Components whose restart a node's users may notice."""


def on_the_road(
    steps: Sequence[Step], traffic: Traffic, before: Sequence[str] = ()
) -> tuple[tuple[Step, ...], tuple[Obstacle, ...]]:
    """The steps, with those of nodes that roll made into one for each node, in their order.

    `before`: steps that come before any of them. And the workers that have to wait for the next run.
    """
    rolling = [node for node in traffic.wanted if _rolls(node, steps, traffic)]
    if len(rolling) < 2 and not (rolling and traffic.upgrade):
        return tuple(steps), ()
    return _Road(steps, traffic, rolling, before).built()


def lanes(given: str, workers: int) -> int:
    """How many workers may be missing at once: '2', or a part of all such as '20%'; at least one."""
    number = int(given.removesuffix("%"))
    return max(1, workers * number // 100 if given.endswith("%") else number)


def _rolls(node: Node, steps: Sequence[Step], traffic: Traffic) -> bool:
    """Whether a node that works restarts something; in an upgrade, whether anything of it is pending."""
    host = traffic.host(node.name)
    if host is None or not host.ledger.units or node.name in traffic.fixed:
        return False
    own = [step for step in steps if _component(step, node.name) and not step.skipped]
    if traffic.upgrade:
        return bool(own)
    return any(
        isinstance(effect, SetUnit)
        and effect.state == "restarted"
        and step.title in ROLLING
        and effect.unit in host.units
        and host.units[effect.unit].running
        for step in own
        for effect in step.effects
    )


def _component(step: Step, name: str) -> bool:
    return step.target == name and step.id != f"{name}/leftovers"


class _Road:
    """The steps of one plan, on their way to become the road."""

    def __init__(
        self, steps: Sequence[Step], traffic: Traffic, rolling: Sequence[Node], before: Sequence[str]
    ) -> None:
        self._steps = steps
        self._traffic = traffic
        self._before = tuple(before)
        rolls = {node.name: roll for node in rolling if (roll := _roll(node, steps, traffic))}
        self._servers = [rolls[node.name] for node in _in_turn(rolling, traffic) if _serves(node)]
        self._workers = [rolls[node.name] for node in _in_turn(rolling, traffic) if not _serves(node)]
        if traffic.upgrade and minor_of_etcd_changes(traffic.upgrade):
            self._keep_last_member()
        self._merged = {step.id: roll.id for roll in rolls.values() for step in roll.pending}
        self._rolling = rolls.keys()

    def _keep_last_member(self) -> None:
        """Once the last member runs the new version, so do all, and etcd begins to use it."""
        members = [index for index, roll in enumerate(self._servers) if roll.node.etcd and roll.has(ETCD)]
        if members:
            self._servers[members[-1]] = replace(self._servers[members[-1]], keeps_etcd=True)

    def built(self) -> tuple[tuple[Step, ...], tuple[Obstacle, ...]]:
        """All steps, and the obstacles."""
        stages = tuple(roll.stage() for roll in (*self._servers, *self._workers))
        staged = (*self._before, *(step.id for step in stages))
        steps: list[Step] = []
        chain = staged
        for roll in self._servers:
            steps.append(roll.step((*self._outside(roll), *chain)))
            chain = (*staged, roll.id)
        workers = [node for node in self._traffic.wanted if node.kubelet and not _serves(node)]
        width = lanes(self._traffic.cluster.spec.upgrade.max_unavailable, len(workers))
        for lane in range(width):
            ahead = chain
            for roll in self._workers[lane::width]:
                steps.append(roll.step((*self._outside(roll), *ahead)))
                ahead = (*chain, roll.id)
        others = tuple(self._redirected(step) for step in self._steps if step.id not in self._merged)
        return (*others, *stages, *steps), tuple(self._waiting())

    def _outside(self, roll: Roll) -> Iterator[str]:
        """What a node waits for that is no other node. What depends on servers, servers do not wait for."""
        known = {CERTIFICATES} if _serves(roll.node) else {CERTIFICATES, API_READY, ENDPOINT}
        yield from (need for step in roll.pending for need in step.needs if need in known)

    def _redirected(self, step: Step) -> Step:
        """A step of somebody else, with needs on the steps that have become one."""
        needs = self._mapped(step.needs)
        newcomer = step.target not in self._rolling and step.title in FOLLOWERS and not step.skipped
        if self._traffic.upgrade and newcomer:
            # A kubelet that comes now is of the new version: no API server it may meet is older.
            needs = (*needs, *(roll.id for roll in self._servers))
        return replace(step, needs=tuple(dict.fromkeys(needs)), needs_any=self._mapped(step.needs_any))

    def _mapped(self, needs: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._merged.get(need, need) for need in needs))

    def _waiting(self) -> Iterator[Obstacle]:
        """In an upgrade no worker goes ahead of an API server that cannot be seen."""
        silent = [
            node.name
            for node in self._traffic.wanted
            if node.control_plane and self._traffic.host(node.name) is None
        ]
        if self._traffic.upgrade and silent:
            names = ", ".join(silent)
            for roll in self._workers:
                brief = f"waits for the upgrade of {names}: a kubelet may not be newer than any API server"
                yield Obstacle(roll.node.name, brief, f"mend {names}, or: anykube replace {silent[0]}")


def _roll(node: Node, steps: Sequence[Step], traffic: Traffic) -> Roll | None:
    host = traffic.host(node.name)
    own = tuple(step for step in steps if _component(step, node.name) and not step.skipped)
    return Roll(node, host, own, traffic) if isinstance(host, HostFacts) else None


def _in_turn(nodes: Sequence[Node], traffic: Traffic) -> list[Node]:
    """The chosen one first, then those that are not well: to mend them costs nobody anything. Machines that
    have etcd alone before API servers, as these may need the newer; who leads etcd comes last."""
    known = traffic.kubernetes.nodes

    def ill(node: Node) -> bool:
        host = traffic.host(node.name)
        units = (
            [unit for name, unit in host.units.items() if name.removesuffix(".service") in ROLLING]
            if host
            else []
        )
        silent = (
            node.kubelet and traffic.kubernetes.ready and not (node.name in known and known[node.name].ready)
        )
        return silent or not all(unit.running for unit in units if unit.load != "not-found")

    return sorted(
        nodes,
        key=lambda node: (
            node.name != traffic.first,
            not ill(node),
            node.control_plane,
            node.name == traffic.leader,
        ),
    )


def _serves(node: Node) -> bool:
    """Whether others depend on it: such nodes go one by one, before all others."""
    return node.control_plane or node.etcd or Role.LOAD_BALANCER in node.roles
