"""Every certificate of a cluster, judged: what `anykube certs` shows, from what was seen and is kept. Pure.

Seen by observe/certificates.py in three places: kept on this machine, in files on nodes, and on the wire,
where it shows whether a process has taken over what was renewed (kubernetes/kubernetes#103575).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from anykube.content.etcd import CLIENT_PORT, PEER_PORT
from anykube.content.node import certificate_paths
from anykube.facts.certificates import Sighting, Where
from anykube.facts.secrets import CertificateFacts
from anykube.plan.rules import CLOCK_REFUSED
from anykube.spec.endpoint import API_PORT, LOOPBACK, ApiEndpoint
from anykube.spec.model import EndpointKind
from anykube.spec.nodes import Node

KUBELET_PORT = 10250
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259


class State(StrEnum):
    """What is to be thought of a certificate, the worst last."""

    OK = "ok"
    STRANGER = "not of anykube"
    DUE = "due"
    UNSEEN = "not seen"
    MISSING = "missing"
    DIFFERS = "not the one that is kept"
    OLDER = "an older one is served"
    EARLY = "not valid yet"
    ENDED = "ended"


REQUEST = "anykube certs requests"
FINE = frozenset({State.OK, State.STRANGER})


@dataclass(frozen=True, slots=True)
class Port:
    """Where a process shows a certificate. `secrets`: it should be that of one of these; none: it makes its
    own at each start."""

    node: str
    process: str
    address: str
    port: int
    secrets: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """As it is shown."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port} {self.process}"


@dataclass(frozen=True, slots=True)
class Row:
    """One certificate at one place. `certificate` is None when none was seen; `note` says what to do."""

    node: str
    where: Where
    place: str
    state: State
    certificate: CertificateFacts | None = None
    note: str = ""

    def days(self, now: datetime) -> int | None:
        """Whole days until it ends, below zero once it has."""
        return (self.certificate.not_after - now).days if self.certificate else None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All rows, and what a person should know besides."""

    now: datetime
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether every certificate was seen, is the one it should be, and is not due."""
        return all(row.state in FINE for row in self.rows)

    def calendar(self) -> Mapping[str, tuple[Row, ...]]:
        """What is kept, by the month ('2027-11') in which it ends."""
        kept = [row for row in self.rows if row.where is Where.KEPT and row.certificate]
        months: dict[str, list[Row]] = {}
        for row in sorted(kept, key=lambda row: row.certificate.not_after if row.certificate else self.now):
            assert row.certificate  # noqa: S101  filtered above
            months.setdefault(f"{row.certificate.not_after:%Y-%m}", []).append(row)
        return {month: tuple(rows) for month, rows in months.items()}


def ports(wanted: Sequence[Node], addresses: Mapping[str, str], endpoint: ApiEndpoint) -> Iterator[Port]:
    """Every place where a process of a node shows a certificate."""
    servers = tuple(f"nodes/{name}/apiserver" for name, _ in endpoint.servers)
    carriers = {name for name, _ in endpoint.balancers}
    for node in (node for node in wanted if node.name in addresses):
        name, address = node.name, addresses[node.name]
        if node.etcd:
            yield Port(name, "etcd", address, CLIENT_PORT, (f"nodes/{name}/etcd-server",))
            yield Port(name, "etcd peer", address, PEER_PORT, (f"nodes/{name}/etcd-peer",))
        if node.control_plane:
            yield Port(name, "kube-apiserver", address, API_PORT, (f"nodes/{name}/apiserver",))
            yield Port(name, "kube-controller-manager", LOOPBACK, CONTROLLER_MANAGER_PORT)
            yield Port(name, "kube-scheduler", LOOPBACK, SCHEDULER_PORT)
        elif node.kubelet and endpoint.kind is EndpointKind.NODE_LOCAL:
            yield Port(name, "haproxy", LOOPBACK, API_PORT, servers)
        if node.kubelet:
            yield Port(name, "kubelet", address, KUBELET_PORT, (f"nodes/{name}/kubelet-server",))
        if name in carriers:
            yield Port(name, "haproxy", endpoint.host, endpoint.port, servers)


