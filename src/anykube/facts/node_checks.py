"""What `anykube doctor` thinks of the nodes: the probe's answers and tries to connect in, checks out. Pure.

`reach_script` is what a node runs to try ports of the others; `parse_reach` reads what it prints.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from anykube.facts.checks import Check, Verdict
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.packages import install_command, missing
from anykube.spec.nodes import Node

CLOCK_REFUSED = 60.0
CLOCK_NOTED = 5.0
"""The same as in plan/rules.py, which this room must not import; a test keeps them equal."""
DISK_NEEDED = 1024
DISK_ADVISED = 4096
SYSTEMD_WANTED = 245
API, KUBELET, ETCD, PEERS = 6443, 10250, 2379, 2380
OVERLAY_NETWORK = 8472

_LINE = re.compile(r"([A-Za-z0-9.:-]{1,253}) ([0-9]{1,5}) (open|closed|filtered|unknown)")

_REACH = r"""
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
try() {
    said=$(timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>&1)
    case $?:$said in
        0:*) state=open ;;
        127:*) state=unknown ;;
        *refused*) state=closed ;;
        *) state=filtered ;;
    esac
    echo "$1 $2 $state"
}
while [ $# -gt 1 ]; do try "$1" "$2" & shift 2; done
wait
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """One attempt to connect, as a node saw it. state: open, closed (refused), filtered, unknown."""

    source: str
    address: str
    port: int
    state: str


def reach_script(targets: Sequence[tuple[str, int]]) -> list[str]:
    """The argument list with which a node tries addresses and ports, all at once, three seconds at most."""
    return ["sh", "-c", _REACH, "anykube-reach", *(str(part) for target in targets for part in target)]


def parse_reach(source: str, text: str) -> tuple[Reach, ...]:
    """What a node printed. Lines that the script does not print are left out."""
    found = (_LINE.fullmatch(line) for line in text[:100_000].splitlines())
    return tuple(Reach(source, line[1], int(line[2]), line[3]) for line in found if line)


def wanted_ports(source: Node, nodes: Sequence[Node], addresses: Mapping[str, str]) -> list[tuple[str, int]]:
    """Where a node must be able to connect to: every node to the API, control planes to etcd and kubelets."""
    targets: list[tuple[str, int]] = []
    for node in nodes:
        if node.name == source.name:
            continue
        ports = [API] if node.control_plane else []
        if source.control_plane:
            ports += [KUBELET] if node.kubelet else []
            ports += [ETCD] if node.etcd else []
        if source.etcd and node.etcd:
            ports.append(PEERS)
        targets += [(addresses[node.name], port) for port in ports]
    return targets


def node_checks(
    hosts: Mapping[str, HostFacts | Unreachable],
    asked: tuple[float, float],
    programs: Mapping[str, Collection[str]] | None = None,
) -> tuple[Check, ...]:
    """All checks that the probe's answers allow. `asked`: our clock before and after the probe; `programs`:
    what each node needs of its distribution."""
    wanted = programs or {}
    answered = [host for host in hosts.values() if isinstance(host, HostFacts)]
    found: list[Check] = []
    for host in hosts.values():
        if isinstance(host, Unreachable):
            remedy = "start the machine, mend its network, or compare its host key with the object"
            found.append(Check(host.name, "answers", Verdict.PROBLEM, host.reason, remedy))
        else:
            found += _alone(host, asked)
            if host.name in wanted:
                found.append(_programs(host, wanted[host.name]))
    return (*found, *_together(answered))


def _alone(host: HostFacts, asked: tuple[float, float]) -> Iterator[Check]:
    yield Check(host.name, "answers", Verdict.OK, f"{host.system.os} {host.system.os_version}")
    yield _clock(host, asked)
    yield _disk(host)
    yield _system(host)
    if host.system.swap:
        seen = f"{host.system.swap} MiB; what the kubelet counts as memory may be on disk"
        yield Check(host.name, "swap", Verdict.WARNING, seen, "swapoff -a, and take it out of /etc/fstab")


def _programs(host: HostFacts, wanted: Collection[str]) -> Check:
    packages = missing(host, wanted)
    if not packages:
        return Check(host.name, "programs", Verdict.OK, ", ".join(sorted(wanted)) or "none needed")
    seen = f"missing: {', '.join(packages)}"
    return Check(host.name, "programs", Verdict.PROBLEM, seen, install_command(host, packages))


def _clock(host: HostFacts, asked: tuple[float, float]) -> Check:
    before, after = asked
    clock = host.system.clock
    difference = min(0.0, clock - before) or max(0.0, clock - after)
    seen = f"differs by {difference:+.1f} s" if difference else "as here"
    if abs(difference) <= CLOCK_NOTED:
        return Check(host.name, "clock", Verdict.OK, seen)
    verdict = Verdict.PROBLEM if abs(difference) > CLOCK_REFUSED else Verdict.WARNING
    return Check(host.name, "clock", verdict, seen, f"anykube exec {host.name} -- timedatectl set-ntp true")


def _disk(host: HostFacts) -> Check:
    free = host.system.disk_free
    if not free:
        return Check(host.name, "disk", Verdict.WARNING, "unknown", f"anykube exec {host.name} -- df -h")
    seen = ", ".join(f"{path} {size / 1024:.1f} GiB" for path, size in free.items()) + " free"
    least = min(free.values())
    if least >= DISK_ADVISED:
        return Check(host.name, "disk", Verdict.OK, seen)
    verdict = Verdict.PROBLEM if least < DISK_NEEDED else Verdict.WARNING
    return Check(host.name, "disk", verdict, seen, "make room, at least 4 GiB each")


def _system(host: HostFacts) -> Check:
    system = host.system
    seen = f"systemd {system.systemd}, cgroup v{system.cgroup}"
    if system.systemd < SYSTEMD_WANTED:
        return Check(host.name, "system", Verdict.PROBLEM, seen, f"use an OS with systemd {SYSTEMD_WANTED}+")
    if system.cgroup == 0:
        return Check(host.name, "system", Verdict.PROBLEM, seen, "mount control groups")
    if system.cgroup == 1:
        remedy = "nothing to do now; Kubernetes will drop cgroup v1, move to v2 in time"
        return Check(host.name, "system", Verdict.WARNING, seen, remedy)
    return Check(host.name, "system", Verdict.OK, seen)


def _together(hosts: Sequence[HostFacts]) -> Iterator[Check]:
    """What only shows when nodes are compared."""
    if len(hosts) < 2:
        return
    mtus = {host.name: host.system.mtu for host in hosts if host.system.mtu}
    seen = ", ".join(map(str, sorted(set(mtus.values())))) or "unknown"
    if len(set(mtus.values())) > 1:
        each = ", ".join(f"{name} {mtu}" for name, mtu in mtus.items())
        remedy = "give all nodes the same MTU: large packets are lost between them"
        yield Check("nodes", "mtu", Verdict.PROBLEM, each, remedy)
    else:
        yield Check("nodes", "mtu", Verdict.OK, seen)
    yield _machine_ids(hosts)


def _machine_ids(hosts: Sequence[HostFacts]) -> Check:
    names: dict[str, list[str]] = {}
    for host in hosts:
        if host.system.machine_id not in ("", "unknown"):
            names.setdefault(host.system.machine_id, []).append(host.name)
    twins = [" and ".join(group) for group in names.values() if len(group) > 1]
    if not twins:
        return Check("nodes", "machine ids", Verdict.OK, "all different")
    remedy = "remove one of them, or: rm /etc/machine-id && systemd-machine-id-setup"
    return Check("nodes", "machine ids", Verdict.PROBLEM, f"the same on {', '.join(twins)}", remedy)


def reach_checks(
    wanted: Mapping[str, Sequence[tuple[str, int]]],
    found: Sequence[Reach],
    names: Mapping[str, str],
    *,
    vxlan: bool,
) -> tuple[Check, ...]:
    """Ports from node to node. `wanted` by source node; `names` gives the node of an address."""
    states = {(reach.source, reach.address, reach.port): reach.state for reach in found}
    checks = [_ports(source, targets, states, names) for source, targets in wanted.items() if targets]
    if vxlan and checks:
        seen = f"{OVERLAY_NETWORK}/udp cannot be tested by connecting"
        remedy = f"see that firewalls between nodes let {OVERLAY_NETWORK}/udp pass"
        checks.append(Check("nodes", "vxlan", Verdict.OK, f"{seen}; {remedy}"))
    return tuple(checks)


def _ports(
    source: str,
    targets: Sequence[tuple[str, int]],
    states: Mapping[tuple[str, str, int], str],
    names: Mapping[str, str],
) -> Check:
    by_state: dict[str, list[str]] = {}
    for address, port in targets:
        state = states.get((source, address, port), "unknown")
        by_state.setdefault(state, []).append(f"{names[address]}:{port}")
    seen = "; ".join(f"{_SAID[state]} {', '.join(by_state[state])}" for state in _SAID if state in by_state)
    if "filtered" in by_state:
        remedy = "open these ports in the firewalls between the nodes, and see that routes exist"
        return Check(source, "ports", Verdict.PROBLEM, seen, remedy)
    if "unknown" in by_state:
        return Check(source, "ports", Verdict.WARNING, seen, "install bash there, to try them")
    return Check(source, "ports", Verdict.OK, seen)


_SAID = {
    "filtered": "no way to",
    "unknown": "could not try",
    "closed": "the way is free, nothing listens at",
    "open": "connects to",
}
