"""Looks at this machine and at a cluster's nodes and says what is in the way: `anykube doctor` as a call.

    for check in await checkup(cluster):
        print(check.target, check.name, check.verdict, check.seen, check.remedy)

Wiring only: facts are read in observe/, judged in facts/checks.py and facts/node_checks.py. Changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from anykube.content.node import managed_programs, programs
from anykube.errors import AnykubeError
from anykube.facts.checks import HERE, Check, Verdict, machine_checks
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.machines import MachineState
from anykube.facts.node_checks import (
    Reach,
    node_checks,
    parse_reach,
    reach_checks,
    reach_script,
    wanted_ports,
)
from anykube.observe.hosts import probe_hosts
from anykube.observe.machine import local_facts
from anykube.observe.networks import routes
from anykube.plan.blueprint import Blueprint
from anykube.plan.contexts import contexts
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node, nodes
from anykube.state.clusters import clusters
from anykube.transports.base import Transport

REACH_SECONDS = 20


async def checkup(cluster: Cluster | None = None, *, folders: Folders | None = None) -> tuple[Check, ...]:
    """All checks: of this machine, and of the nodes that a cluster has now."""
    where = folders or Folders()
    lxc = None if cluster is None else cluster.spec.machines.provider.kind == "lxc"
    facts = await local_facts(where.state, where.cache, clusters(where.state))
    found = machine_checks(facts, lxc=lxc)
    if cluster is None:
        return found
    try:
        return (*found, *await _nodes(cluster, where))
    except AnykubeError as error:
        return (*found, Check("nodes", "answers", Verdict.PROBLEM, error.brief, error.remedy or ""))


async def _nodes(cluster: Cluster, folders: Folders) -> tuple[Check, ...]:
    async with Session(cluster, folders) as session:
        session.draw([route.network for route in routes()])
        site = await session.provider.observe()
        if not site.machines:
            return (Check("nodes", "answers", Verdict.OK, f"{cluster.name} has no nodes yet"),)
        running = [
            node
            for node in nodes(cluster)
            if (machine := site.machines.get(node.name)) and machine.state is MachineState.RUNNING
        ]
        stopped = tuple(
            Check(node.name, "answers", Verdict.PROBLEM, "does not run", "anykube apply")
            for node in nodes(cluster)
            if node not in running
        )
        transports = {node.name: session.transport(node.name) for node in running}
        return (*stopped, *await _look(cluster, running, transports, session.blueprint, session.addresses()))


async def _look(
    cluster: Cluster,
    running: list[Node],
    transports: Mapping[str, Transport],
    blueprint: Blueprint,
    addresses: Mapping[str, str],
) -> tuple[Check, ...]:
    """Two round trips per node: the probe, then attempts to connect to the others."""
    before = time.time()
    hosts = await probe_hosts(transports, [], [], managed_programs())
    after = time.time()
    others = {node.name: Unreachable(node.name, "does not run") for node in nodes(cluster)}
    needed = {
        context.node.name: programs(context)
        for context in contexts(cluster, addresses, blueprint, {**others, **hosts})
    }
    checks = node_checks(hosts, (before, after), needed)
    answering = [node for node in running if isinstance(hosts[node.name], HostFacts)]
    wanted = {node.name: wanted_ports(node, answering, addresses) for node in answering}
    tried = await asyncio.gather(
        *(_reach(transports[name], name, targets) for name, targets in wanted.items() if targets)
    )
    names = {addresses[node.name]: node.name for node in answering}
    flannel = cluster.spec.network.cni.flannel
    vxlan = flannel is not None and flannel.backend == "vxlan"
    found = [reach for reaches in tried for reach in reaches]
    return (*checks, *reach_checks(wanted, found, names, vxlan=vxlan))


async def _reach(transport: Transport, source: str, targets: list[tuple[str, int]]) -> tuple[Reach, ...]:
    try:
        result = await transport.run(reach_script(targets), seconds=REACH_SECONDS)
    except AnykubeError:
        return ()
    return parse_reach(source, result.stdout)


__all__ = ["HERE", "Check", "Verdict", "checkup"]
