"""What cleaning takes away besides files: exactly what the ledger names, and never what others have there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest

from anykube.content.model import File, Text
from anykube.content.node import unit_traces
from anykube.content.paths import LEDGER, OWNER
from anykube.errors import CommandError
from anykube.execute.node import NodeHand
from anykube.facts.host import HostFacts
from anykube.facts.ledger import KINDS
from anykube.observe.hosts import probe_hosts
from anykube.plan.cleaning import going
from anykube.testing import SimulatedHost, simulated_hosts, why_unavailable

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")

UNIT = b"[Service]\nExecStart=/bin/true\n"
TASKS = "/run/containerd/io.containerd.runtime.v2.task"
SAVED = """\
*filter
:INPUT ACCEPT [10:840]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:THEIRS - [5:1]
-A INPUT -j KUBE-FIREWALL
-A INPUT -m comment --comment "we -j KUBE-FIREWALL ourselves" -j THEIRS
-A OUTPUT -m comment --comment "a \\"quoted\\" word" -g KUBE-FIREWALL
-A OUTPUT -p tcp -j LOG --log-prefix "KUBE-"
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -j DROP
-A THEIRS -s 10.0.0.0/8 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -j DOCKER
COMMIT
"""
DELETED = """\
*filter
-D INPUT -j KUBE-FIREWALL
-D OUTPUT -m comment --comment "a \\"quoted\\" word" -g KUBE-FIREWALL
-F KUBE-FIREWALL
-F KUBE-KUBELET-CANARY
-X KUBE-FIREWALL
-X KUBE-KUBELET-CANARY
COMMIT
"""


@pytest.fixture
async def host() -> AsyncIterator[SimulatedHost]:
    async with simulated_hosts(1) as hosts:
        yield hosts[0]


def program(host: SimulatedHost, name: str, text: str) -> None:
    """A program of the host that notes how it is called, and then does this."""
    path = host.path(f"/bin/{name}")
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\necho "{name} $*" >>/tmp/done\n{text}\n')
    path.chmod(0o755)


def done(host: SimulatedHost) -> list[str]:
    path = host.path("/tmp/done")
    return path.read_text().splitlines() if path.exists() else []


async def clean(host: SimulatedHost, *ledger: str) -> None:
    """Clean a host whose ledger has these lines."""
    host.path(LEDGER).parent.mkdir(parents=True, exist_ok=True)
    host.path(LEDGER).write_text("".join(f"{line}\n" for line in sorted(ledger)))
    host.path(OWNER).write_text("lineage 1\n")
    transport = host.transport()
    try:
        await NodeHand(transport, "lineage", 1, lambda source: (b"", "")).clean()
    finally:
        await transport.close()


async def start(host: SimulatedHost, unit: str) -> set[str]:
    """Start a unit, and the lines that its host has noted then."""
    transport = host.transport()
    try:
        hand = NodeHand(transport, "lineage", 1, lambda source: (UNIT, hashlib.sha256(UNIT).hexdigest()))
        await hand.put([File(f"/etc/systemd/system/{unit}", Text(""))])
        await hand.set_unit(unit, "started")
    finally:
        await transport.close()
    return set(host.path(LEDGER).read_text().splitlines())


async def test_chains_go_one_by_one(host: SimulatedHost) -> None:
    host.path("/tmp/saved").write_text(SAVED)
    program(host, "iptables-save", "cat /tmp/saved")
    program(host, "iptables-restore", "cat >/tmp/restored")
    await clean(host, "chains KUBE-")
    assert host.path("/tmp/restored").read_text() == DELETED
    assert "iptables-restore --noflush" in done(host)


async def test_rules_are_left_alone_when_none_is_ours(host: SimulatedHost) -> None:
    host.path("/tmp/saved").write_text("*nat\n:DOCKER - [0:0]\n-A DOCKER -j KUBERNETES\nCOMMIT\n")
    program(host, "iptables-save", "cat /tmp/saved")
    program(host, "iptables-restore", "exit 1")
    await clean(host, "chains KUBE-")
    assert not [line for line in done(host) if "restore" in line]


IDLE = "table ip nat {\n\tchain OUTPUT {\n\t\ttype nat hook output priority 0; policy accept;\n\t}\n}\n"


@pytest.mark.parametrize(
    ("text", "goes"),
    [
        (IDLE, True),
        ("# Warning: table ip nat is managed by iptables-nft, do not touch!\n" + IDLE, True),
        (IDLE.replace("accept;\n", "accept;\n\t\tcounter drop\n"), False),
        (IDLE.replace("accept", "drop"), False),
        (IDLE.replace("OUTPUT", "OUTPUT-theirs"), False),
    ],
)
async def test_a_table_that_iptables_made_goes_when_it_is_idle(
    host: SimulatedHost, text: str, goes: bool
) -> None:
    host.path("/tmp/table").write_text(text)
    program(host, "nft", "case $1 in list) cat /tmp/table ;; esac")
    await clean(host, "builtin ip nat", "table ip kube-proxy")
    assert ("nft delete table ip nat" in done(host)) == goes
    assert "nft delete table ip kube-proxy" in done(host)


async def test_containers_of_others_forbid_it_before_anything_is_done(host: SimulatedHost) -> None:
    ours = f"containers {TASKS}/k8s.io"
    for folder in ("k8s.io/a", "moby/b"):
        host.path(f"{TASKS}/{folder}").mkdir(parents=True)
    host.path("/etc/ours").touch()
    with pytest.raises(CommandError) as caught:
        await clean(host, ours, "file /etc/ours")
    assert "moby/b" in caught.value.stderr
    assert host.path("/etc/ours").exists()
    transport = host.transport()
    facts = (await probe_hosts({"node": transport}, (), ()))["node"]
    await transport.close()
    assert isinstance(facts, HostFacts)
    assert facts.ledger.others == {"moby/b"}
    host.path(f"{TASKS}/moby/b").rmdir()
    await clean(host, ours, "file /etc/ours")
    assert not host.path("/etc/ours").exists()


async def test_a_ledger_of_a_newer_anykube_is_not_guessed_at(host: SimulatedHost) -> None:
    host.path("/etc/ours").touch()
    with pytest.raises(CommandError) as caught:
        await clean(host, "file /etc/ours", "hologram 7")
    assert "newer anykube: hologram 7" in caught.value.stderr
    assert host.path("/etc/ours").exists()


async def test_kernel_settings_are_as_before_unless_others_rely_on_them(host: SimulatedHost) -> None:
    forward, memory = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory"
    for path in (forward, memory):
        host.path(path).parent.mkdir(parents=True, exist_ok=True)
        host.path(path).write_text("1\n")
    ledger = ("sysctl net.ipv4.ip_forward 0", "sysctl vm.overcommit_memory 2", "sysctl gone.away 3")
    host.path("/sys/class/net/docker0/bridge").mkdir(parents=True)
    await clean(host, *ledger)
    assert (host.path(forward).read_text(), host.path(memory).read_text()) == ("1\n", "2\n")
    host.path("/sys/class/net/docker0/bridge").rmdir()
    await clean(host, *ledger)
    assert host.path(forward).read_text() == "0\n"


async def test_a_user_goes_if_it_is_there(host: SimulatedHost) -> None:
    program(host, "userdel", 'sed -i "/^$1:/d" /etc/passwd')
    await clean(host, "user etcd", "user never-was")
    assert done(host) == ["userdel etcd"]


async def test_files_by_prefix_and_folders_with_all_in_them(host: SimulatedHost) -> None:
    for path in ("/var/lib/cni/results/cbr0-a", "/var/lib/cni/results/theirs-a", "/var/lib/x/.hidden/deep"):
        host.path(path).parent.mkdir(parents=True, exist_ok=True)
        host.path(path).touch()
    await clean(host, "files /var/lib/cni/results/cbr0-", "data /var/lib/x", "directory /var/lib/cni/results")
    assert [path.name for path in host.path("/var/lib/cni/results").iterdir()] == ["theirs-a"]
    assert list(host.path("/var/lib/x").iterdir()) == []


async def test_a_unit_that_hangs_is_killed(host: SimulatedHost) -> None:
    """Told to stop, it does not; the second time, after it was killed, it has."""
    program(
        host,
        "systemctl",
        "case $1 in stop) [ -e /tmp/killed ] ;; kill) touch /tmp/killed ;; is-active) exit 3 ;; esac",
    )
    await clean(host, "unit etcd.service", "unit kubelet.service", "unit containerd.service")
    asked = [line for line in done(host) if line.startswith(("systemctl stop", "systemctl kill"))]
    assert asked[:3] == [
        "systemctl stop -- kubelet.service",
        "systemctl kill --signal=KILL -- kubelet.service",
        "systemctl stop -- kubelet.service",
    ]
    assert asked[-1] == "systemctl stop -- etcd.service"
    # Units of others keep their state: never all at once.
    assert "systemctl reset-failed" not in done(host)


async def test_what_is_there_before_a_unit_starts_is_not_noted(host: SimulatedHost) -> None:
    program(host, "nft", 'case "$*" in "list table ip kube-proxy") ;; *) exit 1 ;; esac')
    host.path("/sys/class/net/cni0").mkdir(parents=True)
    host.path("/var/lib/kubelet/theirs").mkdir(parents=True)
    noted = await start(host, "kubelet.service") | await start(host, "kube-proxy.service")
    assert {"device flannel.1", "data /var/log/pods", "table ip6 kube-proxy", "builtin ip nat"} <= noted
    assert not {"device cni0", "data /var/lib/kubelet", "table ip kube-proxy"} & noted


async def test_settings_are_noted_as_they_were(host: SimulatedHost) -> None:
    file, forward = host.path("/etc/sysctl.d/90-anykube.conf"), host.path("/proc/sys/net/ipv4/ip_forward")
    file.parent.mkdir(parents=True)
    file.write_text("-net.ipv4.ip_forward = 1\n-vm.panic_on_oom = 0\n-not.there = 1\n")
    for path, value in ((forward, "0\n"), (host.path("/proc/sys/vm/panic_on_oom"), "0\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    noted = await start(host, "anykube-system.service")
    forward.write_text("1\n")
    noted |= await start(host, "anykube-system.service")
    assert [line for line in noted if line.startswith("sysctl")] == ["sysctl net.ipv4.ip_forward 0"]


async def test_users_are_noted_that_are_not_there_yet(host: SimulatedHost) -> None:
    file = host.path("/etc/sysusers.d/anykube.conf")
    file.parent.mkdir(parents=True)
    file.write_text('u etcd - "there" /\nu newcomer - "not there" /\n')
    noted = await start(host, "anykube-system.service")
    assert [line for line in noted if line.startswith("user ")] == ["user newcomer"]


def test_every_trace_is_of_a_known_kind_and_can_be_shown() -> None:
    traces = {trace for found in unit_traces().values() for trace in found}
    assert {trace.partition(" ")[0] for trace in traces} <= {*KINDS, "sysctls", "users"}
    assert not [trace for trace in traces if trace.partition(" ")[2] in ("", "/")]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_can_be_read_and_shown(host: SimulatedHost, kind: str) -> None:
    name = "/etc/x" if kind in ("file", "original", "directory") else "x 1 2"
    host.path(LEDGER).parent.mkdir(parents=True)
    host.path(LEDGER).write_text(f"{kind} {name.split()[0] if kind == 'unit' else name}\n")
    transport = host.transport()
    facts = (await probe_hosts({"node": transport}, (), ()))["node"]
    await transport.close()
    assert isinstance(facts, HostFacts)
    assert len(going(facts)) == 1
    assert not facts.ledger.empty
