"""Topologies that the stories of high availability ask for, and who leads etcd in them."""

from __future__ import annotations

from tests.e2e.proof import Proof
from tests.e2e.story import VERSION, Answer, Object, Story, eventually, worker

STACKED = ("control-plane", "etcd")


def shape(story: Story, planes: int, workers: int = 1, etcd: int = 0) -> None:
    """Write the object: so many control planes, with etcd on them, or on so many machines of its own."""
    roles = ["control-plane"] if etcd else [*STACKED]
    pools: list[Object] = [{"name": "cp", "roles": roles, "count": planes}]
    if etcd:
        pools.append({"name": "etcd", "roles": ["etcd"], "count": etcd})
    pools.append(worker(workers))
    machines = {"provider": {"lxc": {}}, "pools": pools}
    story.write(kubernetes={"version": VERSION}, machines=machines)


def shaped(proof: Proof, planes: int, workers: int = 1, etcd: int = 0) -> Story:
    """The story with its cluster in this shape and in order; usually the test before left it so."""
    shape(proof.story, planes, workers, etcd)
    proof.story.apply()
    return proof.story


def replace_node(story: Story, node: str, *, status: int | None = 0) -> Answer:
    """Anykube replace NODE."""
    return story.run("replace", node, "-f", str(story.file), "--yes", status=status)


def lead_from(proof: Proof, node: str) -> None:
    """Have this node's member lead."""
    members = proof.members
    target = members.status(node)["header"]["member_id"]
    if (old := members.leader()) != node:
        members.call(old, "maintenance/transfer-leadership", targetID=target)
    eventually(lambda: "" if members.leader() == node else "another leads", 20)
