"""Judgements of doctor as a table: what was seen, how bad it is, and a word of the remedy."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from anykube.facts import node_checks
from anykube.facts.checks import Check, Verdict, machine_checks
from anykube.facts.host import HostFacts, SystemFacts, Unreachable
from anykube.facts.local import Leftover, LocalFacts
from anykube.facts.node_checks import Reach, parse_reach, reach_checks, reach_script, wanted_ports
from anykube.plan import rules
from anykube.spec.model import Role
from anykube.spec.nodes import Node

OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
DAY = 86400.0
GOOD = LocalFacts(
    root=True,
    python=(3, 11, 7),
    tools={"lxc-start": True, "nft": True},
    packages={"lxc-start": "lxc", "nft": "nftables"},
    go="go1.26.8",
    go_wanted="go1.26.0",
    cgroup=2,
    controllers=frozenset({"cpu", "cpuset", "memory", "pids"}),
    capabilities=1 << 24,
    kernel="6.1",
    features={"overlay": "", "vxlan": ""},
    disk_free={"state": 9999, "cache": 9999, "nodes": 9999},
    memory=8000,
    memory_available=4000,
    clock=100 * DAY,
    clock_floor=90 * DAY,
    limits={"fs.inotify.max_user_instances": 8192},
    limits_wanted={"fs.inotify.max_user_instances": 8192},
)
SYSTEM = SystemFacts(
    hostname="a",
    os="debian",
    os_version="12",
    arch="amd64",
    kernel="6.1",
    machine_id="a",
    boot_id="b",
    systemd=252,
    container=True,
    cgroup=2,
    capabilities=1 << 24,
    cpus=2,
    memory=4000,
    swap=0,
    clock=1000.0,
    mtu=1500,
    disk_free={"/": 9999},
    addresses=(),
)


def judged(change: dict[str, Any], *, lxc: bool | None = True) -> dict[str, Check]:
    return {check.name: check for check in machine_checks(replace(GOOD, **change), lxc=lxc)}


def test_a_good_machine_has_no_findings() -> None:
    checks = judged({})
    assert len(checks) == 12
    assert {check.verdict for check in checks.values()} == {OK}
    assert not any(check.remedy for check in checks.values())


@pytest.mark.parametrize(
    ("name", "change", "verdict", "remedy"),
    [
        ("python", {"python": (3, 10, 9)}, PROBLEM, "3.11"),
        ("go", {"go": ""}, WARNING, "scripts/setup"),
        ("memory", {"memory_available": 1500}, WARNING, "2.0 GiB"),
        ("memory", {"memory_available": 500}, PROBLEM, "2.0 GiB"),
        (
            "disk",
            {"disk_free": {"state": 9999, "cache": 3000, "nodes": 9999}},
            WARNING,
            "6.0 GiB for the cache",
        ),
        ("disk", {"disk_free": {"state": 9, "cache": 9999, "nodes": 9999}}, PROBLEM, "500 MiB for the state"),
        ("clock", {"clock": 89 * DAY}, PROBLEM, "timedatectl"),
        ("clock", {"clock": 9000 * DAY}, PROBLEM, "timedatectl"),
        ("root", {"root": False}, PROBLEM, "sudo"),
        ("tools", {"tools": {"lxc-start": False, "nft": False}}, PROBLEM, "apt-get install lxc nftables"),
        ("cgroup", {"cgroup": 1}, WARNING, "version 2"),
        ("cgroup", {"cgroup": 0}, PROBLEM, "mount"),
        ("cgroup", {"controllers": frozenset({"cpu"})}, PROBLEM, "mount"),
        ("capabilities", {"capabilities": 0}, WARNING, "oom"),
        ("kernel", {"features": {"overlay": "", "vxlan": "Unknown device type"}}, PROBLEM, "modprobe vxlan"),
        ("kernel", {"features": {}}, WARNING, "sudo"),
        ("limits", {"limits": {"fs.inotify.max_user_instances": 128}}, WARNING, "max_user_instances=8192"),
        (
            "leftovers",
            {"leftovers": (Leftover("bridge", "ak-x", "ip link delete ak-x"),)},
            WARNING,
            "ip link",
        ),
    ],
)
def test_each_finding(name: str, change: dict[str, Any], verdict: Verdict, remedy: str) -> None:
    checks = judged(change)
    assert checks[name].verdict is verdict
    assert remedy in checks[name].remedy
    assert [check.name for check in checks.values() if check.verdict is not OK] == [name]


def test_containers_matter_only_where_they_are_wanted() -> None:
    bad = {"root": False, "tools": {"nft": False}}
    assert judged(bad)["root"].verdict is PROBLEM
    assert judged(bad, lxc=None)["root"].verdict is WARNING
    assert judged(bad, lxc=None)["tools"].verdict is WARNING
    assert "root" not in judged(bad, lxc=False)
    assert judged({"python": (3, 9, 0)}, lxc=None)["python"].verdict is PROBLEM


def hosts(**changes: dict[str, Any]) -> dict[str, HostFacts | Unreachable]:
    return {
        name: HostFacts(name, replace(SYSTEM, **{"machine_id": name, **change}))
        for name, change in changes.items()
    }


def findings(found: dict[str, HostFacts | Unreachable]) -> list[tuple[str, str, Verdict]]:
    checks = node_checks.node_checks(found, (999.0, 1001.0))
    assert all(check.remedy for check in checks if check.verdict is not OK)
    return [(check.target, check.name, check.verdict) for check in checks if check.verdict is not OK]


def test_programs_that_a_node_lacks_are_named_with_the_command_that_helps() -> None:
    found = hosts(a={"os": "debian"}, b={"os": "rocky"}, c={"os": "plan9"})
    checks = node_checks.node_checks(found, (999.0, 1001.0), dict.fromkeys("abc", ("nft", "haproxy")))
    said = {check.target: check for check in checks if check.name == "programs"}
    assert {check.verdict for check in said.values()} == {PROBLEM}
    assert "apt-get install -y haproxy nftables" in said["a"].remedy
    assert "dnf install -y haproxy nftables" in said["b"].remedy
    assert said["c"].remedy == "install on c: haproxy nftables"
    has = {"a": HostFacts("a", SYSTEM, tools=frozenset({"nft", "haproxy"}))}
    (fine,) = [
        c for c in node_checks.node_checks(has, (999.0, 1001.0), {"a": ("nft",)}) if c.name == "programs"
    ]
    assert fine.verdict is OK


def test_good_nodes_have_no_findings() -> None:
    assert findings(hosts(a={}, b={})) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"clock": 1001.0 + 5.1}, ("b", "clock", WARNING)),
        ({"clock": 999.0 - 61}, ("b", "clock", PROBLEM)),
        ({"disk_free": {"/": 9999, "/var/lib/etcd": 3000}}, ("b", "disk", WARNING)),
        ({"disk_free": {"/": 500}}, ("b", "disk", PROBLEM)),
        ({"disk_free": {}}, ("b", "disk", WARNING)),
        ({"systemd": 232}, ("b", "system", PROBLEM)),
        ({"cgroup": 1}, ("b", "system", WARNING)),
        ({"cgroup": 0}, ("b", "system", PROBLEM)),
        ({"swap": 100}, ("b", "swap", WARNING)),
        ({"mtu": 1450}, ("nodes", "mtu", PROBLEM)),
        ({"machine_id": "a"}, ("nodes", "machine ids", PROBLEM)),
    ],
    ids=str,
)
def test_each_finding_on_a_node(change: dict[str, Any], finding: tuple[str, str, Verdict]) -> None:
    assert findings(hosts(a={}, b=change)) == [finding]


def test_what_is_harmless_is_no_finding() -> None:
    assert findings(hosts(a={}, b={"clock": 1004.0})) == []
    assert findings(hosts(a={"machine_id": "unknown"}, b={"machine_id": "unknown"})) == []
    assert findings(hosts(a={"mtu": 0}, b={})) == []


def test_a_node_that_does_not_answer() -> None:
    found = {**hosts(a={}), "b": Unreachable("b", "no route")}
    assert findings(found) == [("b", "answers", PROBLEM)]


def test_clock_limits_are_those_of_the_planner() -> None:
    assert node_checks.CLOCK_REFUSED == rules.CLOCK_REFUSED
    assert node_checks.CLOCK_NOTED == rules.CLOCK_NOTED


HEAD = Node("cp", "cp", (Role.CONTROL_PLANE, Role.ETCD))
WORKER = Node("w", "w", (Role.WORKER,))
ETCD = Node("e", "e", (Role.ETCD,))
ADDRESSES = {"cp": "10.0.0.1", "w": "10.0.0.2", "e": "10.0.0.3"}


def test_who_must_reach_whom() -> None:
    every = [HEAD, WORKER, ETCD]
    assert wanted_ports(WORKER, every, ADDRESSES) == [("10.0.0.1", 6443)]
    assert wanted_ports(HEAD, every, ADDRESSES) == [
        ("10.0.0.2", 10250),
        ("10.0.0.3", 2379),
        ("10.0.0.3", 2380),
    ]
    assert wanted_ports(HEAD, [HEAD], ADDRESSES) == []


def test_connections_are_really_tried() -> None:
    import socket

    with socket.socket() as listening, socket.socket() as closed:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        closed.bind(("127.0.0.1", 0))
        ports = [listening.getsockname()[1], closed.getsockname()[1]]
        script = reach_script([("127.0.0.1", port) for port in ports])
        result = subprocess.run(script, capture_output=True, text=True, check=True, timeout=30)
    states = {reach.port: reach.state for reach in parse_reach("a", result.stdout)}
    assert states == {ports[0]: "open", ports[1]: "closed"}


@pytest.mark.parametrize(
    ("state", "verdict"), [("open", OK), ("closed", OK), ("filtered", PROBLEM), ("unknown", WARNING)]
)
def test_ports_between_nodes(state: str, verdict: Verdict) -> None:
    wanted = {"w": [("10.0.0.1", 6443)]}
    (ports,) = reach_checks(wanted, [Reach("w", "10.0.0.1", 6443, state)], {"10.0.0.1": "cp"}, vxlan=False)
    assert (ports.target, ports.verdict) == ("w", verdict)
    assert "cp:6443" in ports.seen
    with_vxlan = reach_checks(wanted, [], {"10.0.0.1": "cp"}, vxlan=True)
    assert [check.verdict for check in with_vxlan] == [WARNING, OK]
    assert "8472/udp" in with_vxlan[1].seen


def test_garbage_from_a_node_is_dropped() -> None:
    text = "10.0.0.1 6443 open\n\x1b[31m 1 open\n10.0.0.1 6443 maybe\nx\n" + "a" * 200_000
    assert parse_reach("a", text) == (Reach("a", "10.0.0.1", 6443, "open"),)
