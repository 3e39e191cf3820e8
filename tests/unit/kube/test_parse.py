"""API objects, also those that lack nearly everything, into facts."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest

from anykube.facts.kubernetes import LeaseFacts, NodeFacts, WorkloadFacts
from anykube.kube.connection import printable
from anykube.kube.parse import (
    PodSummary,
    lease_facts,
    node_facts,
    pod_summary,
    request_cas,
    root_ca_digest,
    workload_facts,
)


def deployment(wanted: int, generation: int = 1, **status: int) -> dict[str, Any]:
    metadata = {"name": "a", "generation": generation}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": wanted}, "status": status}


def daemon_set(generation: int = 1, **status: int) -> dict[str, Any]:
    return {"kind": "DaemonSet", "metadata": {"name": "a", "generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("thing", "wanted", "ready"),
    [
        (deployment(2), 2, 0),
        (deployment(2, observedGeneration=1, replicas=2, updatedReplicas=2, readyReplicas=2), 2, 2),
        (deployment(2, observedGeneration=1, replicas=2, updatedReplicas=2, readyReplicas=1), 2, 1),
        # A new template: the controller has not seen it; then two old ready pods and one new that is not.
        (deployment(2, 2, observedGeneration=1, replicas=2, updatedReplicas=2, readyReplicas=2), 2, 0),
        (deployment(2, 2, observedGeneration=2, replicas=3, updatedReplicas=1, readyReplicas=2), 2, 0),
        (deployment(2, 2, observedGeneration=2, replicas=3, updatedReplicas=2, readyReplicas=3), 2, 2),
        (deployment(0, observedGeneration=1), 0, 0),
        # The controller of a new DaemonSet has not counted nodes yet: that is not 'zero of zero, ready'.
        (daemon_set(), 1, 0),
        (
            daemon_set(
                observedGeneration=1,
                desiredNumberScheduled=3,
                currentNumberScheduled=3,
                updatedNumberScheduled=3,
                numberReady=3,
            ),
            3,
            3,
        ),
        (
            daemon_set(
                generation=2,
                observedGeneration=2,
                desiredNumberScheduled=3,
                currentNumberScheduled=3,
                updatedNumberScheduled=1,
                numberReady=2,
            ),
            3,
            0,
        ),
    ],
)
def test_workloads(thing: dict[str, Any], wanted: int, ready: int) -> None:
    assert workload_facts(thing) == WorkloadFacts(wanted, ready)


def test_nodes() -> None:
    conditions = [
        {"type": "MemoryPressure", "status": "True"},
        {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no network"},
    ]
    info = {"kubeletVersion": "v1.36.3"}
    thing = {
        "metadata": {"name": "a"},
        "spec": {"unschedulable": True},
        "status": {"conditions": conditions, "nodeInfo": info},
    }
    assert node_facts(thing) == NodeFacts("a", False, "v1.36.3", True, "KubeletNotReady: no network")
    conditions[1] = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    assert node_facts(thing) == NodeFacts("a", True, "v1.36.3", True, "")
    conditions[1] = {"type": "Ready", "status": "Unknown", "message": "x" * 10_000}
    assert len(node_facts(thing).reason) == 300
    bare = node_facts({"metadata": {"name": "a"}})
    assert bare == NodeFacts("a", False, "", False, "its kubelet has not reported yet")


def test_pods() -> None:
    waiting = {"ready": False, "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    thing = {
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"nodeName": "n", "containers": [{}, {}]},
        "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 1}, waiting]},
    }
    assert pod_summary(thing) == PodSummary("b", "a", "n", "Running", 1, 2, 5, "CrashLoopBackOff")
    assert pod_summary({"metadata": {"name": "a"}}) == PodSummary("", "a", "", "Unknown", 0, 0, 0, "")


def test_remote_text_cannot_play_with_the_terminal() -> None:
    assert printable("a\x1b[31mb\r\n\tc\u202e\x00") == "a [31mb c"
    assert len(printable("x" * 10**6)) == 1000


RENEWED = "2026-11-20T21:00:00.123456Z"


def test_the_holder_of_a_lease_is_a_node() -> None:
    holder = "demo-cp-1_6f0e4a4c-3b0e-4f6a-9a53-1c7f3f4d7e1b"
    lease = {"spec": {"holderIdentity": holder, "renewTime": RENEWED}}
    moment = datetime(2026, 11, 20, 21, 0, 0, 123456, tzinfo=UTC)
    assert lease_facts(lease) == LeaseFacts("demo-cp-1", moment)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"holderIdentity": None, "renewTime": RENEWED},
        {"holderIdentity": "", "renewTime": RENEWED},
        {"holderIdentity": "demo-cp-1", "renewTime": RENEWED},
        {"holderIdentity": "demo-cp-1_a"},
        {"holderIdentity": "demo-cp-1_a", "renewTime": "yesterday"},
        {"holderIdentity": "demo-cp-1_a", "renewTime": "2026-11-20T21:00:00"},
    ],
)
def test_a_lease_that_nobody_holds(spec: dict[str, Any] | None) -> None:
    assert lease_facts({"spec": spec} if spec is not None else {}) is None


def test_what_pods_and_aggregated_servers_trust() -> None:
    first, second = b"first certificate", b"another one, a little longer than the first"
    pems = [ssl.DER_cert_to_PEM_cert(der) for der in (first, second)]
    bundle = "".join(pems)
    root = {"data": {"ca.crt": bundle}}
    assert root_ca_digest(root) == hashlib.sha256(bundle.encode()).hexdigest()
    assert root_ca_digest({}) != root_ca_digest(root)
    config = {"data": {"client-ca-file": bundle, "requestheader-client-ca-file": pems[0], "other": "x"}}
    assert request_cas(config) == {hashlib.sha256(der).hexdigest() for der in (first, second)}
    assert request_cas({}) == frozenset()
