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
from tests.e2e.bare import Bare

from anykube.paths import cache_dir
from anykube.session import Folders, Session
from anykube.spec.load import load

pytestmark = pytest.mark.e2e
ANYKUBE = Path(__file__).parents[2] / ".venv/bin/anykube"
NAME = "bare-machines"
POOLS = (
    {"name": "cp", "roles": ["control-plane", "etcd"]},
    {"name": "worker", "roles": ["worker"]},
)
FOREIGN = "/usr/local/bin/foreign"
RULES = "ip -br link; nft list ruleset"
LISTING = "find /etc /usr/local /opt /var/lib /root -xdev -printf '%p %m %u\\n' | sort"
VOLATILE = ("/var/lib/systemd", "/etc/machine-id", "/var/lib/private", "/etc/resolv.conf", "/root/.cache")
MOUNTED = ("/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet")
"""Mount points of LXC nodes: what was in them must go, they themselves cannot."""
KEPT = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-")
"""Copies that the programs make which add and remove users."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    made = Bare(tmp_path_factory.mktemp("bare"), NAME, POOLS)
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
