"""Rules about who does what: control planes, etcd, load balancers, and the endpoint that fits them. Pure.

Called by `validate.py` once it is clear which machines there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address

from anykube.spec.endpoint import API_PORT
from anykube.spec.model import Endpoint, EndpointKind, MachineSet, Role
from anykube.spec.problem import Finding, Path, shown

POOLS: Path = ("spec", "machines", "pools")
ENDPOINT: Path = ("spec", "endpoint")
LARGEST_ETCD = 7
"""More voters make every write slower and survive hardly more (etcd FAQ)."""


def check(machines: MachineSet, endpoint: Endpoint | None, sizes: Mapping[str, int]) -> Iterator[Finding]:
    """All rules. `sizes`: machines of each pool."""
    yield from _control_planes(machines, sizes)
    yield from _etcd(machines, sizes)
    yield from _workers(machines, sizes)
    if endpoint is not None:
        yield from _endpoint(endpoint, machines, sizes)


def _having(role: Role, machines: MachineSet, sizes: Mapping[str, int]) -> int:
    return sum(sizes[pool.name] for pool in machines.pools if role in pool.roles)


def _control_planes(machines: MachineSet, sizes: Mapping[str, int]) -> Iterator[Finding]:
    if not _having(Role.CONTROL_PLANE, machines, sizes):
        message = "machines.pools: no machine has the role control-plane"
        yield Finding(POOLS, "SPEC-023", message, "one pool needs roles: [control-plane, etcd]", key=True)


def _etcd(machines: MachineSet, sizes: Mapping[str, int]) -> Iterator[Finding]:
    members = _having(Role.ETCD, machines, sizes)
    if not members:
        message = "machines.pools: no machine has the role etcd"
        hint = "give it to the control-plane pool, or add a pool with roles: [etcd]"
        yield Finding(POOLS, "SPEC-024", message, hint, key=True)
    elif members > LARGEST_ETCD:
        message = f"machines.pools: {members} etcd members, at most {LARGEST_ETCD} are allowed"
        hint = "five survive two failures; add control planes without the role etcd"
        yield Finding(POOLS, "SPEC-024", message, hint, key=True)


def _workers(machines: MachineSet, sizes: Mapping[str, int]) -> Iterator[Finding]:
    if not _having(Role.WORKER, machines, sizes):
        message = "machines.pools: no machine accepts ordinary pods"
        hint = "add a pool with roles: [worker], or the role worker to the control plane"
        yield Finding(POOLS, "SPEC-025", message, hint, key=True)


def _endpoint(endpoint: Endpoint, machines: MachineSet, sizes: Mapping[str, int]) -> Iterator[Finding]:
    kind = endpoint.kind
    planes = _having(Role.CONTROL_PLANE, machines, sizes)
    if kind is EndpointKind.SINGLE and planes > 1:
        message = f"endpoint.kind: 'single' names one control plane, and there are {planes}"
        yield Finding((*ENDPOINT, "kind"), "SPEC-031", message, "leave it out, or write kind: node-local")
    if kind in (None, EndpointKind.SINGLE, EndpointKind.NODE_LOCAL):
        for name in ("address", "port"):
            if getattr(endpoint, name) is not None:
                message = f"endpoint.{name}: only a virtual-ip or an external endpoint has one"
                hint = "write kind: virtual-ip or kind: external, or leave it out"
                yield Finding((*ENDPOINT, name), "SPEC-031", message, hint, key=True)
    if kind is EndpointKind.EXTERNAL and endpoint.address is None:
        message = "endpoint: 'external' needs the address of your load balancer"
        yield Finding((*ENDPOINT, "kind"), "SPEC-031", message, "for example address: api.example.com")
    if kind is EndpointKind.VIRTUAL_IP:
        yield from _virtual_address(endpoint, machines, sizes)
    else:
        yield from _idle_balancers(machines)


def _virtual_address(endpoint: Endpoint, machines: MachineSet, sizes: Mapping[str, int]) -> Iterator[Finding]:
    existing = machines.provider.machines
    if endpoint.address is None and existing:
        message = "endpoint: 'virtual-ip' needs an address that no machine has"
        yield Finding((*ENDPOINT, "kind"), "SPEC-031", message, "for example address: 192.168.1.10")
    if endpoint.address is not None and not _usable(endpoint.address):
        message = f"endpoint.address: {shown(endpoint.address)} cannot be a virtual address"
        yield Finding((*ENDPOINT, "address"), "SPEC-031", message, "it must be a free IPv4 address")
    owner = next((h.name for h in existing.hosts if h.address == endpoint.address), "") if existing else ""
    if owner:
        message = f"endpoint.address: {endpoint.address} is the address of host '{owner}'"
        yield Finding((*ENDPOINT, "address"), "SPEC-031", message, "a virtual address must be free")
    carriers = [pool for pool in machines.pools if Role.LOAD_BALANCER in pool.roles and sizes[pool.name]]
    beside_server = not carriers or any(Role.CONTROL_PLANE in pool.roles for pool in carriers)
    if endpoint.port == API_PORT and beside_server:
        message = f"endpoint.port: on a control plane the API server itself has {API_PORT}"
        yield Finding((*ENDPOINT, "port"), "SPEC-031", message, "leave it out, or choose another")


def _idle_balancers(machines: MachineSet) -> Iterator[Finding]:
    for index, pool in enumerate(machines.pools):
        if Role.LOAD_BALANCER in pool.roles:
            message = f"machines.pools[{index}]: the role load-balancer does nothing with this endpoint"
            hint = "write endpoint: {kind: virtual-ip}, or take the role away"
            yield Finding((*POOLS, index, "roles"), "SPEC-031", message, hint)


def _usable(address: str) -> bool:
    try:
        parsed = IPv4Address(address)
    except AddressValueError:
        return False
    return not (parsed.is_loopback or parsed.is_multicast or parsed.is_unspecified or parsed.is_reserved)
