"""Someone changed things by hand: plan says what and why, apply repairs exactly that and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.e2e.story import Story, lines, worker

pytestmark = pytest.mark.e2e

KUBELET_UNIT = "/etc/systemd/system/kubelet.service"
CERTIFICATE = "/etc/kubernetes/pki/scheduler.crt"
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"


@dataclass(frozen=True, slots=True)
class Damage:
    """What was done by hand on a node, the changes that plan must show, and the units that restart for it.

    `suffers` are units that may end by themselves for what was done.
    """

    name: str
    pool: str
    done: str
    shown: tuple[str, ...]
    restarts: tuple[str, ...] = ()
    suffers: tuple[str, ...] = ()


ROUNDS = (
    (
        Damage(
            "an edited unit file",
            "worker",
            f"echo '# edited' >>{KUBELET_UNIT}",
            (
                f"update file {KUBELET_UNIT} (edited on the node)",
                "restart unit kubelet.service (its unit file changed on the node)",
            ),
            ("kubelet.service",),
        ),
        Damage(
            "a stopped service",
            "worker",
            "systemctl stop kube-proxy",
            ("restart unit kube-proxy.service (is inactive)",),
            ("kube-proxy.service",),
        ),
        Damage(
            "a deleted file",
            "worker",
            "rm /opt/cni/bin/portmap",
            ("create file /opt/cni/bin/portmap (missing)",),
        ),
        Damage(
            "a key that all may read",
            "cp",
            "chmod 644 /etc/kubernetes/pki/apiserver.key",
            ("update file /etc/kubernetes/pki/apiserver.key (mode is 644, should be 600)",),
        ),
    ),
    (
        Damage(
            "an edited configuration that is in use",
            "worker",
            f"sed -i 's/^maxPods:.*/maxPods: 7/' {KUBELET_CONFIG} && systemctl restart kubelet",
            (
                f"update file {KUBELET_CONFIG} (edited on the node)",
                f"restart unit kubelet.service (runs with another {KUBELET_CONFIG})",
            ),
            ("kubelet.service",),
        ),
        Damage(
            "a deleted unit file",
            "worker",
            "rm /etc/systemd/system/kube-proxy.service && systemctl daemon-reload",
            (
                "create file /etc/systemd/system/kube-proxy.service (missing)",
                "restart unit kube-proxy.service (runs, but its unit file is not-found)",
            ),
            ("kube-proxy.service",),
        ),
        Damage(
            "a binary with one byte changed",
            "worker",
            "printf x | dd of=/usr/local/bin/ctr bs=1 seek=4096 conv=notrunc status=none",
            ("update file /usr/local/bin/ctr (is not the locked ctr)",),
        ),
        Damage(
            "a file that is another's",
            "cp",
            "chown nobody /etc/kubernetes/scheduler.conf",
            ("update file /etc/kubernetes/scheduler.conf (owner is nobody:root, should be root:root)",),
        ),
    ),
    (
        Damage(
            "an edited configuration",
            "worker",
            f"sed -i 's/^maxPods:.*/maxPods: 7/' {KUBELET_CONFIG}",
            (f"update file {KUBELET_CONFIG} (edited on the node)",),
        ),
        Damage(
            "a service that would not start at boot",
            "worker",
            "systemctl disable kubelet",
            ("start unit kubelet.service (would not start at boot)",),
        ),
        Damage(
            "another certificate",
            "cp",
            f"cp /etc/kubernetes/pki/kube-proxy.crt {CERTIFICATE}",
            (f"update file {CERTIFICATE} (is not the certificate or key that was issued)",),
        ),
    ),
    (
        Damage(
            "a stopped etcd",
            "cp",
            "systemctl stop etcd",
            ("restart unit etcd.service (is inactive)",),
            ("etcd.service",),
            suffers=("kube-controller-manager.service", "kube-scheduler.service"),
        ),
    ),
)
"""Damages that do not touch each other are done and repaired together, which saves time."""


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """A cluster that nobody has touched yet."""
    story.write(worker())
    story.apply()
    return story


@pytest.mark.parametrize("damages", ROUNDS, ids=lambda damages: ", ".join(item.name for item in damages))
def test_changes_by_hand_are_shown_and_repaired_alone(cluster: Story, damages: tuple[Damage, ...]) -> None:
    for damage in damages:
        cluster.on(cluster.node(damage.pool), "sh", "-ec", damage.done)
    before = cluster.starts()
    try:
        made = [change for change in cluster.changes() if change["phase"] == "bootstrap"]
        expected = {f"{cluster.node(item.pool)}: {change}" for item in damages for change in item.shown}
        assert {line for line in lines(made) if ": wait " not in line} == expected
    finally:
        cluster.apply()
    suffered = {f"{cluster.node(item.pool)} {unit}" for item in damages for unit in item.suffers}
    restarts = {f"{cluster.node(item.pool)} {unit}" for item in damages for unit in item.restarts}
    assert cluster.restarted_since(before) - suffered == restarts
    assert "0 changes" in cluster.apply().stderr


def test_a_deleted_deployment_is_made_again(cluster: Story) -> None:
    before = cluster.starts()
    # In the foreground, or its pods are still going while the next test counts pods.
    cluster.kubectl("-n", "kube-system", "delete", "deployment", "coredns", "--cascade=foreground")
    assert lines(cluster.changes()) == [
        "cluster: create object Deployment/kube-system/coredns (missing)",
        "cluster: wait condition Deployment/kube-system/coredns ready (applied in this run)",
    ]
    cluster.apply()
    assert cluster.restarted_since(before) == set()
    cluster.must_be_settled()


def test_an_edited_object_is_put_right_and_what_others_added_stays(cluster: Story) -> None:
    pods = {pod["metadata"]["uid"] for pod in cluster.objects("pods", "-A")}
    patch = '{"data": {"Corefile": ".:53 {\\n}\\n", "own": "mine"}}'
    cluster.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "-p", patch)
    (shown,) = lines(cluster.changes())
    assert shown == "cluster: update object ConfigMap/kube-system/coredns (differs in data.Corefile)"
    cluster.apply()
    found = cluster.kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data}")
    assert "forward . /etc/resolv.conf" in found
    assert '"own":"mine"' in found
    assert "0 changes" in cluster.apply().stderr
    assert {pod["metadata"]["uid"] for pod in cluster.objects("pods", "-A")} == pods


def test_drift_is_told_by_status_and_by_exit_statuses(cluster: Story) -> None:
    node = cluster.node("worker")
    cluster.on(node, "rm", "-r", "/opt/cni/bin")
    answer = cluster.run("status", "-c", cluster.name, "-o", "json", "--check", status=3)
    assert answer.json["healthy"] is False
    drift = answer.json["status"]["drift"]
    assert len(drift) == 5
    assert all(line.startswith("create file /opt/cni/bin/") and node in line for line in drift)
    plan = cluster.run("plan", "-c", cluster.name, "--detailed-exitcode", status=2)
    assert "5 changes on 1 node" in plan.stdout
    cluster.apply()
    cluster.must_be_settled()
