"""anykube is killed, interrupted, or started twice. The next apply finishes the job: one CA, one etcd."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.story import MACHINES, Answer, Story, kill, telling, worker

pytestmark = pytest.mark.e2e

EVENTS = {"artifacts": 3, "provision": 12, "bootstrap": 36, "addons": 14}
"""About how many events a phase has with one control plane and one worker."""
SEED = int(os.environ.get("ANYKUBE_E2E_SEED") or time.time())
MOMENTS = [
    {phase: random.Random(f"{SEED} {number} {phase}").randint(1, EVENTS[phase]) for phase in EVENTS}
    for number in range(2)
]
ETCDCTL = (
    *("etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert=/etc/kubernetes/pki/etcd-ca.crt"),
    "--cert=/etc/kubernetes/pki/apiserver-etcd.crt",
    "--key=/etc/kubernetes/pki/apiserver-etcd.key",
)


@pytest.fixture
def fresh(alone: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A cluster for one test that is not there yet."""
    with telling(f"e2e-stop-{zlib.crc32(request.node.name.encode()) % 1000}", tmp_path) as story:
        story.write(worker())
        yield story


def authority(story: Story) -> str:
    """The fingerprint of the cluster's CA, '' before there is one."""
    facts = story.secrets.facts().get("ca/cluster")
    return facts.certificate.fingerprint if facts and facts.certificate else ""


def etcd_cluster(story: Story) -> str:
    """The id of the etcd cluster and of its only member; '' if it does not answer."""
    if not (MACHINES / story.name / "nodes" / story.node("cp")).exists():
        return ""
    answer = story.on(story.node("cp"), *ETCDCTL, "member", "list", "-w", "json", check=False)
    if not answer:
        return ""
    found = json.loads(answer)
    (member,) = found["members"]
    return f"{found['header']['cluster_id']} {member['ID']}"


def leftovers(story: Story) -> list[str]:
    """Half-written things, here and on the nodes."""
    here = [*story.record.rglob(".*"), *(MACHINES / story.name).rglob("nodes/.*")]
    folders = ("/etc", "/opt", "/usr/local", "/var/lib/anykube")
    search = ("find", *folders, "-name", "*.anykube-new", "-o", "-name", "*.new")
    there = [f"{node}: {path}" for node in story.nodes for path in story.on(node, *search).splitlines()]
    return [*map(str, here), *there]


@pytest.mark.parametrize("moments", MOMENTS, ids=lambda moments: f"seed {SEED}: {moments}")
def test_killed_in_every_phase_then_finished(fresh: Story, moments: dict[str, int]) -> None:
    print(f"ANYKUBE_E2E_SEED={SEED}")
    authorities: list[str] = []
    clusters: list[str] = []
    for phase, event in moments.items():
        process = fresh.run_to(phase, event)
        kill(process)
        authorities += [authority(fresh)] if authority(fresh) else []
        clusters += [etcd_cluster(fresh)] if etcd_cluster(fresh) else []
    fresh.apply()
    fresh.must_be_settled()
    assert set(authorities) <= {authority(fresh)}
    assert set(clusters) <= {etcd_cluster(fresh)} != {""}
    assert fresh.ready_nodes() == set(fresh.nodes)
    assert leftovers(fresh) == []


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> Answer:
    """Send a signal and wait for the end."""
    started = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    return Answer(process.returncode, stdout, stderr, time.monotonic() - started)


def test_stopped_by_signals_and_started_twice(fresh: Story) -> None:
    """One bring-up with every way to stop it, in the order of its phases."""
    stopped = interrupt(fresh.run_to("provision", 2), signal.SIGINT)
    assert stopped.status == 130
    assert "Stopped. Nothing is half-written." in stopped.stderr
    assert "go on with: anykube apply" in stopped.stderr
    assert leftovers(fresh) == []

    terminated = interrupt(fresh.run_to("bootstrap", 4), signal.SIGTERM)
    assert terminated.status == 130
    assert "Nothing is half-written." in terminated.stderr
    assert leftovers(fresh) == []

    first = fresh.run_to("bootstrap", 2)
    second = fresh.apply(status=4)
    assert second.seconds < 5
    assert f"process {first.pid} " in second.stderr
    assert f"apply {fresh.name}" in second.stderr
    kill(first)

    fresh.apply()
    fresh.must_be_settled()
    assert leftovers(fresh) == []


def test_an_impatient_person_presses_twice(fresh: Story) -> None:
    process = fresh.run_to("bootstrap", 3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    stopped = interrupt(process, signal.SIGINT)
    assert stopped.status == 130
    assert stopped.seconds < 5
    assert "Traceback" not in stopped.stderr
    fresh.apply()
    fresh.must_be_settled()
    assert leftovers(fresh) == []
