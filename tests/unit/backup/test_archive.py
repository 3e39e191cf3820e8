"""Archives: what is written is read, and nothing else is."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anykube.backup import age
from anykube.backup.archive import opened, write_archive
from anykube.backup.manifest import Manifest, Snapshot, State, write
from anykube.backup.state import gather, seal
from anykube.content.model import SecretRequest
from anykube.errors import BackupError
from anykube.facts.record import Record
from anykube.pki.authority import generate
from anykube.pki.kinds import KEY_PAIR
from anykube.pki.store import SecretStore
from anykube.secret import Secret

RECORD = Record("demo", "lineage-1", serial=7, epoch=3, born=True, object="kind: Cluster\n")


class World:
    """A cluster's folder, a snapshot, and a key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = age.new_identity()
        self.recipient = age.recipient_of(self.identity)
        self.secrets = SecretStore(folder / "secrets")
        generate(self.secrets, (SecretRequest("service-account", KEY_PAIR), SecretRequest("ssh", "ssh-key")))
        self.snapshot = folder / "some.db"
        self.snapshot.write_bytes(bytes(range(256)) * 1000)
        self.sealed = seal(gather(folder, RECORD), [self.recipient])
        self.archive = folder / "demo.age"

    def manifest(self) -> Manifest:
        content = self.snapshot.read_bytes()
        return Manifest(
            format=1,
            cluster="demo",
            lineage="lineage-1",
            anykube="0.1.0",
            kubernetes="1.36.3",
            etcd="3.7.3",
            node="demo-cp-1",
            taken=1_800_000_000,
            snapshot=Snapshot(
                sha256=_sha256(content), size=len(content), revision=12, compacted=3, keys=5, hash=99
            ),
            state=State(sha256=_sha256(self.sealed), size=len(self.sealed)),
        )

    def write(self) -> Path:
        write_archive(self.archive, self.manifest(), self.snapshot, self.sealed, [self.recipient])
        return self.archive

    def forge(self, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
        """An archive with these members, as anybody who knows the public key could make it."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size, info.type = len(content), kind
                tar.addfile(info, io.BytesIO(content))
        plain.seek(0)
        with self.archive.open("wb") as stream:
            age.encrypt(plain, stream, [self.recipient])
        return self.archive


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    tmp_path.chmod(0o700)
    return World(tmp_path)


def refused(world: World, path: Path, *keys: Secret, **asked: str) -> BackupError:
    with pytest.raises(BackupError) as caught, opened(path, keys or [world.identity], **asked):
        pass
    return caught.value


def test_what_is_written_is_read(world: World) -> None:
    path = world.write()
    assert path.stat().st_mode & 0o777 == 0o600
    other = age.new_identity()
    with opened(path, [other, world.identity], cluster="demo", lineage="lineage-1") as found:
        kept = found.snapshot
        assert found.manifest == world.manifest()
        assert kept.read_bytes() == world.snapshot.read_bytes()
        assert found.state.record == replace(RECORD, serial=0, epoch=0)
        assert (
            found.state.files["secrets/ssh.ssh-key"].reveal()
            == (world.folder / "secrets/ssh.ssh-key").read_bytes()
        )
        assert found.state.files.keys() >= {"secrets.json", "secrets/service-account.key-pair"}
    assert not kept.exists()


def test_state_is_the_same_bytes_until_something_changes(world: World) -> None:
    before = gather(world.folder, RECORD)
    assert before == gather(world.folder, replace(RECORD, serial=8, epoch=4))
    assert before != gather(world.folder, replace(RECORD, object="other"))
    generate(world.secrets, (SecretRequest("another", KEY_PAIR),))
    assert before != gather(world.folder, RECORD)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 0.9999), flip=st.floats(0, 0.9999))
def test_an_archive_that_was_cut_or_altered_anywhere_is_refused(
    world: World, cut: float, flip: float
) -> None:
    whole = world.write().read_bytes()
    world.archive.write_bytes(whole[: int(cut * len(whole))])
    refused(world, world.archive)
    place = int(flip * len(whole))
    world.archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    refused(world, world.archive)
    world.archive.write_bytes(whole + b"\0")
    refused(world, world.archive)


def test_an_archive_for_somebody_else_says_whose_identity_was_tried(world: World) -> None:
    stranger = age.new_identity()
    error = refused(world, world.write(), stranger)
    assert "somebody else" in error.brief
    assert age.recipient_of(stranger) in error.evidence[0]
    assert "--identity" in (error.remedy or "")


@pytest.mark.parametrize("asked", [{"cluster": "other"}, {"lineage": "lineage-2"}])
def test_an_archive_of_another_cluster_is_refused(world: World, asked: dict[str, str]) -> None:
    assert "another cluster" in refused(world, world.write(), **asked).brief


def test_a_state_of_another_cluster_than_the_manifest_says_is_refused(world: World) -> None:
    world.sealed = seal(gather(world.folder, replace(RECORD, lineage="lineage-2")), [world.recipient])
    assert "another cluster" in refused(world, world.write()).brief


def _forgeries(world: World) -> dict[str, Callable[[], Path]]:
    head, data, state = write(world.manifest()), world.snapshot.read_bytes(), world.sealed
    good = (("manifest.json", head), ("snapshot.db", data), ("state.age", state))
    newer = head.replace(b'"format": 1', b'"format": 2')
    return {
        "empty": lambda: world.forge(),
        "without a state": lambda: world.forge(*good[:2]),
        "another order": lambda: world.forge(good[1], good[0], good[2]),
        "one member more": lambda: world.forge(*good, ("more", b"")),
        "a path": lambda: world.forge(good[0], ("../snapshot.db", data), good[2]),
        "a link": lambda: world.forge(*good, kind=tarfile.SYMTYPE),
        "no manifest": lambda: world.forge(("manifest.json", b"{}"), *good[1:]),
        "a newer format": lambda: world.forge(("manifest.json", newer), *good[1:]),
        "a huge manifest": lambda: world.forge(("manifest.json", b" " * 70_000 + head), *good[1:]),
        "another snapshot": lambda: world.forge(good[0], ("snapshot.db", data[:-1] + b"x"), good[2]),
        "a longer snapshot": lambda: world.forge(good[0], ("snapshot.db", data + b"x"), good[2]),
        "a state that is none": lambda: world.forge(*good[:2], ("state.age", b"x" * len(state))),
    }


def test_a_forged_archive_is_refused(world: World) -> None:
    for forge in _forgeries(world).values():
        refused(world, forge())


@pytest.mark.parametrize("name", ["secrets/../../evil", "/etc/passwd", "secrets/a..b.key-pair", "evil"])
def test_a_state_with_a_path_that_leads_elsewhere_is_refused(world: World, name: str) -> None:
    plain = io.BytesIO(gather(world.folder, RECORD).reveal())
    with tarfile.open(fileobj=plain, mode="a") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    world.sealed = seal(Secret(plain.getvalue()), [world.recipient])
    error = refused(world, world.write())
    assert name in error.evidence[0]


def test_a_snapshot_that_shrinks_while_it_is_packed_leaves_no_archive(world: World) -> None:
    made = world.manifest()
    world.snapshot.write_bytes(b"short")
    with pytest.raises(Exception, match=r"cannot be written|end of data"):
        write_archive(world.archive, made, world.snapshot, world.sealed, [world.recipient])
    assert not list(world.folder.glob("*.age")) + list(world.folder.glob(".*.part"))


def test_a_file_without_an_identity_is_refused() -> None:
    key = age.new_identity()
    assert age.identities(b"# created: now\n" + key.reveal() + b"\n", "key.txt") == (key,)
    for text in (b"", b"age1abc", b"AGE-SECRET-KEY-1SHORT", b"\xff\xfe"):
        with pytest.raises(BackupError, match=r"key\.txt"):
            age.identities(text, "key.txt")
