"""reset gives a machine back as it was: nothing of ours stays, nothing of others goes.

The machine is a bare LXC node with things of others on it, some in the way of ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.bare import Bare
from tests.e2e.inventory import SCRIPT, differences

pytestmark = pytest.mark.e2e
ANYKUBE = Path(__file__).parents[2] / ".venv/bin/anykube"
NAME = "bare-reset"
POOLS = ({"name": "all", "roles": ["control-plane", "etcd", "worker"]},)
NODE = f"{NAME}-all-1"
ROUNDS = int(os.environ.get("ANYKUBE_RESET_ROUNDS", "100"))
GROWTH = """
find /sys/fs/cgroup -type d | wc -l
wc -l </proc/mounts
systemctl list-units --all --no-legend | wc -l
ps -e --no-headers | wc -l
ip -o link | wc -l
"""
THEIRS = r"""
set -e
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd /var/lib/cni/networks/theirs
chmod 750 /etc/cni/net.d
echo '{"cniVersion": "0.4.0", "name": "theirs", "plugins": []}' >/etc/cni/net.d/99-theirs.conflist
echo 10.1.1.1 >/var/lib/cni/networks/theirs/10.1.1.1
# In the place of two files of ours.
printf '#!/bin/sh\n' >/opt/cni/bin/bridge && chmod 711 /opt/cni/bin/bridge
echo 'version = 2' >/etc/containerd/config.toml
useradd --system theirs
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
    >/etc/systemd/system/theirs.service
