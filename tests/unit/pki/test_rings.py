"""Rings of keys turn as a whole, and a turn that is repeated changes nothing."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.errors import StateError
from anykube.pki import authority, kinds
from anykube.pki.rings import add_key, drop_keys, use_key
from anykube.pki.store import SecretStore
from anykube.secret import Secret

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(days=400)
CA = CertificateRequest("ca/cluster", "", "demo cluster CA", days=3650)
LEAF = CertificateRequest("nodes/a/kubelet", "ca/cluster", "system:node:a", client=True)
KEYS = SecretRequest("service-account", "key-pair")
AT_REST = SecretRequest("encryption-config", "encryption-config")
RINGS = (CA, KEYS, AT_REST)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    made = SecretStore(tmp_path / "secrets")
    authority.issue(made, [CA, LEAF], NOW)
    authority.generate(made, [KEYS, AT_REST])
    return made


def keys(store: SecretStore, name: str) -> tuple[str, ...]:
    return store.facts()[name].keys


@pytest.mark.parametrize("request_", RINGS, ids=lambda one: one.secret)
def test_a_whole_rotation_and_each_turn_twice(
    store: SecretStore, request_: CertificateRequest | SecretRequest
) -> None:
    name = request_.secret
    (old,) = keys(store, name)
    for _ in range(2):
        add_key(store, request_, LATER)
        first, new = keys(store, name)
        assert first == old
    for _ in range(2):
        use_key(store, name, new)
        assert keys(store, name) == (new, old)
    for _ in range(2):
        drop_keys(store, name, new)
        assert keys(store, name) == (new,)


@pytest.mark.parametrize("request_", RINGS, ids=lambda one: one.secret)
def test_the_way_back(store: SecretStore, request_: CertificateRequest | SecretRequest) -> None:
    before = store.facts()[request_.secret]
    add_key(store, request_, LATER)
    use_key(store, request_.secret, keys(store, request_.secret)[1])
    use_key(store, request_.secret, before.keys[0])
    drop_keys(store, request_.secret, before.keys[0])
    assert store.facts()[request_.secret] == before


def test_what_is_trusted_does_not_change_with_what_is_used(store: SecretStore) -> None:
    """Else all nodes would restart once more for nothing."""
    for request in (CA, KEYS):
        add_key(store, request, LATER)
        trusted = store.facts()[request.secret].parts["bundle"]
        use_key(store, request.secret, keys(store, request.secret)[1])
        assert store.facts()[request.secret].parts["bundle"] == trusted


def test_leaves_of_both_authorities_verify_with_the_bundle(store: SecretStore, tmp_path: Path) -> None:
    old = store.part(LEAF.secret, "certificate")
    add_key(store, CA, NOW)
    use_key(store, "ca/cluster", keys(store, "ca/cluster")[1])
    issuer = store.facts()[LEAF.secret].certificate
    assert issuer is not None
    assert issuer.issuer == keys(store, "ca/cluster")[1], "the old authority is still known as one of ours"
    authority.issue(store, [LEAF], NOW)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(store.part("ca/cluster", "bundle").reveal())
    for number, leaf in enumerate((old, store.part(LEAF.secret, "certificate"))):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(leaf.reveal())
        at = str(int((NOW + timedelta(days=1)).timestamp()))
        argv = ["openssl", "verify", "-attime", at, "-CAfile", str(bundle), str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0, done.stderr


def test_the_first_encryption_key_writes(store: SecretStore) -> None:
    add_key(store, AT_REST, NOW)
    use_key(store, "encryption-config", keys(store, "encryption-config")[1])
    document = yaml.safe_load(store.part("encryption-config", "value").reveal())
    listed = document["resources"][0]["providers"][0]["secretbox"]["keys"]
    assert tuple(key["name"] for key in listed) == keys(store, "encryption-config")
    assert document["resources"][0]["providers"][1] == {"identity": {}}


def test_a_key_in_use_is_not_dropped_and_a_strange_one_is_not_used(store: SecretStore) -> None:
    add_key(store, KEYS, NOW)
    first, second = keys(store, "service-account")
    with pytest.raises(StateError, match="not the one in use"):
        drop_keys(store, "service-account", second)
    with pytest.raises(StateError, match="does not have the key"):
        use_key(store, "service-account", "0" * 64)
    assert keys(store, "service-account") == (first, second)


def test_a_leaf_is_no_ring(store: SecretStore) -> None:
    leaf = store.part(LEAF.secret, "certificate").reveal() + store.part(LEAF.secret, "key").reveal()
    with pytest.raises(StateError, match="none that can be rotated"):
        use_key(store, LEAF.secret, "0")
    with pytest.raises(StateError, match="damaged"):
        store.put("nodes/a/two", kinds.CERTIFICATE, Secret(leaf + leaf))


def test_the_same_key_twice_is_damage(store: SecretStore) -> None:
    key = store.part("service-account", "key").reveal()
    with pytest.raises(StateError, match="damaged"):
        store.put("twice", kinds.KEY_PAIR, Secret(key + key))


def test_a_ring_that_is_lost_is_not_made_anew(store: SecretStore) -> None:
    add_key(store, KEYS, NOW)
    (store.folder / "service-account.key-pair").unlink()
    with pytest.raises(StateError, match="is lost"):
        authority.generate(store, [KEYS])
