"""A drain against a real API server. Kubelets are played by the test: a pod ends when it says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from anykube.addons.rbac import DRAIN_ANNOTATION
from anykube.errors import WaitError
from anykube.facts.kubernetes import PodFacts
from anykube.kube.client import KubeClient
from anykube.kube.drain import drain, uncordon
from anykube.observe.kubernetes import observe_kubernetes

NODE = "drained"
NAMESPACE = "draining"
REF = f"Node//{NODE}"


async def send(
    client: KubeClient, method: str, path: str, body: Any, media_type: str = "application/json"
) -> Any:
    answer = await client._connection.send(
        method, path, content=json.dumps(body).encode(), media_type=media_type
    )
    assert answer.status in (200, 201, 202), answer.body
    return json.loads(answer.body)


async def set_status(client: KubeClient, path: str, **status: Any) -> None:
    await send(client, "PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")


async def ready(client: KubeClient, status: str) -> None:
    await set_status(client, f"/api/v1/nodes/{NODE}", conditions=[{"type": "Ready", "status": status}])


async def make_pod(
    client: KubeClient, name: str, *, grace: int = 0, owner: str = "", phase: str = "Running", **extra: Any
) -> None:
    metadata: dict[str, Any] = {"name": name, "labels": {"app": name.split("-")[0]}, **extra}
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "1", "controller": True}
        metadata["ownerReferences"] = [reference]
    spec = {
        "nodeName": NODE,
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "x"}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    await send(client, "POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
    # A pod that is not Ready may be evicted as long as the budget's healthy pods are enough.
    well = [{"type": "Ready", "status": "True"}]
    await set_status(client, f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", phase=phase, conditions=well)


async def make_budget(client: KubeClient, name: str, allowed: int) -> None:
    path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": spec,
    }
    await send(client, "POST", path, budget)
    await allow(client, name, allowed)


async def allow(client: KubeClient, name: str, allowed: int) -> None:
    """As the disruption controller would say it."""
    path = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{name}"
    counts = {"currentHealthy": 1 + allowed, "desiredHealthy": 1, "expectedPods": 1 + allowed}
    await set_status(client, path, disruptionsAllowed=allowed, observedGeneration=1, **counts)


async def remaining(client: KubeClient) -> set[str]:
    pods = await client.list_objects("Pod", namespace=NAMESPACE)
    return {pod["metadata"]["name"] for pod in pods}


async def node(client: KubeClient) -> Any:
    found = await client.get(REF)
    assert found
    return found


@pytest.fixture
async def cluster(client: KubeClient) -> AsyncIterator[KubeClient]:
    """A Ready node with nothing on it, and a namespace."""
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": NAMESPACE},
    }
    await client.apply(account)
    await send(
        client, "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    )
    await ready(client, "True")
    yield client
    for pod in await remaining(client):
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}"
        await send(client, "PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        await client._connection.send("DELETE", path, parameters={"gracePeriodSeconds": "0"})
    for budget in await client.list_objects("PodDisruptionBudget", namespace=NAMESPACE):
        await client.delete(f"PodDisruptionBudget/{NAMESPACE}/{budget['metadata']['name']}")
    await client.delete(REF)


async def test_pods_go_and_those_of_the_node_itself_stay(cluster: KubeClient) -> None:
    await make_pod(cluster, "web-1", owner="ReplicaSet")
    await make_pod(cluster, "alone")
    await make_pod(cluster, "daemon", owner="DaemonSet")
    await make_pod(cluster, "finished", phase="Succeeded")
    await make_pod(cluster, "static", annotations={"kubernetes.io/config.mirror": "x"})
    told: list[tuple[int, int]] = []
    await drain(cluster, NODE, 20, "7", lambda gone, met: told.append((gone, met)))
    assert await remaining(cluster) == {"daemon", "finished", "static"}
    assert told[-1] == (2, 2)
    found = await node(cluster)
    assert found["spec"]["unschedulable"] is True
    assert found["metadata"]["annotations"][DRAIN_ANNOTATION] == "7"
    await uncordon(cluster, NODE)
    found = await node(cluster)
    assert "unschedulable" not in found["spec"]
    assert DRAIN_ANNOTATION not in found["metadata"].get("annotations", {})


async def test_a_budget_is_kept_named_and_the_node_given_back(cluster: KubeClient) -> None:
    await make_pod(cluster, "web-1", owner="ReplicaSet")
    await make_pod(cluster, "other")
    await make_budget(cluster, "web", 0)
    with pytest.raises(WaitError) as error:
        await drain(cluster, NODE, 1.5, "7")
    assert error.value.evidence == (
        f"{NAMESPACE}/web-1 is held by PodDisruptionBudget {NAMESPACE}/web (1 healthy, 1 needed)",
    )
    assert "it takes pods again" in error.value.brief
    assert await remaining(cluster) == {"web-1"}
    assert "unschedulable" not in (await node(cluster))["spec"]


async def test_it_goes_on_as_soon_as_the_budget_allows(cluster: KubeClient) -> None:
    await make_pod(cluster, "web-1", owner="ReplicaSet")
    await make_budget(cluster, "web", 0)
    running = asyncio.ensure_future(drain(cluster, NODE, 30, "7"))
    await asyncio.sleep(1)
    assert await remaining(cluster) == {"web-1"}
    await allow(cluster, "web", 1)
    await running
    assert await remaining(cluster) == set()


async def test_a_pod_that_does_not_end_is_named(cluster: KubeClient) -> None:
    await make_pod(cluster, "slow", grace=60)
    await make_pod(cluster, "held", finalizers=["example.com/hold"])
    with pytest.raises(WaitError) as error:
        await drain(cluster, NODE, 1.5, "7")
    told = "\n".join(error.value.evidence)
    assert f"{NAMESPACE}/slow is ending" in told
    assert f"{NAMESPACE}/held is ending, and waits for its finalizers: example.com/hold" in told


async def test_what_a_person_cordoned_stays_cordoned(cluster: KubeClient) -> None:
    await cluster.merge(REF, {"spec": {"unschedulable": True}})
    await make_pod(cluster, "slow", grace=60)
    with pytest.raises(WaitError) as error:
        await drain(cluster, NODE, 0.1, "7")
    assert "takes pods again" not in error.value.brief
    await uncordon(cluster, NODE)
    assert (await node(cluster))["spec"]["unschedulable"] is True


async def test_a_node_whose_kubelet_is_silent_is_not_waited_for(cluster: KubeClient) -> None:
    await make_pod(cluster, "web-1", grace=60)
    running = asyncio.ensure_future(drain(cluster, NODE, 30, "7"))
    await asyncio.sleep(1)
    assert not running.done()
    await ready(cluster, "Unknown")
    await asyncio.wait_for(running, 5)
    await drain(cluster, "no-such-node", 5, "7")


async def test_the_forecast_reads_pods_of_leaving_nodes_only(cluster: KubeClient) -> None:
    await make_pod(cluster, "web-1", owner="ReplicaSet")
    await make_pod(cluster, "daemon", owner="DaemonSet")
    await make_budget(cluster, "web", 0)
    nobody = await observe_kubernetes(cluster, (), ())
    assert (nobody.pods_on, nobody.budgets) == ({}, {})
    facts = await observe_kubernetes(cluster, (), (), lambda found: found.name == NODE)
    budget = f"{NAMESPACE}/web"
    assert facts.pods_on == {NODE: (PodFacts(f"{NAMESPACE}/web-1", "ReplicaSet", budgets=(budget,)),)}
    assert facts.budgets[budget] == 0
