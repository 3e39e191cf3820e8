"""Lost quorum: etcd is recovered from the survivor, and from a snapshot; killed in the middle, run again.

What was acknowledged before is still there, the members are three again, old data is kept aside.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator

import pytest
from tests.e2e.shapes import STACKED
from tests.e2e.story import MACHINES, VERSION, Story, eventually, kill

from anykube.content.paths import ETCD
from anykube.facts.probe_script import ETCD_CLIENT

pytestmark = pytest.mark.e2e
WRITTEN = 15
SNAPSHOT = "/root/snapshot.db"


@pytest.fixture(scope="module")
def cluster(story: Story) -> Iterator[Story]:
    """Three machines with all roles, and objects in them."""
    pool = {"name": "cp", "roles": [*STACKED, "worker"], "count": 3}
    story.write(kubernetes={"version": VERSION}, machines={"provider": {"lxc": {}}, "pools": [pool]})
    story.apply()
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"written-{number}"},
            "data": {"number": str(number)},
        }
        for number in range(WRITTEN)
    ]
    story.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    yield story


def etcdctl(story: Story, node: str, *arguments: str) -> str:
    """Ask the member of a node."""
    return story.on(node, *shlex.split(ETCD_CLIENT), *arguments)


def written(story: Story) -> dict[str, str]:
    """The objects of the writer, name and value."""
    return {
        thing["metadata"]["name"]: thing["data"]["number"]
        for thing in story.objects("configmaps", "-n", "default")
        if thing["metadata"]["name"].startswith("written-")
    }


def must_be_whole(story: Story) -> None:
    """Three voters that hold the same, everything that was acknowledged, and nothing to do."""
    expected = {f"written-{number}": str(number) for number in range(WRITTEN)}
    assert written(story) == expected
    story.must_be_settled()
    members = json.loads(etcdctl(story, story.node("cp"), "member", "list"))["members"]
    assert {member["name"] for member in members} == set(story.nodes)
    assert not [member for member in members if member.get("isLearner")]

    def differ() -> str:
        hashes = {
            node: json.loads(etcdctl(story, node, "endpoint", "hashkv"))[0]["HashKV"] for node in story.nodes
        }
        same = {(answer["header"]["cluster_id"], answer["hash"]) for answer in hashes.values()}
        return "" if len(same) == 1 else str(hashes)

    eventually(differ)


def aside(story: Story, node: str) -> list[str]:
    """What is kept of earlier members of a node."""
    return [name for name in story.on(node, "ls", ETCD).split() if name.startswith("aside-")]


def recover(story: Story, *arguments: str, status: int = 0) -> str:
    """Anykube recover."""
    return story.run("recover", *arguments, "-c", story.name, "--yes", status=status).stderr


def lose(story: Story, node: str) -> None:
    """Power off a machine, and take the data of its member away."""
    story.power_off(node)
    disk = MACHINES / story.name / "nodes" / node / "disks" / "etcd"
    for path in disk.iterdir():
        shutil.rmtree(path)


def test_a_quorum_is_left_alone(cluster: Story) -> None:
    said = recover(cluster, cluster.node("cp"), status=1)
    assert "There is nothing to recover: etcd has its quorum" in said
    cluster.must_be_settled()


def test_from_the_survivor(cluster: Story) -> None:
    survivor, *others = cluster.nodes
    uid = cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    for node in others:
        lose(cluster, node)

    said = recover(cluster, survivor, status=1)
    assert "second cluster" in said
    assert f"--lost {others[0]} --lost {others[1]}" in said

    # It starts the machines; that is all it may do by itself.
    said = cluster.run("apply", "-c", cluster.name, "--yes", status=None).stderr
    assert "anykube recover" in said, said
    listed = json.loads(etcdctl(cluster, survivor, "member", "list", "--consistency=s"))["members"]
    assert {member["name"] for member in listed} == set(cluster.nodes)

    process = cluster.begin("recover", survivor, "-c", cluster.name, "--yes", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "StepStarted" and event["step"] == f"{survivor}/recover":
            break
    kill(process)
    recover(cluster, survivor)

    must_be_whole(cluster)
    assert aside(cluster, survivor)
    found = cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert found == uid
    assert cluster.ready_nodes() == set(cluster.nodes)


def test_from_a_snapshot(cluster: Story) -> None:
    first, chosen, _ = cluster.nodes
    etcdctl(cluster, first, "snapshot", "save", SNAPSHOT, "--command-timeout=30s")
    content = cluster.on(first, "cat", SNAPSHOT).encode("latin-1")
    cluster.kubectl("create", "configmap", "written-later", "--from-literal=number=later")
    for node in cluster.nodes:
        cluster.on(node, "sh", "-c", f"systemctl kill -s KILL etcd; mv {ETCD}/member {ETCD}/lost")
        cluster.on(node, "sh", "-c", "systemctl kill -s KILL etcd", check=False)
    cluster.on(chosen, "sh", "-c", f"cat >{SNAPSHOT}", stdin=content[:-100])

    assert "the snapshot" in recover(cluster, chosen, "--snapshot", SNAPSHOT, status=3)
    stopped = "systemctl is-active kube-apiserver"
    assert cluster.on(chosen, "sh", "-c", stopped, check=False).strip() == "active", "it was not left alone"

    cluster.on(chosen, "sh", "-c", f"cat >{SNAPSHOT}", stdin=content)
    recover(cluster, chosen, "--snapshot", SNAPSHOT)
    must_be_whole(cluster)
    revision = int(
        json.loads(etcdctl(cluster, first, "endpoint", "status"))[0]["Status"]["header"]["revision"]
    )
    assert revision > 1_000_000_000, "revisions that clients have seen come again"
    eventually(lambda: "" if cluster.ready_nodes() == set(cluster.nodes) else "not all are Ready")