def inventory(
    now: datetime,
    kept: Mapping[str, CertificateFacts],
    seen: Sequence[Sighting],
    asked: Sequence[Port],
    clocks: Mapping[str, float],
    *,
    external: bool = False,
) -> Inventory:
    """All that is kept and all that was seen. `asked`: the ports that were; `clocks`: by how many seconds a
    node's clock differs from ours; `external`: whether somebody else signs."""
    by_place = {(port.node, port.place): port for port in asked}
    rows = [_kept(name, certificate, kept, now) for name, certificate in kept.items()]
    for sighting in seen:
        if sighting.certificate is None:
            rows.append(
                Row(sighting.node, sighting.where, sighting.place, State.UNSEEN, note=sighting.trouble)
            )
        elif sighting.where is Where.PORT:
            port = by_place[sighting.node, sighting.place]
            rows.append(_served(port, sighting.certificate, kept, now))
        else:
            rows.append(_file(sighting, sighting.certificate, kept, now))
    rows += _missing(kept, seen)
    if external:
        rows = [replace(row, note=REQUEST) if row.state in (State.DUE, State.ENDED) else row for row in rows]
    return Inventory(now, tuple(rows), tuple(_notes(kept, clocks, now)))


def _kept(name: str, found: CertificateFacts, kept: Mapping[str, CertificateFacts], now: datetime) -> Row:
    state, note = _by_date(found, kept, now)
    return Row("", Where.KEPT, name, state, found, note)


def _by_date(
    found: CertificateFacts, kept: Mapping[str, CertificateFacts], now: datetime
) -> tuple[State, str]:
    if now >= found.not_after:
        return State.ENDED, "anykube certs rotate-ca" if found.authority else "anykube certs renew"
    if now < found.not_before:
        return State.EARLY, f"valid from {found.not_before:%Y-%m-%d %H:%M} UTC; look at this machine's clock"
    if now < found.due:
        return State.OK, ""
    if found.authority:
        return State.DUE, "what it issues cannot outlive it: anykube certs rotate-ca"
    if any(one.fingerprint == found.issuer and one.not_after <= found.not_after for one in kept.values()):
        return State.OK, "ends with its CA"
    return State.DUE, "anykube apply"


def _file(
    sighting: Sighting, found: CertificateFacts, kept: Mapping[str, CertificateFacts], now: datetime
) -> Row:
    """A file that has a place among ours must hold what is kept; of others only their end counts."""
    state, note = _by_date(found, kept, now)
    secret = certificate_paths(sighting.node).get(sighting.place, "")
    if secret in kept:
        authorities = {one.fingerprint for one in kept.values() if one.authority}
        # While a CA is rotated a file holds two of them.
        if found.fingerprint not in {kept[secret].fingerprint, *(authorities if found.authority else ())}:
            state, note = State.DIFFERS, f"differs from {secret}: anykube apply"
    elif not _ours(found, kept):
        days = (found.not_after - now).days
        state, note = State.STRANGER, f"ended {-days} days ago" if days < 0 else ""
    return Row(sighting.node, sighting.where, sighting.place, state, found, note)


def _ours(found: CertificateFacts, kept: Mapping[str, CertificateFacts]) -> bool:
    return found.fingerprint in {one.fingerprint for one in kept.values()} or bool(found.issuer)


def _served(port: Port, found: CertificateFacts, kept: Mapping[str, CertificateFacts], now: datetime) -> Row:
    state, note = _by_date(found, kept, now)
    expected = {kept[name].fingerprint for name in port.secrets if name in kept}
    if not port.secrets:
        note = note and f"{port.process} makes a new one when it restarts"
    elif found.fingerprint not in expected:
        older = _ours(found, kept)
        state = State.OLDER if older else State.DIFFERS
        note = f"anykube certs renew {port.node}" if older else f"who answers at {port.place}?"
    return Row(port.node, Where.PORT, port.place, state, found, note)


def _missing(kept: Mapping[str, CertificateFacts], seen: Sequence[Sighting]) -> Iterator[Row]:
    """Certificates of nodes that answered, and have no such file."""
    for node in dict.fromkeys(sighting.node for sighting in seen if sighting.where is Where.FILE):
        places = {sighting.place for sighting in seen if sighting.node == node}
        if "" in places:
            continue  # its files could not be listed
        for path, secret in certificate_paths(node).items():
            if secret in kept and secret.startswith("nodes/") and path not in places:
                yield Row(node, Where.FILE, path, State.MISSING, None, "anykube apply")


def _notes(kept: Mapping[str, CertificateFacts], clocks: Mapping[str, float], now: datetime) -> Iterable[str]:
    for node, skew in clocks.items():
        if abs(skew) > CLOCK_REFUSED:
            there = now.timestamp() + skew
            invalid = sum(
                not one.not_before.timestamp() <= there < one.not_after.timestamp() for one in kept.values()
            )
            yield (
                f"the clock of {node} differs by {skew:+.0f} s: by it {invalid} of {len(kept)} certificates "
                f"are not valid; anykube exec {node} -- timedatectl set-ntp true"
            )