systemctl daemon-reload
systemctl --quiet enable --now theirs.service
nft add table inet theirs
nft add chain inet theirs input '{ type filter hook input priority 10; policy accept; }'
nft add rule inet theirs input tcp dport 4242 drop
iptables -N THEIRS
iptables -A THEIRS -p tcp --dport 4243 -m comment --comment 'not -j KUBE-FIREWALL' -j DROP
for chain in INPUT OUTPUT FORWARD; do iptables -A $chain -j THEIRS; done
ip link add theirs0 type veth peer name theirs1
for end in theirs0 theirs1; do ip link set $end up; done
ip addr add 192.168.77.1/24 dev theirs0
ip route add 192.168.78.0/24 via 192.168.77.2
ip rule add from 192.168.77.0/24 lookup 100
ip netns add cni-11111111-2222-3333-4444-555555555555
systemctl is-system-running --wait
"""


class Machine:
    """The bare machine, its object, and anykube's state folder for it."""

    def __init__(self, bare: Bare, folder: Path) -> None:
        self.bare = bare
        self.state = folder / "state"
        self.file = folder / "cluster.yaml"
        self.file.write_text(bare.object())
        self.known = folder / "known_hosts"
        (found,) = bare.blueprint.machines.values()
        self.address = found.address
        self.host_key = bare.provider.endpoint(NODE, self.address).host_key
        self.known.write_text(f"{self.address} {self.host_key}\n")

    def do(self, script: str, timeout: float = 120) -> str:
        """Run a script there."""
        settings = (f"UserKnownHostsFile={self.known}", "LogLevel=ERROR", "ConnectionAttempts=30")
        options = [word for setting in settings for word in ("-o", setting)]
        done = subprocess.run(
            ["ssh", "-i", str(self.bare.key), *options, f"root@{self.address}", "sh", "-s"],
            input=script,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run anykube; what it told people."""
        done = subprocess.run(
            [str(ANYKUBE), *arguments],
            env={**os.environ, "ANYKUBE_STATE_DIR": str(self.state)},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == status, done.stderr
        return done.stderr

    def killed_apply(self, until: str) -> None:
        """An apply that is killed as soon as a line of its progress has this in it."""
        process = subprocess.Popen(
            [str(ANYKUBE), "apply", "-f", str(self.file), "--yes"],
            env={**os.environ, "ANYKUBE_STATE_DIR": str(self.state)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        for line in process.stderr:
            if until in line:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def forget(self) -> None:
        """The record dies."""
        if self.state.exists():
            self.state.rename(self.state.with_name(f"state-{time.monotonic_ns()}"))

    def by_address(self, *more: str, status: int = 0) -> str:
        """anykube reset of a machine that no record knows."""
        place = (
            "--address",
            f"root@{self.address}",
            "--key",
            str(self.bare.key),
            "--host-key",
            self.host_key,
        )
        return self.run("reset", *place, *more, "--yes", status=status)

    def differs(self, before: str) -> str:
        """What is not as it was, once the kernel has swept behind the pods."""
        end = time.monotonic() + 10
        while (found := differences(before, self.do(SCRIPT))) and time.monotonic() < end:
            time.sleep(0.5)
        return "\n".join(found)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("reset")
    bare = Bare(folder, NAME, POOLS)
    asyncio.run(bare.remove())  # what a run that was killed has left
    try:
        asyncio.run(bare.make())
        made = Machine(bare, folder)
        made.do(THEIRS)
        yield made
    finally:
        asyncio.run(bare.remove())


def test_the_machine_is_as_it_was(machine: Machine) -> None:
    before = machine.do(SCRIPT)
    machine.run("apply", "-f", str(machine.file), "--yes")
    assert differences(before, machine.do(SCRIPT))
    refused = machine.run("reset", NODE, "-c", NAME, "--yes", status=1)
    assert "the last voter of etcd" in refused

    # A container of somebody else in our containerd, as far as it can be seen from outside.
    theirs = "/run/containerd/io.containerd.runtime.v2.task/moby/abc"
    machine.do(f"mkdir -p {theirs}")
    assert "moby/abc" in machine.run("reset", NODE, "-c", NAME, "--force", "--yes", status=1)
    assert machine.do("systemctl is-active kubelet.service").strip() == "active"
    machine.do(f"rm -r {theirs[:-4]}")

    told = machine.run("reset", NODE, "-c", NAME, "--force", "--yes")
    assert "/etc/containerd/config.toml" in told
    assert machine.differs(before) == ""
    again = machine.run("reset", NODE, "-c", NAME, "--force", "--yes")
    assert "nothing of anykube is there" in again


def test_half_an_installation_whose_record_is_gone(machine: Machine) -> None:
    before = machine.do(SCRIPT)
    machine.forget()
    machine.killed_apply("kube-apiserver")
    # A unit that does not end when it is told to.
    machine.do(
        "mkdir -p /run/systemd/system/etcd.service.d && "
        "printf '[Service]\\nKillSignal=SIGCONT\\n' >/run/systemd/system/etcd.service.d/hang.conf && "
        "systemctl daemon-reload"
    )
    known = machine.by_address(status=1)
    assert f"is a node of {NAME}, which is known here" in known
    machine.forget()
    refused = machine.by_address(status=1)
    lineage = refused.partition("--lineage ")[2].split()[0]
    assert "not known here" in refused
    assert "is not abcd" in machine.by_address("--lineage", "abcd", status=1)
    machine.by_address("--lineage", lineage)
    machine.do("rm -r /run/systemd/system/etcd.service.d && systemctl daemon-reload")
    assert machine.differs(before) == ""
    assert "nothing of anykube is there" in machine.by_address()


@pytest.mark.soak
def test_a_hundred_times_and_it_does_not_grow(machine: Machine) -> None:
    """ANYKUBE_RESET_ROUNDS sets another number."""
    before, size = machine.do(SCRIPT), machine.do(GROWTH)
    for number in range(1, ROUNDS + 1):
        machine.forget()
        began = time.monotonic()
        machine.run("apply", "-f", str(machine.file), "--yes")
        applied = time.monotonic()
        machine.run("reset", NODE, "-c", NAME, "--force", "--yes")
        print(f"round {number}: apply {applied - began:.1f} s, reset {time.monotonic() - applied:.1f} s")
        assert machine.differs(before) == "", f"round {number}"
    assert machine.do(GROWTH) == size
