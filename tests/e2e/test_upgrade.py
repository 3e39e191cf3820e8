"""Upgrades of three control planes and two workers, with writers and a DNS client: killed, failing, back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.names import Names, resolve
from tests.e2e.proof import Proof, proving
from tests.e2e.story import Object, Story, eventually, kill, worker
from tests.e2e.wire import init_process

pytestmark = pytest.mark.e2e

PLANES = {"name": "cp", "roles": ["control-plane", "etcd"], "count": 3}
OLD, NEW, NEWEST = "1.35.4", "1.36.1", "1.36.3"
API_SECONDS = 5.0
"""Longest time without an acknowledged write, on a calm machine."""
DNS_SECONDS = 15.0
DROP_IN = "/etc/systemd/system/kubelet.service.d/refuse.conf"
REFUSE = """[Service]
ExecStartPre=/bin/sh -c '! /usr/local/bin/kubelet --version | grep -q {version}'
"""


def write(story: Story, version: str) -> None:
    machines = {"provider": {"lxc": {}}, "pools": [PLANES, worker(2)]}
    story.write(kubernetes={"version": version}, machines=machines)


@pytest.fixture(scope="module")
def proof(story: Story) -> Iterator[Proof]:
    write(story, OLD)
    story.apply()
    with proving(story) as made:
        yield made


def versions(story: Story) -> dict[str, str]:
    """The kubelet's version of each node."""
    found: list[Object] = story.objects("nodes")
    return {node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"][1:] for node in found}


@contextmanager
def naming(story: Story) -> Iterator[None]:
    """DNS is asked on a worker all the time, and answers on every node afterwards."""
    begun = time.monotonic()
    with Names(story, story.node("worker", 2)) as names:
        yield
    gap = names.longest_gap(begun, time.monotonic())
    print(f"longest gap of DNS {gap:.1f} s", flush=True)
    assert gap < DNS_SECONDS
    for node in story.nodes:
        resolve(init_process(story, node))


def test_a_minor_version_killed_in_the_middle(proof: Proof) -> None:
    """Killed while the second control plane changes; apply goes on from there."""
    story = proof.story
    with naming(story), proof.operation(f"upgrade {OLD} to {NEW}, killed", budget=API_SECONDS):
        process = story.begin("upgrade", "--to", NEW, "-f", str(story.file), "--yes", "-o", "json")
        assert process.stdout is not None
        rolled = 0
        for line in process.stdout:
            event = json.loads(line)
            rolled += event["type"] == "StepStarted" and event["step"].endswith("/roll")
            if rolled == 2:
                time.sleep(1.0)
                break
        kill(process)
        assert len(set(versions(story).values())) > 1, "it was not in the middle"
        story.apply()
    assert set(versions(story).values()) == {NEW}


def test_a_node_that_fails_stops_the_upgrade_and_goes_back(proof: Proof) -> None:
    story = proof.story
    broken = story.node("worker", 1)
    story.on(broken, "mkdir", "-p", DROP_IN.rpartition("/")[0])
    story.on(broken, "tee", DROP_IN, stdin=REFUSE.format(version=NEWEST).encode())
    story.on(broken, "systemctl", "daemon-reload")
    with naming(story), proof.operation(f"upgrade {NEW} to {NEWEST}, a worker fails", budget=API_SECONDS):
        answer = story.run("upgrade", "--to", NEWEST, "-f", str(story.file), "--yes", status=3)
        assert f"{broken} runs again what it ran before" in answer.stderr
        assert "anykube apply" in answer.stderr
        seen = versions(story)
        assert {seen[story.node("worker", number)] for number in (1, 2)} == {NEW}, "nobody went on"
        assert {seen[story.node("cp", number)] for number in (1, 2, 3)} == {NEWEST}
        assert story.ready_nodes() == set(story.nodes)
        story.on(broken, "rm", DROP_IN)
        story.on(broken, "systemctl", "daemon-reload")
        story.apply()
    assert set(versions(story).values()) == {NEWEST}


def test_a_patch_is_rolled_back(proof: Proof) -> None:
    story = proof.story
    with naming(story), proof.operation(f"rollback to {NEW}", budget=API_SECONDS):
        story.run("rollback", "-f", str(story.file), "--yes")
    assert set(versions(story).values()) == {NEW}


@pytest.mark.soak
def test_a_worker_loses_its_power_in_the_middle(proof: Proof) -> None:
    """The run stops at it; once it is back, apply finishes."""
    story = proof.story
    lost = story.node("worker", 1)
    process = story.begin("upgrade", "--to", NEWEST, "-f", str(story.file), "--yes", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "StepStarted" and event["step"] == f"{lost}/roll":
            story.power_off(lost)
            break
    process.communicate()
    story.apply()
    eventually(lambda: "" if set(versions(story).values()) == {NEWEST} else "not all are new", 60)
    proof.settled()
