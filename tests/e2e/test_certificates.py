"""Certificates: all are seen, renewed without an outage, and made anew when every one has ended."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.e2e.openssl_ca import make_authorities, sign_all
from tests.e2e.prober import probing
from tests.e2e.story import MACHINES, Object, Story, eventually, telling
from tests.e2e.wire import API_PORT, init_process

from anykube.content.model import CertificateRequest
from anykube.content.node import certificate_paths
from anykube.pki.authority import issue

pytestmark = pytest.mark.e2e

PROCESSES = {"etcd", "etcd peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"}
SELF_MADE = {"kube-controller-manager", "kube-scheduler"}


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """The example single.yaml."""
    story.write_example("single.yaml", "single")
    story.apply()
    return story


def rows(cluster: Story, *, status: int = 0) -> list[Object]:
    """What `anykube certs --check` lists."""
    found = cluster.run("certs", "-c", cluster.name, "-o", "json", "--check", status=status).json["items"]
    assert isinstance(found, list)
    return found


def served(cluster: Story) -> dict[str, str]:
    """The fingerprint of what each process serves, from `anykube certs`."""
    ports = [row for row in rows(cluster) if row["where"] == "port"]
    return {row["place"].partition(" ")[2]: row["fingerprint"] for row in ports}


def test_every_certificate_is_seen_in_all_its_places(cluster: Story) -> None:
    found = rows(cluster)
    assert {row["state"] for row in found} == {"ok"}
    kept = {row["place"] for row in found if row["where"] == "kept"}
    assert len([name for name in kept if name.startswith("ca/")]) == 3
    files = {row["place"] for row in found if row["where"] == "file"}
    assert files == set(certificate_paths(cluster.node("node")))
    assert set(served(cluster)) == PROCESSES
    there = cluster.on(
        cluster.node("node"), "sh", "-c", "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -enddate"
    )
    by_openssl = datetime.strptime(there.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert {row["notAfter"] for row in found if row["place"].endswith("/apiserver.crt")} == {
        by_openssl.isoformat()
    }


def test_all_are_renewed_without_an_outage(cluster: Story) -> None:
    node = cluster.node("node")
    before, started = served(cluster), cluster.starts()
    old = cluster.folder / "old.kubeconfig"
    old.write_text(cluster.run("kubeconfig", "-c", cluster.name).stdout)
    authority = cluster.folder / "ca.crt"
    authority.write_bytes(cluster.secrets.part("ca/cluster", "certificate").reveal())
    with probing(init_process(cluster, node), "127.0.0.1", API_PORT, authority) as probes:
        cluster.run("certs", "renew", "--all", "-c", cluster.name, "--yes")
    assert probes.outage() == 0.0
    after = served(cluster)
    assert {name for name in before if before[name] == after[name]} == set()
    restarted = {unit.split()[1] for unit in cluster.restarted_since(started)}
    assert restarted & {"etcd.service", "kube-apiserver.service", "containerd.service"} == set()
    fresh = cluster.folder / "fresh.kubeconfig"
    fresh.write_text(cluster.run("kubeconfig", "-c", cluster.name).stdout)
    for config in (old, fresh):
        assert cluster.kubectl(f"--kubeconfig={config}", "get", "--raw", "/readyz") == "ok"
    cluster.must_be_settled()


def test_it_comes_back_when_everything_has_ended(cluster: Story) -> None:
    node = cluster.node("node")
    cluster.kubectl("create", "configmap", "kept", "--from-literal=value=from before")
    end_all(cluster)
    cluster.power_off(node)
    subprocess.run(["lxc-start", "-P", MACHINES / cluster.name / "nodes", "-n", node], check=True, timeout=60)
    eventually(lambda: "" if cluster.on(node, "true", check=False) == "" else "not started")
    ended = {row["place"] for row in rows(cluster, status=3) if row["state"] == "ended"}
    assert ended >= set(certificate_paths(node)) - {
        path for path in certificate_paths(node) if path.endswith("ca.crt")
    }

    cluster.run("certs", "renew", "-c", cluster.name, "--yes")
    assert {row["state"] for row in rows(cluster)} == {"ok"}
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.value}") == "from before"
    cluster.apply()
    cluster.must_be_settled()


def test_authorities_of_somebody_else_sign(alone: None, tmp_path: Path) -> None:
    """With openssl: nothing happens before all is signed, and no key of an authority is anywhere near."""
    with telling("e2e-signed", tmp_path / "story") as cluster:
        cluster.write_example("single.yaml", "single")
        with cluster.file.open("a") as file:
            file.write("\n  security: {externalAuthorities: true}\n")
        refused = cluster.apply(status=1)
        assert "16 certificates are wanting" in refused.stderr
        assert cluster.nodes == []

        folder, keys = tmp_path / "requests", tmp_path / "keys"
        cluster.run("certs", "requests", "--out", str(folder), "-f", str(cluster.file))
        make_authorities(keys, folder)
        sign_all(keys, folder)
        cluster.run("certs", "import", str(folder), "-f", str(cluster.file))
        cluster.apply()
        cluster.must_be_settled()
        shown = [
            row for row in rows(cluster) if row["where"] == "port" and row["place"].endswith("apiserver")
        ]
        assert [row["issuer"] for row in shown] == ["Example cluster CA"]
        assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
        own = [path.read_bytes() for path in cluster.record.rglob("*") if path.is_file()]
        for key in keys.iterdir():
            assert not any(key.read_bytes().strip() in content for content in own)


def end_all(cluster: Story) -> None:
    """Put certificates that have ended in the place of all leaf certificates, here and on the node."""
    node, store = cluster.node("node"), cluster.secrets
    found = {name: facts.certificate for name, facts in store.facts().items() if facts.certificate}
    authorities = {one.fingerprint: name for name, one in found.items() if one.authority}
    requests = [
        CertificateRequest(
            secret=name,
            authority=authorities[one.issuer],
            common_name=one.common_name,
            organizations=one.organizations,
            dns_names=one.dns_names,
            addresses=one.addresses,
            server=one.server,
            client=one.client,
            days=0,
        )
        for name, one in found.items()
        if not one.authority
    ]
    issue(store, requests, datetime.now(UTC))
    for path, secret in certificate_paths(node).items():
        if secret.startswith("nodes/"):
            for part, place in (("certificate", path), ("key", f"{path.removesuffix('.crt')}.key")):
                cluster.on(node, "sh", "-c", 'cat >"$1"', "-", place, stdin=store.part(secret, part).reveal())
