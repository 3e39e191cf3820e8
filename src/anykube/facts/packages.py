"""Programs that nodes need from their distribution: which are missing, and how to get them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from anykube.facts.host import HostFacts

PACKAGES = {"nft": "nftables"}
"""Where a package has another name than its program, in Debian and in Fedora alike."""
APT = frozenset({"debian", "ubuntu"})
DNF = frozenset({"fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn"})


def missing(host: HostFacts, programs: Iterable[str]) -> tuple[str, ...]:
    """The packages of those programs that the host has not, sorted."""
    absent = set(programs) - host.tools
    return tuple(sorted(PACKAGES.get(program, program) for program in absent))


def install_command(host: HostFacts, packages: Iterable[str]) -> str:
    """What to run so that the host has these packages."""
    names = " ".join(packages)
    if host.system.os in APT:
        return f"anykube exec {host.name} -- apt-get install -y {names}"
    if host.system.os in DNF:
        return f"anykube exec {host.name} -- dnf install -y {names}"
    return f"install on {host.name}: {names}"
