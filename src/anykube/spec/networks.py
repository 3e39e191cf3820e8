"""Rules about the networks of an object: which there are, and how they fit together. Pure.

Called by `validate.py`, and by `facts/networks.py` for the same networks against this machine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from anykube.spec import addresses
from anykube.spec.addresses import NamedNetwork
from anykube.spec.model import Cluster, ClusterNetwork, Endpoint, Machines, MachineSet
from anykube.spec.problem import Finding, Path

PODS: Path = ("spec", "network", "pods")
SERVICES: Path = ("spec", "network", "services")
SUBNET: Path = ("spec", "machines", "provider", "lxc", "subnet")
HOSTS: Path = ("spec", "machines", "provider", "machines", "hosts")
ENDPOINT_ADDRESS: Path = ("spec", "endpoint", "address")


@dataclass(frozen=True, slots=True)
class Field:
    """A field that holds a network. `given`: the text has it, it is not a default."""

    name: str
    path: Path
    text: str
    given: bool


def named_networks(cluster: Cluster, subnet: str | None) -> list[NamedNetwork]:
    """The networks of a checked object; `subnet` is that of the nodes when the object leaves it open."""
    fields = _fields(cluster.spec.network, cluster.spec.machines)
    if subnet is not None and all(field.path != SUBNET for field in fields):
        fields.append(Field("the subnet of the nodes", SUBNET, subnet, given=False))
    return _sound(fields)


def check(
    network: ClusterNetwork | None, machines: MachineSet | None, endpoint: Endpoint | None, nodes: int
) -> Iterator[Finding]:
    """Each network by itself, then against the others, the listed hosts and the address of the API."""
    fields = _fields(network, machines)
    for field in fields:
        yield from addresses.form(field.path, field.name, field.text)
    named = _sound(fields)
    yield from addresses.overlaps(named)
    for part in named:
        yield from _size(part, nodes)
    if machines and machines.provider.machines:
        yield from _hosts_outside(machines.provider.machines, named)
    if endpoint and endpoint.address:
        inner = [part for part in named if part.path != SUBNET]
        yield from _outside(ENDPOINT_ADDRESS, "endpoint.address: ", endpoint.address, inner)


def _fields(network: ClusterNetwork | None, machines: MachineSet | None) -> list[Field]:
    """Defaults first: an overlap is told at the later one, which should be one that the writer chose."""
    fields: list[Field] = []
    if network:
        given = network.model_fields_set
        fields.append(Field("network.pods", PODS, network.pods, "pods" in given))
        fields.append(Field("network.services", SERVICES, network.services, "services" in given))
    lxc = machines.provider.lxc if machines else None
    if lxc and lxc.subnet is not None:
        fields.append(Field("machines.provider.lxc.subnet", SUBNET, lxc.subnet, given=True))
    return sorted(fields, key=lambda field: field.given)


def _sound(fields: Sequence[Field]) -> list[NamedNetwork]:
    """Those that are usable networks."""
    parsed = ((field, addresses.network_of(field.text)) for field in fields)
    return [
        NamedNetwork(field.name, field.path, network)
        for field, network in parsed
        if network and not any(addresses.form(field.path, field.name, field.text))
    ]


def _size(named: NamedNetwork, nodes: int) -> Iterator[Finding]:
    if named.path == PODS:
        yield from addresses.pods_size(named.path, named.network, nodes)
    elif named.path == SERVICES:
        yield from addresses.services_size(named.path, named.network)
    else:
        yield from addresses.subnet_size(named.path, named.network, nodes)


def _hosts_outside(existing: Machines, named: Sequence[NamedNetwork]) -> Iterator[Finding]:
    for index, host in enumerate(existing.hosts):
        owner = f"host '{host.name}': its address "
        yield from _outside((*HOSTS, index, "address"), owner, host.address, named)


def _outside(path: Path, owner: str, text: str, named: Sequence[NamedNetwork]) -> Iterator[Finding]:
    """An address that must be reachable from everywhere is no pod's and no Service's."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return
    around = next((part for part in named if address in part.network), None)
    if around:
        message = f"{owner}{address} is inside {around.name} {around.network}"
        yield Finding(path, "NET-014", message, "choose another network")
