"""Authorities and the encryption key are replaced on a real cluster; who was let in before stays in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import faults
from tests.e2e.story import Story

from anykube.facts import at_rest

pytestmark = pytest.mark.e2e

SINGLE = {"name": "node", "roles": ["control-plane", "etcd", "worker"]}
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
USE_STEPS = 6
"""Somewhere within the second stage: new certificates are on this machine and on some of their places."""


@pytest.fixture(scope="module")
def cluster(story: Story) -> Iterator[Story]:
    """One machine; at the end another apply must find nothing to do."""
    machines = {"provider": {"lxc": {}}, "pools": [SINGLE]}
    story.write(machines=machines)
    story.apply()
    yield story
    story.must_be_settled()


@pytest.fixture(scope="module")
def old_kubeconfig(cluster: Story) -> Path:
    """What a user was given before anything was replaced."""
    path = cluster.folder / "old.conf"
    path.touch(mode=0o600)
    path.write_text(cluster.run("kubeconfig", "-c", cluster.name).stdout)
    return path


def works(cluster: Story, kubeconfig: Path) -> bool:
    """Whether the API can be reached with this file alone."""
    argv = [cluster._kubectl, f"--kubeconfig={kubeconfig}", "--request-timeout=10s", "get", "nodes"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=cluster.variables)
    assert done.returncode == 0 or "certificate" in done.stderr, done.stderr
    return done.returncode == 0


def trusted(text: str) -> set[str]:
    """Fingerprints of the certificates in a text."""
    return {hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() for pem in PEM.findall(text)}


def trusted_by_users(cluster: Story) -> set[str]:
    """The CAs in a kubeconfig fetched now."""
    shown = cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json")
    data = json.loads(shown)["clusters"][0]["cluster"]["certificate-authority-data"]
    return trusted(base64.b64decode(data).decode())


def trusted_by_pods(cluster: Story) -> set[str]:
    """The CAs that all namespaces agree on."""
    maps = cluster.objects("configmaps", "-A", "--field-selector=metadata.name=kube-root-ca.crt")
    (text,) = {one["data"]["ca.crt"] for one in maps}
    return trusted(text)


def trusted_of_requests(cluster: Story) -> set[str]:
    """The CAs by which aggregated API servers know who asks."""
    found = json.loads(
        cluster.kubectl("get", "-n", "kube-system", "cm", "extension-apiserver-authentication", "-o", "json")
    )
    return trusted("".join(found["data"].values()))


def keys(cluster: Story, name: str) -> tuple[str, ...]:
    """The ids of the keys of a secret, the one in use first."""
    return cluster.secrets.facts()[name].keys


def test_authorities_stage_by_stage(cluster: Story, old_kubeconfig: Path) -> None:
    rotate = ("certs", "rotate-ca", "-c", cluster.name, "--yes")
    (old,) = keys(cluster, "ca/cluster")
    assert trusted_by_users(cluster) == trusted_by_pods(cluster) == {old}

    cluster.run(*rotate, "--stage", "next")
    both = set(keys(cluster, "ca/cluster"))
    assert len(both) == 2
    assert trusted_by_users(cluster) == trusted_by_pods(cluster) == both
    assert works(cluster, old_kubeconfig)

    killed = faults.killed_at(cluster, (*rotate, "--stage", "next"), USE_STEPS)
    assert killed, "the stage was over before it was killed"
    done = cluster.apply()
    assert "ca/cluster is being replaced" in cluster.run("plan", "-c", cluster.name).stdout + done.stderr
    assert keys(cluster, "ca/cluster")[0] != old, "apply has finished the stage"
    assert set(keys(cluster, "ca/cluster")) == both, "apply has gone no further"
    assert works(cluster, old_kubeconfig)

    done = cluster.run(*rotate)
    assert "replaced" in done.stderr
    new = both - {old}
    assert set(keys(cluster, "ca/cluster")) == new
    assert trusted_by_users(cluster) == trusted_by_pods(cluster) == new
    assert not works(cluster, old_kubeconfig)
    ours = {key for name in ("ca/cluster", "ca/front-proxy") for key in keys(cluster, name)}
    assert trusted_of_requests(cluster) == ours
    assert cluster.run("certs", "-c", cluster.name, "--check").status == 0


def test_the_encryption_key(cluster: Story) -> None:
    cluster.kubectl("create", "secret", "generic", "kept", "--from-literal=word=xyzzy")
    node = cluster.node("node")
    (old,) = keys(cluster, "encryption-config")
    before = stored(cluster, node)
    assert set(before) == {old}
    cluster.run("certs", "rotate-key", "encryption", "-c", cluster.name, "--yes")
    (new,) = keys(cluster, "encryption-config")
    assert new != old
    assert stored(cluster, node) == {new: before[old]}
    config = cluster.on(node, "cat", "/etc/kubernetes/encryption.yaml")
    assert new in config
    assert old not in config
    assert cluster.kubectl("get", "secret", "kept", "-o", "jsonpath={.data.word}") == "eHl6enk="


def stored(cluster: Story, node: str) -> dict[str, int]:
    """Secrets in etcd by the key they are stored under."""
    return dict(at_rest.parse(node, cluster.on(node, *at_rest.script())))
