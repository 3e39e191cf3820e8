"""Bridge, subnet and addresses of a cluster. Pure: what the record holds is kept, new choices collide
with nothing that is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError, ip_network
from pathlib import PurePath

from anykube.errors import ProviderError
from anykube.spec.nodes import Node

CANDIDATES = tuple(IPv4Network(f"10.{second}.{third}.0/24") for second in (81, 82, 83) for third in range(64))
INTERFACE_NAME_LIMIT = 15
"""The kernel's IFNAMSIZ without its terminating zero."""
FIRST_CONTROL_PLANE, FIRST_WORKER, FIRST_ETCD, FIRST_BALANCER = 11, 21, 201, 221
"""Where each role's addresses begin, so that an address tells its role in small clusters."""


def bridge_name(cluster: str) -> str:
    """'ak-<cluster>', shortened by a digest where the kernel's limit asks for it."""
    name = f"ak-{cluster}"
    if len(name) <= INTERFACE_NAME_LIMIT:
        return name
    return f"ak-{cluster[:5]}-{_digest(cluster)[:6]}"


def interface_name(folder: PurePath) -> str:
    """The host's end of a node's cable, named after the node's folder: short, stable and no one else's."""
    return f"akv-{_digest(str(folder))[:11]}"


def cgroup_names(folder: PurePath) -> tuple[str, str]:
    """The control groups of a node and of its LXC monitor. LXC's own names are not unique on a machine."""
    name = f"{folder.name}-{_digest(str(folder))[:8]}"
    return f"anykube.node.{name}", f"anykube.monitor.{name}"


def hardware_address(folder: PurePath) -> str:
    """A stable, locally administered MAC address: neighbours need not learn a new one after a restart."""
    digest = _digest(str(folder))
    return ":".join(["02", *(digest[index : index + 2] for index in range(0, 10, 2))])


def overlaps(subnet: str | None, occupied: Sequence[str]) -> bool:
    """Whether a subnet has addresses in common with networks that are in use."""
    return subnet is not None and any(network.overlaps(_network(subnet)) for network in _used(occupied))


def _used(occupied: Sequence[str]) -> list[IPv4Network]:
    networks = [ip_network(text, strict=False) for text in occupied]
    return [found for found in networks if isinstance(found, IPv4Network) and found.prefixlen > 0]


def choose_subnet(wanted: str | None, recorded: str | None, occupied: Sequence[str]) -> IPv4Network:
    """The node network: as recorded, else as the object says, else the first candidate that is free."""
    if recorded is not None:
        if wanted is not None and _network(wanted) != _network(recorded):
            raise ProviderError(
                f"The nodes' subnet cannot change from {recorded} to {wanted} while the cluster exists.",
                remedy=f"set subnet to {recorded} or leave it out, or destroy the cluster first",
            )
        return _network(recorded)
    used = _used(occupied)
    if wanted is not None:
        chosen = _network(wanted)
        clash = next((network for network in used if network.overlaps(chosen)), None)
        if clash is not None:
            raise ProviderError(
                f"The nodes' subnet {chosen} overlaps {clash}, which is in use.",
                remedy="choose another subnet, or leave it out and a free one is chosen",
            )
        return chosen
    for candidate in CANDIDATES:
        if not any(network.overlaps(candidate) for network in used):
            return candidate
    raise ProviderError(
        "No free network for the nodes was found.",
        evidence=[f"all of {CANDIDATES[0]} to {CANDIDATES[-1]} overlap a network in use"],
        remedy="name a free one as spec.machines.provider.lxc.subnet",
    )


def assign(
    nodes: Sequence[Node], subnet: IPv4Network, recorded: Mapping[str, str], reserved: str | None = None
) -> dict[str, str]:
    """An address for each node: the recorded one, else the first that was never given nor is reserved."""
    given = {*recorded.values(), *([reserved] if reserved else [])}
    free: dict[int, Iterator[str]] = {}
    addresses: dict[str, str] = {}
    for node in nodes:
        address = recorded.get(node.name)
        if address is None or IPv4Address(address) not in subnet:
            first = _first(node)
            candidates = free.setdefault(first, _hosts(subnet, first))
            address = next((text for text in candidates if text not in given), None)
        if address is None:
            raise ProviderError(
                f"The nodes' subnet {subnet} has no free address left.",
                remedy="take fewer nodes; a larger subnet needs a new cluster",
            )
        given.add(address)
        addresses[node.name] = address
    return addresses


def virtual_address(subnet: IPv4Network) -> IPv4Address:
    """The last address: for the API, when the object asks for a virtual address and names none."""
    return subnet[-2]


def refuse_virtual(wanted: str, subnet: IPv4Network, addresses: Mapping[str, str]) -> None:
    """ProviderError if this cannot be the virtual address: nobody would hear of it, or somebody has it."""
    own = virtual_address(subnet)
    way_out = f"leave endpoint.address out, and it is {own}, or choose another in {subnet}"
    address = IPv4Address(wanted)
    if address not in subnet:
        raise ProviderError(
            f"endpoint.address {wanted} is not in the nodes' subnet {subnet}, so none can carry it.",
            remedy=way_out,
        )
    taken = {text: f"the node {name}" for name, text in addresses.items()} | {
        str(gateway(subnet)): "this machine, as the gateway of the nodes",
        str(subnet.network_address): "the network itself",
        str(subnet.broadcast_address): "everybody, as the broadcast address",
    }
    if wanted in taken:
        raise ProviderError(f"endpoint.address {wanted} belongs to {taken[wanted]}.", remedy=way_out)


def gateway(subnet: IPv4Network) -> IPv4Address:
    """This machine's own address on the bridge."""
    return subnet[1]


def _first(node: Node) -> int:
    if node.control_plane:
        return FIRST_CONTROL_PLANE
    if node.kubelet:
        return FIRST_WORKER
    return FIRST_ETCD if node.etcd else FIRST_BALANCER


def _hosts(subnet: IPv4Network, first: int) -> Iterator[str]:
    last = subnet.num_addresses - 3  # without broadcast and the virtual address of the API
    for index in (*range(first, last + 1), *range(2, min(first, last + 1))):
        yield str(subnet[index])


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ProviderError(f"{text[:64]!r} is not an IPv4 network: {error}.") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
