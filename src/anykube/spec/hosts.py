"""Rules for machines that exist already: names, addresses, host keys. Pure; called by `validate.py`."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address

from anykube.spec import patterns
from anykube.spec.model import Machine, Machines
from anykube.spec.problem import Finding, Path, nearest, shown

KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
LEAST_FIELDS = 2
"""Of a public key: its type, then numbers."""

_DNS_NAME = re.compile(patterns.DOMAIN.removeprefix("^").removesuffix("$"))


def check(path: Path, existing: Machines) -> Iterator[Finding]:
    """Every listed host; `path` is that of the list."""
    names: dict[str, int] = {}
    places: dict[tuple[str, int], str] = {}
    for index, host in enumerate(existing.hosts):
        yield from _address((*path, index, "address"), host)
        yield from _host_key((*path, index, "hostKey"), host)
        if host.name in names:
            message = f"hosts[{index}]: hosts[{names[host.name]}] has the name '{host.name}' too"
            yield Finding((*path, index, "name"), "SPEC-022", message, "hosts need names of their own")
        names.setdefault(host.name, index)
        other = places.setdefault((host.address.lower(), host.port), host.name)
        if other != host.name:
            message = f"host '{host.name}' has the address of '{other}', {host.address}:{host.port}"
            yield Finding((*path, index, "address"), "SPEC-029", message, "one machine is one host")


def _address(path: Path, host: Machine) -> Iterator[Finding]:
    if ":" in host.address:
        message = f"host '{host.name}': {shown(host.address)} is not an IPv4 address or a DNS name"
        yield Finding(
            path, "SPEC-030", message, "IPv6 is not supported yet; the port has a key of its own, port"
        )
        return
    try:
        address = IPv4Address(host.address)
    except AddressValueError:
        if not _is_dns_name(host.address):
            message = f"host '{host.name}': {shown(host.address)} is not an IPv4 address or a DNS name"
            yield Finding(path, "SPEC-030", message)
        return
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
        message = f"host '{host.name}': {address} cannot be the address of a node"
        yield Finding(path, "SPEC-030", message, "other nodes must reach it there")


def _is_dns_name(text: str) -> bool:
    """A name of letters: one that ends in digits alone is an address gone wrong."""
    labels = text.lower().split(".")
    return bool(
        _DNS_NAME.fullmatch(text.lower())
        and all(len(label) <= 63 for label in labels)
        and not labels[-1].isdigit()
        and labels[-1] != "localhost"
    )


def _host_key(path: Path, host: Machine) -> Iterator[Finding]:
    """The type must be one that SSH servers have, and the text must hold a key of that type."""
    kind, text = host.host_key.split(" ")[:2]
    if kind not in KEY_TYPES:
        message = f"host '{host.name}': {shown(kind)} is not a type of host key"
        yield Finding(path, "SPEC-030", message, nearest(kind, KEY_TYPES))
        return
    try:
        blob = b64decode(text, validate=True)
    except binascii.Error:
        blob = b""
    fields = _fields(blob)
    if len(fields) < LEAST_FIELDS or fields[0] != kind.encode():
        message = f"host '{host.name}': the host key is damaged or cut off"
        yield Finding(
            path, "SPEC-030", message, "take it from: ssh-keyscan, or /etc/ssh/ssh_host_ed25519_key.pub"
        )


def _fields(blob: bytes) -> list[bytes]:
    """The fields of a key (RFC 4253: a length in four bytes before each); none unless they fit exactly."""
    fields: list[bytes] = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < max(end, 4):
            return []
        fields.append(blob[4:end])
        blob = blob[end:]
    return fields
