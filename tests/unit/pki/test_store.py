"""The secret store keeps what it was given, lets nobody look, and never repairs by making anew."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.errors import StateError
from anykube.pki import authority, kinds
from anykube.pki.store import SecretStore, checked_name
from anykube.secret import Secret

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CA = CertificateRequest("ca/cluster", "", "kubernetes", days=3650)
LEAF = CertificateRequest("nodes/a/kubelet", "ca/cluster", "system:node:a", ("system:nodes",), client=True)
OTHERS = (
    SecretRequest("service-account", "key-pair"),
    SecretRequest("ssh/a", "ssh-key"),
    SecretRequest("encryption", "encryption-config"),
)
FILES = (
    "ca/cluster.certificate",
    "nodes/a/kubelet.certificate",
    "service-account.key-pair",
    "ssh/a.ssh-key",
    "encryption.encryption-config",
)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    store = SecretStore(tmp_path / "demo" / "secrets")
    authority.issue(store, (CA, LEAF), NOW)
    authority.generate(store, OTHERS)
    return store


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_an_empty_store_has_no_secrets(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "none")
    assert store.names() == ()
    assert store.facts() == {}
    assert not store.folder.exists()


def test_parts_and_their_digests(store: SecretStore) -> None:
    facts = store.facts()
    assert tuple(facts) == store.names() == tuple(sorted(facts))
    parts = {name: set(secret.parts) for name, secret in facts.items()}
    assert parts == {
        "ca/cluster": {"certificate", "key", "bundle"},
        "nodes/a/kubelet": {"certificate", "key"},
        "service-account": {"key", "public", "bundle"},
        "ssh/a": {"key", "public"},
        "encryption": {"value"},
    }
    for name, secret in facts.items():
        for part, digest in secret.parts.items():
            assert hashlib.sha256(store.part(name, part).reveal()).hexdigest() == digest


def test_a_certificate_part_holds_no_key(store: SecretStore) -> None:
    certificate = store.part(LEAF.secret, "certificate").reveal()
    assert b"PRIVATE KEY" not in certificate
    assert certificate.count(b"BEGIN") == 1
    assert store.part(LEAF.secret, "key").reveal().startswith(b"-----BEGIN PRIVATE KEY-----\n")


def test_what_is_not_there_is_named(store: SecretStore) -> None:
    with pytest.raises(StateError, match="no secret nodes/b/kubelet"):
        store.part("nodes/b/kubelet", "key")
    with pytest.raises(StateError, match="no part 'public', only certificate, key"):
        store.part("ca/cluster", "public")


@pytest.mark.usefixtures("no_umask")
def test_files_are_private_from_their_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[int] = []
    real_open = os.open

    def watching_open(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if flags & os.O_CREAT:
            created.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watching_open)
    store = SecretStore(tmp_path / "demo" / "secrets")
    authority.issue(store, (CA, LEAF), NOW)
    authority.generate(store, OTHERS)
    # Five secrets, and the inventory after each but the leaf.
    assert created == [0o600] * (5 + 4)
    entries = list((tmp_path / "demo").rglob("*"))
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_file()} == {0o600}
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_dir()} == {0o700}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "flipped"])
def test_a_damaged_file_is_named_and_left_alone(store: SecretStore, file: str, damage: str) -> None:
    path = store.folder / file
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "half": content[: len(content) // 2],
            "garbage": os.urandom(200),
            "flipped": content[: len(content) // 2] + b"!" + content[len(content) // 2 + 1 :],
        }[damage]
    )
    left = path.read_bytes()
    name = file.rpartition(".")[0]
    with pytest.raises(StateError, match="damaged"):
        store.part(name, "key")
    with pytest.raises(StateError) as caught:
        store.facts()
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    authority.generate(store, OTHERS)
    with pytest.raises(StateError, match="exists already"):
        authority.issue(store, [CA], NOW)
    assert path.read_bytes() == left


def test_all_damaged_files_are_reported_at_once(store: SecretStore) -> None:
    for file in FILES[:3]:
        (store.folder / file).write_bytes(b"x")
    with pytest.raises(StateError) as caught:
        store.facts()
    assert all(file in str(caught.value) for file in FILES[:3])


def test_a_certificate_with_the_key_of_another_is_damaged(store: SecretStore) -> None:
    mixed = store.part("ca/cluster", "certificate").reveal() + store.part(LEAF.secret, "key").reveal()
    (store.folder / "ca/cluster.certificate").write_bytes(mixed)
    with pytest.raises(StateError, match="cannot be used") as caught:
        store.facts()
    assert "not that of the certificate" in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_use_is_refused(store: SecretStore, mode: int) -> None:
    path = store.folder / "ca/cluster.certificate"
    path.chmod(mode)
    with pytest.raises(StateError, match="open to other users") as caught:
        store.part("ca/cluster", "key")
    assert f"chmod 600 {path}" in str(caught.value)
    with pytest.raises(StateError):
        store.facts()
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("folder", ["", "ca", "nodes/a"])
def test_a_folder_that_others_can_enter_is_refused(store: SecretStore, folder: str) -> None:
    (store.folder / folder).chmod(0o755)
    with pytest.raises(StateError, match="open to other users"):
        store.facts()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(store: SecretStore) -> None:
    os.chown(store.folder / "ca/cluster.certificate", 65534, 65534)
    with pytest.raises(StateError, match="belongs to another user"):
        store.part("ca/cluster", "key")


def test_links_pipes_and_strangers_are_refused(store: SecretStore, tmp_path: Path) -> None:
    path = store.folder / "ca/cluster.certificate"
    kept = tmp_path / "kept"
    path.rename(kept)
    path.symlink_to(kept)
    with pytest.raises(StateError, match="cannot be read"):
        store.part("ca/cluster", "key")
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(StateError, match="not a regular file"):
        store.part("ca/cluster", "key")
    path.unlink()
    kept.rename(path)
    (store.folder / "notes.txt").touch(mode=0o600)
    with pytest.raises(StateError, match="not a secret that anykube wrote"):
        store.facts()


def test_put_never_replaces_unless_asked_and_never_changes_the_kind(store: SecretStore) -> None:
    key = store.part("service-account", "key")
    with pytest.raises(StateError, match="exists already"):
        store.put("service-account", kinds.KEY_PAIR, key)
    with pytest.raises(StateError, match="exists already"):
        store.put("service-account", kinds.SSH_KEY, store.part("ssh/a", "key"), replace=True)
    with pytest.raises(StateError, match="damaged"):
        store.put("other", kinds.KEY_PAIR, Secret(b"no key"))
    store.put("other", kinds.KEY_PAIR, key)
    assert store.part("other", "public") == store.part("service-account", "public")


@pytest.mark.parametrize("file", [file for file in FILES if file != "nodes/a/kubelet.certificate"])
def test_what_is_made_once_is_not_made_again_when_it_is_lost(store: SecretStore, file: str) -> None:
    path = store.folder / file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    with pytest.raises(StateError, match="is lost") as caught:
        make_all_missing(store)
    assert caught.value.evidence == (f"{path} is missing", f"its sha256 was {digest}")
    assert not path.exists()


def test_a_store_that_is_lost_is_not_made_again(store: SecretStore) -> None:
    shutil.rmtree(store.folder)
    with pytest.raises(StateError, match="ca/cluster is lost"):
        make_all_missing(store)
    assert store.names() == ()


def test_a_lost_certificate_of_a_component_is_issued_again(store: SecretStore) -> None:
    (store.folder / "nodes/a/kubelet.certificate").unlink()
    make_all_missing(store)
    assert len(store.facts()) == 5


def test_a_damaged_inventory_makes_nothing_and_hides_nothing(store: SecretStore) -> None:
    (store.folder.parent / "secrets.json").write_bytes(b"{")
    assert len(store.facts()) == 5
    with pytest.raises(StateError, match=r"secrets\.json is damaged"):
        authority.generate(store, [SecretRequest("ssh/b", "ssh-key")])
    assert "ssh/b" not in store.names()


def make_all_missing(store: SecretStore) -> None:
    """What the planner would ask for."""
    missing = set(FILES) - {f"{path.relative_to(store.folder)}" for path in store.folder.rglob("*")}
    authority.issue(
        store, [request for request in (CA, LEAF) if f"{request.secret}.certificate" in missing], NOW
    )
    authority.generate(store, OTHERS)


def test_leftovers_of_a_killed_run_are_invisible_and_go_with_the_next_write(store: SecretStore) -> None:
    leftover = store.folder / "nodes/a/.kubelet.certificate.0123.tmp"
    leftover.touch(mode=0o600)
    assert len(store.facts()) == 5
    authority.issue(store, [LEAF], NOW)
    assert not leftover.exists()


def test_keys_for_many_machines_can_be_made_at_once(store: SecretStore) -> None:
    def make(number: int) -> None:
        authority.generate(store, [SecretRequest(f"ssh/host-{number}", "ssh-key")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(40)))
    assert len(store.facts()) == 45


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "/etc/passwd",
        "a/",
        "a b",
        "A",
        "a\n",
        "a\0",
        "a;b",
        "a..b",
        "$(x)",
        "\x1b[0m",
        ".hidden",
        "a/.b",
        "a/b/c/d/e",
        "x" * 301,
        "é",
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    store = SecretStore(tmp_path)
    for attempt in (
        lambda: store.part(name, "key"),
        lambda: authority.generate(store, [SecretRequest(name, "key-pair")]),
    ):
        with pytest.raises(StateError, match="not a name"):
            attempt()
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=40))
def test_any_text_is_a_safe_name_or_refused(text: str) -> None:
    try:
        name = checked_name(text)
    except StateError:
        return
    path = Path("/store", f"{name}.certificate")
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to("/store")
