"""What we apply, edit by hand, delete and leave behind is seen as it is, on a real API server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from anykube.addons.catalog import objects, workloads
from anykube.addons.references import Object, collection_path, parse, reference
from anykube.errors import KubeBusyError, KubeError
from anykube.facts.kubernetes import KubernetesFacts, LeaseFacts, ObjectFacts
from anykube.kube import client as client_module
from anykube.kube.client import KubeClient
from anykube.observe.kubernetes import observe_kubernetes
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import nodes

if TYPE_CHECKING:
    from tests.contract.kube.conftest import ApiServer

pytestmark = pytest.mark.e2e

ENDPOINT = ApiEndpoint(EndpointKind.EXTERNAL, "10.81.0.11", 6443, ())
COREDNS = "Deployment/kube-system/coredns"


def cluster(**addons: Any) -> Cluster:
    """A cluster object with these addons."""
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"]},
        {"name": "worker", "roles": ["worker"], "labels": {"disk": "fast"}},
    ]
    spec = {
        "kubernetes": {"version": "1.36.3"},
        "machines": {"provider": {"lxc": {}}, "pools": pools},
        "addons": addons,
    }
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return Cluster.model_validate_json(json.dumps({**head, "spec": spec}))


FULL = cluster(dns={"replicas": 2}, metrics={})


def wanted(of: Cluster, *, labels_of_nodes: bool = False) -> list[Object]:
    """Every object of the cluster; Nodes need a kubelet, so they are left out unless asked for."""
    found = objects(of, nodes(of), ENDPOINT)
    return [item for addon, items in found.items() if labels_of_nodes or addon != "nodes" for item in items]


async def apply_all(client: KubeClient, things: Sequence[Mapping[str, Any]]) -> None:
    for thing in things:
        await client.apply(thing)


async def by_hand(client: KubeClient, method: str, path: str, body: object, kind: str = "merge-patch") -> int:
    """What a person does with another tool."""
    answer = await client._connection.send(
        method,
        path,
        parameters={"fieldManager": "a-person"},
        content=json.dumps(body).encode(),
        media_type="application/json" if method == "POST" else f"application/{kind}+json",
    )
    return answer.status


async def see(client: KubeClient, of: Cluster = FULL) -> KubernetesFacts:
    return await observe_kubernetes(client, wanted(of), workloads(of))


async def differences(client: KubeClient) -> dict[str, ObjectFacts]:
    """What is not as it should be."""
    right = ObjectFacts(present=True)
    return {name: found for name, found in (await see(client)).objects.items() if found != right}


async def test_what_was_applied_is_right_and_is_the_inventory(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    facts = await see(client)
    assert facts.ready
    assert facts.version == "v1.36.3"
    assert set(facts.objects.values()) == {ObjectFacts(present=True)}
    assert facts.inventory.keys() == {reference(thing) for thing in wanted(FULL)} == set(facts.objects)
    assert {name: (found.wanted, found.ready) for name, found in facts.workloads.items()} == {
        "DaemonSet/kube-flannel/kube-flannel": (1, 0),
        COREDNS: (2, 0),
        "Deployment/kube-system/metrics-server": (1, 0),
    }


@pytest.mark.parametrize("addons", [{"dns": {"replicas": 1}}, {"dns": None}, {"dns": {"replicas": 100}}])
async def test_other_options_are_valid_too(client: KubeClient, addons: dict[str, Any]) -> None:
    for thing in wanted(cluster(**addons)):
        await client.apply(thing, dry_run=True)


async def test_an_unknown_field_is_refused(client: KubeClient) -> None:
    thing = next(item for item in wanted(FULL) if item["kind"] == "Deployment")
    with pytest.raises(KubeError, match="field not declared in schema") as caught:
        await client.apply({**thing, "spec": {**thing["spec"], "replica": 2}})
    assert not caught.value.retryable


async def test_an_edit_by_hand_is_named_and_repaired(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    edit = {
        "spec": {"replicas": 7, "template": {"spec": {"containers": [{"name": "coredns", "image": "x"}]}}}
    }
    await by_hand(client, "PATCH", parse(COREDNS).path, edit, "strategic-merge-patch")
    await by_hand(
        client, "PATCH", parse("ConfigMap/kube-system/coredns").path, {"data": {"Corefile": "oops"}}
    )
    # Twice: to observe changes nothing.
    for _ in range(2):
        assert await differences(client) == {
            COREDNS: ObjectFacts(True, ("spec.replicas", "spec.template.spec.containers[coredns].image")),
            "ConfigMap/kube-system/coredns": ObjectFacts(True, ("data.Corefile",)),
        }
    await apply_all(client, wanted(FULL))
    assert await differences(client) == {}


async def test_labels_taken_away_are_seen(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    labels = {"anykube.dev/addon": None}
    await by_hand(client, "PATCH", parse(COREDNS).path, {"metadata": {"labels": labels}})
    facts = await see(client)
    assert facts.objects[COREDNS] == ObjectFacts(True, ("metadata.labels[anykube.dev/addon]",))
    await apply_all(client, wanted(FULL))
    assert await differences(client) == {}


async def test_what_was_deleted_is_absent(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    assert await client.delete(COREDNS)
    assert not await client.delete(COREDNS)
    assert await client.get(COREDNS) is None
    facts = await see(client)
    assert facts.objects[COREDNS] == ObjectFacts(present=False)
    assert COREDNS not in facts.inventory
    assert COREDNS not in facts.workloads


async def test_an_addon_turned_off_stays_in_the_inventory_until_deleted(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    less = cluster(dns={"replicas": 1}, metrics=None)
    kept = {reference(thing) for thing in wanted(less)}
    inventory = (await see(client, less)).inventory
    surplus = inventory.keys() - kept
    gone = {reference(thing) for thing in wanted(FULL)} - kept
    assert surplus == gone
    assert {inventory[name] for name in surplus} >= {"metrics"}
    assert "PodDisruptionBudget/kube-system/coredns" in surplus
    assert "APIService//v1beta1.metrics.k8s.io" in surplus
    for name in surplus:
        await client.delete(name)
    assert (await see(client, less)).inventory.keys() == kept


async def test_a_copy_that_a_person_made_is_not_ours(client: KubeClient) -> None:
    labels = {"app.kubernetes.io/managed-by": "anykube", "anykube.dev/addon": "dns"}
    copy = {"metadata": {"name": "copy", "labels": labels}}
    assert await by_hand(client, "POST", collection_path("ConfigMap", "default"), copy) == 201
    try:
        assert "ConfigMap/default/copy" not in (await see(client)).inventory
    finally:
        await client.delete("ConfigMap/default/copy")


async def test_a_dry_run_changes_nothing(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    thing = next(item for item in wanted(FULL) if reference(item) == COREDNS)
    before = await client.get(COREDNS)
    changed = await client.apply({**thing, "spec": {**thing["spec"], "replicas": 9}}, dry_run=True)
    assert changed["spec"]["replicas"] == 9
    assert await client.get(COREDNS) == before
    await client.delete(COREDNS)
    await client.apply(thing, dry_run=True)
    assert await client.get(COREDNS) is None


async def test_what_cannot_be_changed_back_is_reported_as_refused(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    await client.delete(COREDNS)
    thing = next(item for item in wanted(FULL) if reference(item) == COREDNS)
    other = json.loads(json.dumps(thing).replace('"k8s-app": "kube-dns"', '"k8s-app": "mine"'))
    assert await by_hand(client, "POST", collection_path("Deployment", "kube-system"), other) == 201
    try:
        (found,) = (await see(client)).objects[COREDNS].differences
        assert found.startswith("refused: ")
        assert "field is immutable" in found
    finally:
        await client.delete(COREDNS)


async def test_a_node_belongs_to_its_kubelet(client: KubeClient) -> None:
    *_, worker = wanted(FULL, labels_of_nodes=True)
    name = worker["metadata"]["name"]
    with pytest.raises(KubeBusyError, match="has not registered"):
        await client.apply(worker)
    assert name not in await client.nodes()
    assert not await client.node_ready(name)
    node = {"metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64"}}}
    assert await by_hand(client, "POST", collection_path("Node"), node) == 201
    try:
        await client.apply(worker)
        facts = await observe_kubernetes(client, [worker], ())
        assert facts.objects == {f"Node//{name}": ObjectFacts(present=True)}
        assert not facts.nodes[name].ready
        assert f"Node//{name}" not in facts.inventory
        found = await client.get(f"Node//{name}")
        assert found is not None
        assert found["metadata"]["labels"] == {
            "kubernetes.io/arch": "amd64",
            "node-role.kubernetes.io/worker": "",
            "anykube.dev/pool": "worker",
            "disk": "fast",
        }
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await by_hand(client, "PATCH", f"{parse(f'Node//{name}').path}/status", ready)
        assert await client.node_ready(name)
    finally:
        await client.delete(f"Node//{name}")


async def test_a_node_that_vanishes_meanwhile_is_not_made_again(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, worker = wanted(FULL, labels_of_nodes=True)
    name = reference(worker)
    await by_hand(client, "POST", collection_path("Node"), {"metadata": worker["metadata"]})
    found = await client.get(name)
    await client.delete(name)
    with monkeypatch.context() as patch:
        patch.setattr(client, "get", lambda _name: asyncio.sleep(0, found))
        with pytest.raises(KubeBusyError, match="uid"):
            await client.apply(worker)
    assert await client.get(name) is None


async def test_a_workload_is_ready_when_its_pods_of_now_are(client: KubeClient) -> None:
    await client.delete(COREDNS)
    await apply_all(client, wanted(FULL))
    assert not await client.workload_ready(COREDNS)
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    await by_hand(client, "PATCH", f"{parse(COREDNS).path}/status", {"status": status})
    assert await client.workload_ready(COREDNS)
    await by_hand(client, "PATCH", parse(COREDNS).path, {"spec": {"paused": True}})
    assert not await client.workload_ready(COREDNS)
    assert not await client.workload_ready("DaemonSet/default/absent")
    with pytest.raises(KubeError, match="not a workload"):
        await client.workload("ConfigMap/kube-system/coredns")


async def test_a_namespace_on_its_way_out_is_worth_another_try(client: KubeClient) -> None:
    # No controller runs here, so the namespace stays 'Terminating'.
    await by_hand(client, "POST", collection_path("Namespace"), {"metadata": {"name": "leaving"}})
    await client.delete("Namespace//leaving")
    metadata = {"name": "late", "namespace": "leaving"}
    with pytest.raises(KubeBusyError, match="terminated"):
        await client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def test_a_namespace_that_is_not_there_yet_is_worth_another_try(client: KubeClient) -> None:
    metadata = {"name": "early", "namespace": "not-yet"}
    with pytest.raises(KubeBusyError, match='namespaces "not-yet" not found'):
        await client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def test_long_lists_come_whole(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await client.list_objects("ClusterRole")
    monkeypatch.setattr(client_module, "PAGE", 7)
    paged = await client.list_objects("ClusterRole")
    assert len(paged) > 50
    assert [reference(item) for item in paged] == [reference(item) for item in whole]
    monkeypatch.setattr(client_module, "PAGES", 3)
    with pytest.raises(KubeError, match="no end"):
        await client.list_objects("ClusterRole")


async def test_pods(client: KubeClient) -> None:
    assert isinstance(await client.pods(), tuple)


async def test_who_leads_is_in_the_leases(client: KubeClient) -> None:
    assert (await see(client)).leases == {}
    lease = {
        "metadata": {"name": "kube-scheduler"},
        "spec": {"holderIdentity": "demo-cp-2_1c7f", "renewTime": "2026-11-20T21:00:00.123456Z"},
    }
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    assert await by_hand(client, "POST", leases, lease) == 201
    renewed = datetime(2026, 11, 20, 21, 0, 0, 123456, tzinfo=UTC)
    assert (await see(client)).leases == {"kube-scheduler": LeaseFacts("demo-cp-2", renewed)}
    assert await client.delete("Lease/kube-system/kube-scheduler")


async def test_an_observation_is_quick(client: KubeClient) -> None:
    await apply_all(client, wanted(FULL))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        facts = await see(client)
        times.append(time.perf_counter() - start)
        assert len(facts.objects) == len(wanted(FULL)) >= 20
    print("seconds per observation:", [round(seconds, 3) for seconds in times])
    assert min(times) < 1.0


async def test_many_applies_at_once(client: KubeClient) -> None:
    await asyncio.gather(*(client.apply(thing) for thing in wanted(FULL) * 3))
    assert await differences(client) == {}


async def test_we_are_a_stranger_to_the_api_server(api_server: ApiServer) -> None:
    async with api_server.client(identity="stranger") as client:
        with pytest.raises(KubeError, match="status 401"):
            await client.get(COREDNS)


async def test_without_the_right_the_message_says_which(api_server: ApiServer) -> None:
    async with api_server.client(identity="nobody") as client:
        with pytest.raises(KubeError, match='User "nobody" cannot get resource "deployments"') as caught:
            await client.get(COREDNS)
        assert not caught.value.retryable


async def test_an_object_is_stored_anew_and_its_content_stays_there(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 2)
    names = [f"ConfigMap/default/secret-{number}" for number in range(5)]
    for name in names:
        metadata = {"name": parse(name).name, "namespace": "default"}
        await client.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"word": "xyzzy"}}
        )
    before = await client.get(names[0])
    assert before
    listed = await client.list_objects("ConfigMap", namespace="default", accept=client_module.METADATA_LIST)
    assert not any("data" in item for item in listed)
    assert set(names) <= set(await client.names("ConfigMap"))
    assert await client.touch(names[0])
    assert await client.get(names[0]) == before, "nothing changed, so nothing is written"
    assert not await client.touch("ConfigMap/default/none")
    for name in names:
        await client.delete(name)
