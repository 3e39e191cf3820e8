"""Machines that exist already: the path of bare metal. Software and images travel over SSH, and after
`destroy` the machines are as they were.

The machines are bare LXC nodes without any software of ours, made with the LXC provider's own parts.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anykube.artifacts.service import arch
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.record import Record
from anykube.observe.networks import routes
from anykube.paths import cache_dir
from anykube.pki.authority import generate
from anykube.pki.store import SecretStore
from anykube.plan.blueprint import Blueprint
from anykube.plan.effects import CreateMachine, DeleteMachine, EnsureSite, RemoveSite
from anykube.plan.provision import SSH_SECRET
from anykube.providers.lxc.provider import LxcProvider
from anykube.session import Folders, Session
from anykube.spec.catalog import DEFAULT_VERSION
from anykube.spec.load import load
from anykube.spec.nodes import nodes

pytestmark = pytest.mark.e2e
ANYKUBE = Path(__file__).parents[2] / ".venv/bin/anykube"
NAME = "e2e-bare"
FOREIGN = "/usr/local/bin/foreign"
RULES = "ip -br link; nft list ruleset"
LISTING = "find /etc /usr/local /opt /var/lib /root -xdev -printf '%p %m %u\\n' | sort"
VOLATILE = ("/var/lib/systemd", "/etc/machine-id", "/var/lib/private", "/etc/resolv.conf", "/root/.cache")
MOUNTED = ("/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet")
"""Mount points of LXC nodes: what was in them must go, they themselves cannot."""
KEPT = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
"""The user etcd stays: files of another owner of that number could remain (as Debian's packages do)."""


def document(spec: dict[str, object]) -> str:
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"]},
        {"name": "worker", "roles": ["worker"]},
    ]
    return json.dumps(
        {
            "apiVersion": "anykube.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": NAME},
            "spec": {
                "kubernetes": {"version": DEFAULT_VERSION},
                "machines": {"provider": spec, "pools": pools},
            },
        }
    )


class Bare:
    """Two nodes with an operating system and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.secrets = SecretStore(folder / "secrets")
        generate(self.secrets, (SSH_SECRET,))
        self.key = folder / "key"
        self.key.touch(mode=0o600)
        self.key.write_bytes(self.secrets.part("ssh", "key").reveal())
        self.cluster = load(document({"lxc": {}}), "bare")
        self.provider = LxcProvider(
            self.cluster,
            cache=cache_dir(),
            ssh_public_key=lambda: self.secrets.part("ssh", "public").reveal().decode(),
            artifact_path=Path,
        )
        self.blueprint: Blueprint = self.provider.blueprint(
            nodes(self.cluster),
            Record(NAME, "bare"),
            ArtifactLock(DEFAULT_VERSION, arch(), {}),
            [route.network for route in routes()],
        )

    async def make(self) -> None:
        for part, settings in self.blueprint.parts.items():
            await self.provider.perform(EnsureSite(part, settings), quiet)
        for name, machine in self.blueprint.machines.items():
            await self.provider.perform(CreateMachine(name, machine.address, machine.settings), quiet)

    async def remove(self) -> None:
        for name in self.blueprint.machines:
            await self.provider.perform(DeleteMachine(name), quiet)
        for part in reversed(tuple(self.blueprint.parts)):
            await self.provider.perform(RemoveSite(part), quiet)

    def object(self) -> str:
        hosts = []
        for name, machine in self.blueprint.machines.items():
            endpoint = self.provider.endpoint(name, machine.address)
            pool = "cp" if "-cp-" in name else "worker"
            hosts.append(
                {"name": name, "address": machine.address, "hostKey": endpoint.host_key, "pool": pool}
            )
        return document({"machines": {"key": str(self.key), "hosts": hosts}})


def quiet(*_: object) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    made = Bare(tmp_path_factory.mktemp("bare"))
    try:
        asyncio.run(made.make())
        yield made
    finally:
        asyncio.run(made.remove())


def anykube(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ANYKUBE), *arguments],
        env={**os.environ, "ANYKUBE_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def on_each(bare: Bare, state: Path, script: str) -> dict[str, str]:
    cluster = load(bare.object(), "object")

    async def ask() -> dict[str, str]:
        async with Session(cluster, Folders(state, cache_dir())) as session:
            session.draw([])
            answers = {}
            for name in bare.blueprint.machines:
                result = await session.transport(name).run(["sh", "-c", script], seconds=60)
                answers[name] = result.stdout
            return answers

    return asyncio.run(ask())


def settled(listing: str) -> set[str]:
    lines = [line for line in listing.splitlines() if not line.startswith((*VOLATILE, *KEPT))]
    return {line.partition(" ")[0] if line.startswith(MOUNTED) else line for line in lines}


def effective(text: str) -> list[str]:
    """Interfaces and rules. Empty chains that accept do nothing: iptables makes them when it is asked."""
    idle = re.compile(r"\s*(table ip6? (filter|nat|mangle) \{|chain [A-Z]+ \{|type .* policy accept;|\}|)$")
    return [line for line in text.splitlines() if not idle.match(line)]


def test_a_cluster_on_machines_that_exist_and_the_machines_as_they_were_after_it(
    bare: Bare, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    file = tmp_path / "cluster.yaml"
    file.write_text(bare.object())
    assert anykube(state, "validate", "-f", str(file)).returncode == 0
    on_each(bare, state, f"systemctl is-system-running --wait; echo mine > {FOREIGN}")
    before = on_each(bare, state, LISTING)
    rules = {name: effective(text) for name, text in on_each(bare, state, RULES).items()}

    up = anykube(state, "apply", "-f", str(file), "--yes")
    assert up.returncode == 0, up.stderr
    again = anykube(state, "apply", "-f", str(file), "--yes")
    assert "0 changes" in again.stderr, again.stderr
    nodes_up = json.loads(anykube(state, "status", "-c", NAME, "-o", "json").stdout)
    assert nodes_up["healthy"] is True

    gone = anykube(state, "destroy", "-c", NAME, "--yes")
    assert gone.returncode == 0, gone.stderr
    after = on_each(bare, state, LISTING)
    for name, listing in before.items():
        differs = sorted(settled(after[name]) ^ settled(listing))
        assert not differs, f"{name} is not as it was:\n" + "\n".join(differs)
    assert {name: effective(text) for name, text in on_each(bare, state, RULES).items()} == rules
    assert set(on_each(bare, state, f"cat {FOREIGN}").values()) == {"mine\n"}
    left = on_each(bare, state, "ps -eo comm | grep -E 'kube|etcd|containerd|flanneld|coredns|pause'")
    assert set(left.values()) == {""}, left
