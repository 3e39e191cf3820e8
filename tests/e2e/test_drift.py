"""Someone changed things by hand: plan says what and why, apply repairs exactly that and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.e2e.story import Story, lines, worker

pytestmark = pytest.mark.e2e

KUBELET_UNIT = "/etc/systemd/system/kubelet.service"
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


DAMAGES = (
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
        "an edited configuration",
        "worker",
        f"sed -i 's/^maxPods:.*/maxPods: 7/' {KUBELET_CONFIG}",
        (f"update file {KUBELET_CONFIG} (edited on the node)",),
    ),
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
        "a stopped service",
        "worker",
        "systemctl stop kube-proxy",
        ("restart unit kube-proxy.service (is inactive)",),
        ("kube-proxy.service",),
    ),
    Damage(
        "a stopped etcd",
        "cp",
        "systemctl stop etcd",
        ("restart unit etcd.service (is inactive)",),
        ("etcd.service",),
        suffers=("kube-controller-manager.service", "kube-scheduler.service"),
    ),
    Damage(
        "a deleted file",
        "worker",
        "rm /opt/cni/bin/portmap",
        ("create file /opt/cni/bin/portmap (missing)",),
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
        "another certificate",
        "worker",
        "cp /etc/kubernetes/pki/kube-proxy.crt /etc/kubernetes/pki/kubelet.crt",
        ("update file /etc/kubernetes/pki/kubelet.crt (is not the certificate or key that was issued)",),
    ),
    Damage(
        "a key that all may read",
        "cp",
        "chmod 644 /etc/kubernetes/pki/apiserver.key",
        ("update file /etc/kubernetes/pki/apiserver.key (mode is 644, should be 600)",),
    ),
    Damage(
        "a file that is another's",
        "cp",
        "chown nobody /etc/kubernetes/scheduler.conf",
        ("update file /etc/kubernetes/scheduler.conf (owner is nobody:root, should be root:root)",),
    ),
    Damage(
        "a service that would not start at boot",
        "worker",
        "systemctl disable kubelet",
        ("start unit kubelet.service (would not start at boot)",),
    ),
)


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """A cluster that nobody has touched yet."""
    story.write(worker())
    story.apply()
    return story


@pytest.fixture(autouse=True)
def mended(cluster: Story) -> Iterator[None]:
    """After each test all is well again, so that one failure is one failure."""
    yield
    cluster.apply()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_a_change_by_hand_is_shown_and_repaired_alone(cluster: Story, damage: Damage) -> None:
    node = cluster.node(damage.pool)
    cluster.on(node, "sh", "-ec", damage.done)
    before = cluster.starts()
    made = [change for change in cluster.changes() if change["phase"] == "bootstrap"]
    expected = [f"{node}: {change}" for change in damage.shown]
    assert [line for line in lines(made) if ": wait " not in line] == expected
    cluster.apply()
    suffered = {f"{node} {unit}" for unit in damage.suffers}
    assert cluster.restarted_since(before) - suffered == {f"{node} {unit}" for unit in damage.restarts}
    assert "0 changes" in cluster.apply().stderr


def test_a_deleted_deployment_is_made_again(cluster: Story) -> None:
    before = cluster.starts()
    cluster.kubectl("-n", "kube-system", "delete", "deployment", "coredns")
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


def test_several_changes_are_shown_together_and_repaired_in_one_go(cluster: Story) -> None:
    first, second = cluster.node("cp"), cluster.node("worker")
    before = cluster.starts()
    cluster.on(first, "chmod", "640", "/etc/kubernetes/encryption.yaml")
    cluster.on(first, "systemctl", "stop", "kube-scheduler")
    cluster.on(second, "rm", "-r", "/etc/containerd/config.toml", "/opt/cni/bin")
    shown = [line for line in lines(cluster.changes()) if ": wait " not in line]
    assert f"{first}: restart unit kube-scheduler.service (is inactive)" in shown
    assert f"{second}: create file /etc/containerd/config.toml (missing)" in shown
    assert sum("/opt/cni/bin/" in line for line in shown) == 5
    assert len(shown) == 8
    status = cluster.run("status", "-c", cluster.name, "-o", "json").json
    assert status["healthy"] is False
    assert len(status["status"]["drift"]) == 8
    cluster.run("status", "-c", cluster.name, "--check", status=3)
    cluster.run("plan", "-c", cluster.name, "--detailed-exitcode", status=2)
    cluster.apply()
    assert cluster.restarted_since(before) == {f"{first} kube-scheduler.service"}
    cluster.must_be_settled()
