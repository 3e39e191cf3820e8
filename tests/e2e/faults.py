"""What goes wrong on purpose: machines without power, with empty disks, cut off; etcd killed and frozen.

None of it goes through anykube. Containers share this machine's kernel, so a power cut here loses no page
cache: whether writes reach the disk is not shown by it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.e2e.story import MACHINES, Story, kill

SURVIVES_REINSTALL = (
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/machine-id",
    "etc/ssh/ssh_host_ed25519_key",
    "root/.ssh/authorized_keys",
)
"""What whoever installs a machine writes again; the host key only if it was kept."""
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
TABLE = "inet anykube_e2e"


def power_on(story: Story, node: str) -> None:
    """Start a container as a machine that gets its power back."""
    path = str(MACHINES / story.name / "nodes")
    subprocess.run(["lxc-start", "-P", path, "-n", node, "-d"], check=True, timeout=60)


def lose_machine(story: Story, node: str) -> None:
    """A machine burns down: nothing of it is left."""
    story.power_off(node)
    shutil.rmtree(MACHINES / story.name / "nodes" / node)


def reinstall(story: Story, node: str, *, new_key: bool = False) -> None:
    """Make a machine again, with the same name and address and an empty disk."""
    story.power_off(node)
    folder = MACHINES / story.name / "nodes" / node
    delta = folder / "delta"
    kept = {path: (delta / path).read_bytes() for path in SURVIVES_REINSTALL}
    for rest in (*delta.iterdir(), *(folder / "disks").glob("*/*"), *folder.glob("work/*")):
        shutil.rmtree(rest) if rest.is_dir() and not rest.is_symlink() else rest.unlink()
    for path, content in kept.items():
        (delta / path).parent.mkdir(parents=True, exist_ok=True)
        (delta / path).write_bytes(content)
    (delta / "root").chmod(0o700)
    if new_key:
        (delta / HOST_KEY).unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", delta / HOST_KEY], check=True)
    (delta / HOST_KEY).chmod(0o600)
    power_on(story, node)


def host_key(story: Story, node: str) -> bytes:
    """The host key that a machine has."""
    return (MACHINES / story.name / "nodes" / node / "delta" / HOST_KEY).read_bytes()


def give_host_key(story: Story, node: str, key: bytes) -> None:
    """Its administrator puts a host key back."""
    (MACHINES / story.name / "nodes" / node / "delta" / HOST_KEY).write_bytes(key)
    story.on(node, "systemctl", "restart", "ssh")


@contextmanager
def cut_off(story: Story, node: str, others: Iterable[str]) -> Iterator[None]:
    """Between this node and the others nothing goes through any more; this machine reaches all of them."""
    peers = ", ".join(story.address(other) for other in others)
    rules = f"""table {TABLE} {{
        chain incoming {{ type filter hook input priority -300; ip saddr {{ {peers} }} drop; }}
        chain outgoing {{ type filter hook output priority -300; ip daddr {{ {peers} }} drop; }}
        chain through {{ type filter hook forward priority -300; ip saddr {{ {peers} }} drop; }}
    }}"""
    story.on(node, "nft", "-f", "-", stdin=rules.encode())
    try:
        yield
    finally:
        story.on(node, "nft", "delete", "table", *TABLE.split(), check=False)


@contextmanager
def again_and_again(act: Callable[[], Any], seconds: float) -> Iterator[None]:
    """Do something every few seconds meanwhile."""
    enough = threading.Event()

    def loop() -> None:
        while not enough.wait(seconds):
            act()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def kill_etcd(story: Story, node: str) -> None:
    """etcd dies; systemd starts it again."""
    story.on(node, "systemctl", "kill", "-s", "KILL", "etcd.service", check=False)


@contextmanager
def frozen_etcd(story: Story, node: str) -> Iterator[None]:
    """etcd holds its connections and does nothing."""
    story.on(node, "systemctl", "kill", "-s", "STOP", "etcd.service")
    try:
        yield
    finally:
        story.on(node, "systemctl", "kill", "-s", "CONT", "etcd.service", check=False)


def when(
    story: Story, arguments: Iterable[str], seen: Callable[[Mapping[str, Any]], bool], act: Callable[[], Any]
) -> tuple[int, str]:
    """Run anykube; at the first event that is looked for, act. Its exit status, and what it said."""
    process = story.begin(*arguments, "-o", "json")
    assert process.stdout is not None
    acted = False
    for line in process.stdout:
        if not acted and seen(json.loads(line)):
            acted = True
            act()
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr


def killed_at(story: Story, arguments: Iterable[str], number: int) -> str:
    """Run anykube and kill -9 it when the given step begins or ends; which one, '' if it had fewer."""
    process = story.begin(*arguments, "-o", "json")
    assert process.stdout is not None
    steps = 0
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] in ("StepStarted", "StepDone"):
            steps += 1
            if steps == number:
                kill(process)
                return f"{event['type']} {event['step']}"
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return ""
