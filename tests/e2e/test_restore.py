"""A cluster goes back to an archive: on its machines, killed, taken back, then on other ones; and is adopted.

What was written before the archive is there, what was written later is not; Namespaces and Nodes are the same
ones; every node is Ready, DNS answers on each, and there is nothing left to do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.names import resolve
from tests.e2e.shapes import STACKED
from tests.e2e.story import CONTROL_PLANE, Object, Story, eventually, kill, worker
from tests.e2e.wire import init_process

from anykube.backup.age import new_identity
from anykube.content.paths import ETCD

pytestmark = pytest.mark.e2e
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
BEFORE, LATER = "written-before", "written-later"


@pytest.fixture(scope="module")
def cluster(story: Story) -> Iterator[Story]:
    """A control plane and a worker, with backups that a key of age can read."""
    (story.folder / "identity").write_bytes(new_identity().reveal() + b"\n")
    story.write(worker(), backup={})
    story.apply()
    yield story


@pytest.fixture(scope="module")
def archive(cluster: Story) -> Iterator[Path]:
    """An archive, with something written before it and something later. Its key is the cluster's own."""
    cluster.kubectl("create", "configmap", BEFORE)
    said = cluster.run("backup", "create", "-c", cluster.name, "--to", str(cluster.folder / "archives"))
    key = cluster.run("backup", "key", "-c", cluster.name).stdout
    identity(cluster).write_text(key)
    cluster.kubectl("create", "configmap", LATER)
    yield Path(said.stdout.strip())


def identity(story: Story) -> Path:
    return story.folder / "key"


def written(story: Story) -> set[str]:
    """What the story wrote."""
    found = {thing["metadata"]["name"] for thing in story.objects("configmaps", "-n", "default")}
    return found & {BEFORE, LATER}


def uids(story: Story) -> dict[str, str]:
    """Who is who: the cluster by its namespace kube-system, and its Nodes."""
    things: list[Object] = [*story.objects("nodes"), *story.objects("namespaces")]
    return {
        thing["metadata"]["name"]: thing["metadata"]["uid"]
        for thing in things
        if thing["kind"] == "Node" or thing["metadata"]["name"] == "kube-system"
    }


def restore(story: Story, *arguments: str, status: int = 0) -> str:
    return story.run("restore", *arguments, "--yes", status=status).stderr


def must_be_well(story: Story) -> None:
    """All nodes Ready, names found on each, no pod on a machine that is no more, nothing to do."""
    nodes = set(story.nodes)
    eventually(lambda: "" if story.ready_nodes() == nodes else f"Ready: {story.ready_nodes()}")
    assert {thing["metadata"]["name"] for thing in story.objects("nodes")} == nodes
    bound = {pod["spec"].get("nodeName") for pod in story.objects("pods", "-A")}
    assert bound <= nodes, bound
    for node in nodes:
        process = init_process(story, node)
        eventually(lambda process=process: _unresolved(process))  # type: ignore[misc]
    must_be_at_rest(story)


def must_be_at_rest(story: Story) -> None:
    """Not `must_be_settled`: a backup that is scheduled may be yet to come."""
    assert "0 changes" in story.apply().stderr


def _unresolved(process: int) -> str:
    try:
        resolve(process)
    except (OSError, AssertionError) as error:
        return f"DNS: {error!r}"
    return ""


def kill_at(story: Story, event: str, step: str, *arguments: str) -> None:
    """Begin a restore, and kill it there."""
    process = story.begin("restore", *arguments, "--yes", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        happened = json.loads(line)
        if (happened["type"], happened.get("step")) == (event, step):
            break
    else:
        raise AssertionError(process.communicate()[1])
    kill(process)


def test_what_cannot_be_restored_is_refused_and_nothing_happens(cluster: Story, archive: Path) -> None:
    content = archive.read_bytes()
    cut = cluster.folder / "cut.age"
    cut.write_bytes(content[:-100])
    assert "cut off, altered" in restore(cluster, str(cut), "--identity", str(identity(cluster)), status=1)
    other = restore(cluster, str(archive), "--identity", str(cluster.folder / "identity"), status=1)
    assert "encrypted for somebody else" in other
    assert written(cluster) == {BEFORE, LATER}
    must_be_at_rest(cluster)


def test_killed_and_taken_back(cluster: Story, archive: Path) -> None:
    before = uids(cluster)
    node = cluster.node("cp")
    kill_at(cluster, "StepDone", f"{node}/recover", str(archive), "--identity", str(identity(cluster)))
    assert "A restore of" in cluster.apply(status=1).stderr
    restore(cluster, "--abort", "-c", cluster.name)
    assert written(cluster) == {BEFORE, LATER}
    assert uids(cluster) == before
    must_be_well(cluster)


def test_killed_and_run_again(cluster: Story, archive: Path) -> None:
    before = uids(cluster)
    node = cluster.node("cp")
    kill_at(cluster, "StepStarted", f"{node}/recover", str(archive))
    restore(cluster, "-c", cluster.name)
    assert written(cluster) == {BEFORE}
    assert uids(cluster) == before
    assert "aside-" in cluster.on(node, "ls", ETCD)
    must_be_well(cluster)


def test_the_record_is_lost_and_the_cluster_adopted(cluster: Story, archive: Path) -> None:
    lost = cluster.folder / "lost"
    cluster.record.rename(lost)
    said = cluster.run("adopt", "--from", str(archive), "--identity", str(identity(cluster))).stderr
    assert "0 changes" in said
    must_be_at_rest(cluster)

    # Once more without an archive, from what the last apply sealed on the node itself.
    shutil.rmtree(lost)
    cluster.record.rename(lost)
    address = cluster.address(cluster.node("cp"))
    key = lost / "secrets" / "ssh.ssh-key"
    host_key = cluster.on(cluster.node("cp"), "ssh-keygen", "-y", "-f", HOST_KEY).strip()
    place = ("--node", f"root@{address}", "--key", str(key), "--host-key", host_key)
    assert "0 changes" in cluster.run("adopt", *place, "--identity", str(identity(cluster))).stderr
    must_be_at_rest(cluster)


def test_other_machines_and_another_topology(cluster: Story, archive: Path) -> None:
    before = uids(cluster)
    cluster.destroy()
    pool = {**CONTROL_PLANE, "roles": [*STACKED, "worker"], "count": 3}
    provider = {"provider": {"lxc": {}}, "pools": [pool]}
    cluster.write(machines=provider, backup={})
    restore(cluster, str(archive), "--identity", str(identity(cluster)), "-f", str(cluster.file))
    assert written(cluster) == {BEFORE}
    after = uids(cluster)
    node = cluster.node("cp")
    assert (after["kube-system"], after[node]) == (before["kube-system"], before[node])
    assert len(cluster.nodes) == 3
    must_be_well(cluster)
