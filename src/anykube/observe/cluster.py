"""All facts of a cluster in one go: local stores first, then machines, then hosts and the API at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

from anykube.addons.catalog import objects, workloads
from anykube.content.node import managed_paths, managed_programs, managed_units
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.cluster import Facts
from anykube.facts.election import electing
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.kubernetes import KubernetesFacts, NodeFacts
from anykube.facts.machines import MachineState, SiteFacts
from anykube.kube.endpoint import endpoint_trouble
from anykube.observe.at_rest import secrets_at_rest
from anykube.observe.hosts import probe_hosts
from anykube.observe.kubernetes import observe_kubernetes
from anykube.observe.removed_apis import removed_apis
from anykube.plan.blueprint import Blueprint
from anykube.plan.contexts import endpoint
from anykube.plan.distrust import trusted_by_pods
from anykube.plan.rotation import KEYS
from anykube.plan.upgrade import changes_minor
from anykube.ports import SUPER_ADMIN, Ports
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

ELECTION_SECONDS = 8.0
"""etcd elects within two of its election timeouts, which are a second each; a slow disk adds some."""
ELECTION_PAUSE = 0.5


async def observe(
    cluster: Cluster, ports: Ports, blueprint: Blueprint, replacing: frozenset[str] = frozenset()
) -> Facts:
    """A fresh snapshot: one round trip per running host, and the API if it answers.

    Nodes that leave, as they are not wanted or in `replacing`, and those that an upgrade will drain are
    looked at more closely.
    """
    lock = ports.lock_file.load()
    secrets = await asyncio.to_thread(ports.secrets.facts)
    site = await ports.provider.observe()
    hosts, kubernetes, fresh = await asyncio.gather(
        _hosts(ports, site, blueprint),
        _kubernetes(cluster, ports, site, blueprint, replacing, trusted_by_pods(secrets)),
        ports.provider.fresh(),
    )
    if electing(hosts):
        hosts = await _elected(ports, site, blueprint)
        kubernetes = await _kubernetes(cluster, ports, site, blueprint, replacing, trusted_by_pods(secrets))
    rotating = KEYS["encryption"] in ports.record.rotations
    return Facts(
        now=datetime.now(UTC),
        lock=lock,
        stored=_stored(ports, lock),
        site=site,
        hosts=hosts,
        secrets=secrets,
        kubernetes=kubernetes,
        fresh=fresh,
        sealed=await asyncio.to_thread(ports.sealed),
        at_rest=await secrets_at_rest(hosts, ports.transport) if rotating else None,
    )


def _stored(ports: Ports, lock: ArtifactLock | None) -> frozenset[str]:
    wanted = () if lock is None else lock.artifacts.values()
    return frozenset(item.sha256 for item in wanted if ports.store.has(item.sha256))


def _running(site: SiteFacts, name: str) -> bool:
    machine = site.machines.get(name)
    return machine is not None and machine.state is MachineState.RUNNING


async def _hosts(ports: Ports, site: SiteFacts, blueprint: Blueprint) -> dict[str, HostFacts | Unreachable]:
    wanted = blueprint.machines
    surplus = [name for name in site.machines if name not in wanted and name in ports.record.addresses]
    running = [name for name in (*wanted, *surplus) if _running(site, name)]
    if running and not ports.record.lineage and not ports.secrets.names() and blueprint.creates:
        # Machines of a cluster whose folder was lost: they can still be seen, and destroyed.
        return {name: Unreachable(name, "its SSH key is not here") for name in running}
    transports = {name: ports.transport(name) for name in running}
    return dict(await probe_hosts(transports, managed_paths(), managed_units(), managed_programs()))


async def _elected(ports: Ports, site: SiteFacts, blueprint: Blueprint) -> dict[str, HostFacts | Unreachable]:
    """The hosts once etcd has a leader, or as they are after some seconds without one."""
    end = time.monotonic() + ELECTION_SECONDS
    while True:
        await asyncio.sleep(ELECTION_PAUSE)
        hosts = await _hosts(ports, site, blueprint)
        if not electing(hosts) or time.monotonic() >= end:
            return hosts


async def _kubernetes(
    cluster: Cluster,
    ports: Ports,
    site: SiteFacts,
    blueprint: Blueprint,
    replacing: frozenset[str],
    trust: str,
) -> KubernetesFacts:
    wanted = nodes(cluster)
    heads = [node.name for node in wanted if node.control_plane]
    if SUPER_ADMIN not in ports.secrets.names() or not any(_running(site, name) for name in heads):
        return KubernetesFacts()
    api = endpoint(cluster, blueprint)
    things = [thing for group in objects(cluster, wanted, api, trust).values() for thing in group]
    staying = blueprint.machines.keys() - replacing

    def leaves(node: NodeFacts) -> bool:
        ours = node.pool or node.name in site.machines
        return bool(ours) and (node.name not in staying or changes_minor(node.version, version))

    version = cluster.spec.kubernetes.version
    found, trouble = await asyncio.gather(
        observe_kubernetes(ports.kube(), things, workloads(cluster), leaves), _endpoint(api, ports)
    )
    if found.ready:
        gone = await removed_apis(ports.kube(), found.version, version)
        found = replace(found, removed_apis=gone)
    return replace(found, endpoint=trouble)


async def _endpoint(api: ApiEndpoint, ports: Ports) -> str:
    """What is wrong with an address that is not a server's own."""
    if not api.shared:
        return ""
    return await endpoint_trouble(api.url, ports.secrets.part("ca/cluster", "bundle").reveal())
