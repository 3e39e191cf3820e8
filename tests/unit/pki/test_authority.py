"""Every certificate is judged by two that are not ours: the openssl command and cryptography's verifier."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.errors import StateError
from anykube.pki import authority
from anykube.pki.store import SecretStore

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CLUSTER_CA = CertificateRequest("ca/cluster", "", "kubernetes", days=3650)
ETCD_CA = CertificateRequest("ca/etcd", "", "etcd-ca", days=3650)
API_SERVER = CertificateRequest(
    "nodes/demo-cp-1/api-server",
    "ca/cluster",
    "kube-apiserver",
    dns_names=("kubernetes", "kubernetes.default.svc.cluster.local", "demo-cp-1"),
    addresses=("10.96.0.1", "10.81.0.11", "::1"),
    server=True,
)
KUBELET = CertificateRequest(
    "nodes/demo-cp-1/kubelet", "ca/cluster", "system:node:demo-cp-1", ("system:nodes",), client=True
)
PEER = CertificateRequest(
    "nodes/demo-cp-1/etcd-peer",
    "ca/etcd",
    "demo-cp-1",
    dns_names=("demo-cp-1",),
    addresses=("10.81.0.11",),
    server=True,
    client=True,
    days=30,
)
LEAVES = (API_SERVER, KUBELET, PEER)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    store = SecretStore(tmp_path / "secrets")
    authority.issue(store, (CLUSTER_CA, ETCD_CA, *LEAVES), NOW)
    return store


def certificate(store: SecretStore, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(store.part(name, "certificate").reveal())


def openssl(arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=10, check=False
    )


def openssl_verifies(
    store: SecretStore, tmp_path: Path, leaf: CertificateRequest, ca: str, purpose: str, when: datetime = NOW
) -> bool:
    (tmp_path / "ca.pem").write_bytes(store.part(ca, "certificate").reveal())
    (tmp_path / "leaf.pem").write_bytes(store.part(leaf.secret, "certificate").reveal())
    arguments = ["-x509_strict", "-attime", str(int(when.timestamp())), "-purpose", purpose]
    files = ["-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"]
    return openssl(["verify", *arguments, *files]).returncode == 0


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.common_name)
def test_openssl_accepts_exactly_what_was_asked_for(
    store: SecretStore, tmp_path: Path, leaf: CertificateRequest
) -> None:
    other = "ca/etcd" if leaf.authority == "ca/cluster" else "ca/cluster"
    assert openssl_verifies(store, tmp_path, leaf, leaf.authority, "sslserver") is leaf.server
    assert openssl_verifies(store, tmp_path, leaf, leaf.authority, "sslclient") is leaf.client
    assert not openssl_verifies(store, tmp_path, leaf, other, "sslserver" if leaf.server else "sslclient")


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.common_name)
@pytest.mark.parametrize(
    ("offset", "valid"),
    [(timedelta(minutes=-59), True), (timedelta(minutes=-61), False), (timedelta(days=29), True)],
)
def test_validity_begins_an_hour_back(
    store: SecretStore, tmp_path: Path, leaf: CertificateRequest, offset: timedelta, valid: bool
) -> None:
    purpose = "sslserver" if leaf.server else "sslclient"
    assert openssl_verifies(store, tmp_path, leaf, leaf.authority, purpose, NOW + offset) is valid
    assert not openssl_verifies(
        store, tmp_path, leaf, leaf.authority, purpose, NOW + timedelta(days=leaf.days, minutes=1)
    )


def test_cryptography_verifies_servers_by_every_name(store: SecretStore) -> None:
    for leaf in (API_SERVER, PEER):
        builder = PolicyBuilder().store(Store([certificate(store, leaf.authority)])).time(NOW)
        subjects: list[x509.DNSName | x509.IPAddress] = [x509.DNSName(name) for name in leaf.dns_names]
        subjects += [x509.IPAddress(ip_address(address)) for address in leaf.addresses]
        for subject in subjects:
            chain = builder.build_server_verifier(subject).verify(certificate(store, leaf.secret), [])
            assert len(chain) == 2


def test_cryptography_verifies_clients(store: SecretStore) -> None:
    # A Kubernetes client is known by its subject, so that the rule of the web to have a SAN is lifted.
    for leaf in (KUBELET, PEER):
        builder = (
            PolicyBuilder()
            .store(Store([certificate(store, leaf.authority)]))
            .time(NOW)
            .extension_policies(
                ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
            )
        )
        assert len(builder.build_client_verifier().verify(certificate(store, leaf.secret), []).chain) == 2


def test_authority_extensions(store: SecretStore) -> None:
    ca = certificate(store, "ca/cluster")
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.key_encipherment
    assert ca.not_valid_after_utc == NOW + timedelta(days=3650)
    ski = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for leaf in (API_SERVER, KUBELET):
        extensions = certificate(store, leaf.secret).extensions
        aki = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert aki.key_identifier == ski.digest


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.common_name)
def test_leaf_extensions(store: SecretStore, leaf: CertificateRequest) -> None:
    extensions = certificate(store, leaf.secret).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert not constraints.value.ca
    assert usage.critical
    assert usage.value.digital_signature
    assert not any((usage.value.key_encipherment, usage.value.key_cert_sign, usage.value.crl_sign))
    wanted = {ExtendedKeyUsageOID.SERVER_AUTH} if leaf.server else set()
    wanted |= {ExtendedKeyUsageOID.CLIENT_AUTH} if leaf.client else set()
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == wanted


def test_facts_say_what_was_requested(store: SecretStore) -> None:
    facts = store.facts()
    ca = facts["ca/cluster"].certificate
    assert ca is not None
    assert ca.authority
    assert ca.issuer == ca.fingerprint
    for leaf in (API_SERVER, KUBELET):
        seen = facts[leaf.secret].certificate
        assert seen is not None
        assert (seen.common_name, seen.organizations) == (leaf.common_name, leaf.organizations)
        assert (seen.dns_names, seen.addresses) == (leaf.dns_names, leaf.addresses)
        assert (seen.server, seen.client, seen.authority) == (leaf.server, leaf.client, False)
        assert (seen.not_before, seen.not_after) == (NOW - timedelta(hours=1), NOW + timedelta(days=365))
        assert seen.issuer == ca.fingerprint


def test_no_leaf_outlives_its_authority(store: SecretStore) -> None:
    late = NOW + timedelta(days=3600)
    authority.issue(store, [API_SERVER], late)
    leaf, ca = certificate(store, API_SERVER.secret), certificate(store, "ca/cluster")
    assert leaf.not_valid_after_utc == ca.not_valid_after_utc < late + timedelta(days=365)


@pytest.mark.parametrize("when", [NOW + timedelta(days=3651), NOW - timedelta(hours=2)])
def test_an_authority_that_is_not_valid_now_issues_nothing(store: SecretStore, when: datetime) -> None:
    before = store.facts()
    with pytest.raises(StateError, match="ca/cluster is not valid now") as caught:
        authority.issue(store, [API_SERVER], when)
    assert "clock" in str(caught.value)
    assert store.facts() == before


def test_issuing_again_makes_a_new_key_and_serial(store: SecretStore) -> None:
    old, old_key = certificate(store, KUBELET.secret), store.part(KUBELET.secret, "key")
    authority.issue(store, [KUBELET], NOW)
    assert certificate(store, KUBELET.secret).serial_number != old.serial_number
    assert store.part(KUBELET.secret, "key") != old_key


def test_an_authority_is_never_replaced(store: SecretStore) -> None:
    before = store.facts()
    with pytest.raises(StateError, match="exists already"):
        authority.issue(store, [CLUSTER_CA], NOW)
    assert store.facts() == before


def test_a_leaf_cannot_issue(store: SecretStore) -> None:
    with pytest.raises(StateError, match="no authority"):
        authority.issue(store, [CertificateRequest("nodes/x/evil", KUBELET.secret, "x", client=True)], NOW)
    with pytest.raises(StateError, match="no authority"):
        authority.issue(store, [CertificateRequest("nodes/x/evil", "ca/none", "x", client=True)], NOW)


@pytest.mark.parametrize("name", ["", "system:node:" + "a" * 53])
def test_a_subject_that_no_peer_would_accept_is_refused(store: SecretStore, name: str) -> None:
    with pytest.raises(StateError, match="64"):
        authority.issue(store, [CertificateRequest("nodes/x/kubelet", "ca/cluster", name, client=True)], NOW)


def test_key_pair_public_part_belongs_to_its_key(store: SecretStore, tmp_path: Path) -> None:
    authority.generate(store, [SecretRequest("service-account", "key-pair")])
    (tmp_path / "key.pem").write_bytes(store.part("service-account", "key").reveal())
    derived = openssl(["pkey", "-in", tmp_path / "key.pem", "-pubout"])
    assert derived.stdout.encode() == store.part("service-account", "public").reveal()


def test_ssh_key_is_read_by_openssh(store: SecretStore, tmp_path: Path) -> None:
    authority.generate(store, [SecretRequest("ssh/client", "ssh-key")])
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(store.part("ssh/client", "key").reveal())
    derived = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, timeout=10, check=True)
    assert derived.stdout.split()[:2] == store.part("ssh/client", "public").reveal().split()[:2]
    assert derived.stdout.startswith(b"ssh-ed25519 ")


def test_encryption_config_has_a_new_key_and_still_reads_plain_secrets(store: SecretStore) -> None:
    authority.generate(store, [SecretRequest(name, "encryption-config") for name in ("first", "second")])
    keys = set()
    for name in ("first", "second"):
        document = yaml.safe_load(store.part(name, "value").reveal())
        assert (document["apiVersion"], document["kind"]) == (
            "apiserver.config.k8s.io/v1",
            "EncryptionConfiguration",
        )
        [rule] = document["resources"]
        assert rule["resources"] == ["secrets"]
        secretbox, identity = rule["providers"]
        assert identity == {"identity": {}}
        keys.add(base64.b64decode(secretbox["secretbox"]["keys"][0]["secret"], validate=True))
    assert [len(key) for key in keys] == [32, 32]


def test_generate_keeps_what_exists_and_refuses_another_kind(store: SecretStore) -> None:
    authority.generate(store, [SecretRequest("service-account", "key-pair")])
    before = store.facts()
    authority.generate(store, [SecretRequest("service-account", "key-pair")])
    assert store.facts() == before
    with pytest.raises(StateError, match="exists already"):
        authority.generate(store, [SecretRequest("service-account", "ssh-key")])
    with pytest.raises(StateError, match="cannot be made"):
        authority.generate(store, [SecretRequest("token", "bootstrap-token")])
    assert store.facts() == before
