"""What this machine is, as far as LXC nodes depend on it. Reads small files only; changes nothing."""

from __future__ import annotations

import asyncio
import os
import platform
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from anykube.facts.host import SystemFacts
from anykube.providers.lxc import sources

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
QUERY = b"\x61\x6b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
"""A DNS question for the root's name servers: every resolver has an answer, if only a refusal."""


@dataclass(frozen=True, slots=True)
class Host:
    """This machine."""

    distribution: str
    codename: str
    release: str
    cgroup: int
    arch: str
    kernel: str
    capabilities: int
    cpus: int
    memory: int
    swap: int

    @property
    def suite(self) -> str:
        """The suite that nodes are made from here."""
        return sources.suite(self.distribution, self.codename, self.cgroup)


def inspect() -> Host:
    """Read what this machine is."""
    release = _pairs(_read("/etc/os-release"), "=")
    memory = _pairs(_read("/proc/meminfo"), ":")
    machine = platform.machine()
    return Host(
        distribution=release.get("ID", ""),
        codename=release.get("VERSION_CODENAME", ""),
        release=release.get("VERSION_ID", ""),
        cgroup=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        arch=ARCHITECTURES.get(machine, machine),
        kernel=platform.release(),
        capabilities=int(_pairs(_read("/proc/self/status"), ":").get("CapBnd", "0"), 16),
        cpus=os.cpu_count() or 1,
        memory=int(memory.get("MemTotal", "0").split()[0]) // 1024,
        swap=int(memory.get("SwapTotal", "0").split()[0]) // 1024,
    )


def apt_sources() -> tuple[sources.Stanza, ...]:
    """The apt sources of this machine."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return sources.parse((str(file), _read(file)) for file in files)


def fresh(host: Host, disk_free: int) -> SystemFacts:
    """What the probe would answer on a node made now, where it can be told from this machine."""
    suite = host.suite
    return SystemFacts(
        hostname="",
        os=host.distribution,
        os_version=sources.RELEASES.get(suite, host.release),
        arch=host.arch,
        kernel=host.kernel,
        machine_id="",
        boot_id="",
        systemd=sources.SYSTEMD.get(suite, 256),
        container=True,
        cgroup=host.cgroup,
        capabilities=host.capabilities,
        cpus=host.cpus,
        memory=host.memory,
        swap=host.swap,
        clock=0.0,
        mtu=1500,
        disk_free={"/": disk_free},
        addresses=(),
    )


async def answering_resolvers(source: str, seconds: float = 0.5) -> list[str]:
    """This machine's name servers that answer a query sent from `source`, as a node's would come."""
    servers = _resolvers()
    answers = await asyncio.gather(*(_answers(server, source, seconds) for server in servers))
    return [server for server, answered in zip(servers, answers, strict=True) if answered]


def _resolvers() -> list[str]:
    """IPv4 name servers that are not on a loopback address (those of systemd-resolved are behind it)."""
    found: list[str] = []
    for file in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        words = (line.split() for line in _read(file).splitlines())
        found += [fields[1] for fields in words if len(fields) > 1 and fields[0] == "nameserver"]
    return [server for server in dict.fromkeys(found) if _usable(server)]


def _usable(server: str) -> bool:
    try:
        address = ip_address(server)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback and not address.is_unspecified


async def _answers(server: str, source: str, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()

    class Question(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
            if not answer.done():
                answer.set_result(data[:2] == QUERY[:2])

        def error_received(self, exc: Exception) -> None:
            if not answer.done():
                answer.set_result(False)

    try:
        transport, _ = await loop.create_datagram_endpoint(
            Question, local_addr=(source, 0), remote_addr=(server, 53)
        )
    except OSError:
        return False
    try:
        transport.sendto(QUERY)
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        return False
    finally:
        transport.close()


def _pairs(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, found, value in pairs if found}


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
