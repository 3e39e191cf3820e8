"""What restore and adopt refuse, with real archives; nothing is touched then. How state takes its place."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anykube import adopt as adopting
from anykube import restore as restoring_calls
from anykube import workflow
from anykube.backup import age, archive, manifest, state
from anykube.backup.layout import lay_out
from anykube.content.model import SecretRequest
from anykube.errors import AnykubeError, BackupError, PlanError, StateError, UsageError
from anykube.facts.record import Record
from anykube.pki.authority import generate
from anykube.pki.kinds import KEY_PAIR
from anykube.pki.store import SecretStore
from anykube.secret import Secret
from anykube.session import Folders
from anykube.spec.load import load
from anykube.state import restoring
from anykube.state.files import make_folder
from anykube.state.record import RecordStore
from anykube.state.restoring import NEW, OLD, Placement, Restoring, Stage

LINEAGE = "lineage-1"


def object_text(version: str = "1.36.3", **spec: Any) -> str:
    pools = [{"name": "cp", "roles": ["control-plane", "etcd", "worker"]}]
    body = {"kubernetes": {"version": version}, "machines": {"provider": {"lxc": {}}, "pools": pools}, **spec}
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return json.dumps({**head, "spec": body})


class Site:
    """A state folder with a cluster or without, and an archive of that cluster."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(folder / "state", folder / "cache")
        self.home = self.folders.state / "demo"
        self.file = folder / "demo.age"
        self.key = age.new_identity()
        self._origin = folder / "origin"
        self._fill(self._origin)

    def _fill(self, folder: Path) -> None:
        generate(
            SecretStore(folder / "secrets"),
            (SecretRequest("service-account", KEY_PAIR), SecretRequest("ssh", "ssh-key")),
        )

    def known(self, lineage: str = LINEAGE) -> None:
        """The cluster is known here."""
        self._fill(self.home)
        RecordStore(self.home).save(Record("demo", lineage, epoch=4, object=object_text(), born=True))

    def write(self, text: str = "", **versions: Any) -> None:
        record = Record("demo", LINEAGE, object=text or object_text(), born=True)
        recipient = age.recipient_of(self.key)
        sealed = state.seal(state.gather(self._origin, record), [recipient])
        snapshot = self._origin / "snapshot.db"
        snapshot.write_bytes(bytes(range(256)) * 100)
        content = snapshot.read_bytes()
        known = {"kubernetes": "1.36.3", "etcd": "3.7.3", **versions}
        made = manifest.Manifest(
            format=1,
            cluster="demo",
            lineage=LINEAGE,
            anykube="0.1.0",
            node="demo-cp-1",
            taken=1_800_000_000,
            snapshot=manifest.Snapshot(
                sha256=_sha256(content), size=len(content), revision=12, compacted=3, keys=5, hash=9
            ),
            state=manifest.State(sha256=_sha256(sealed), size=len(sealed)),
            **known,
        )
        archive.write_archive(self.file, made, snapshot, sealed, [recipient])

    @property
    def saved(self) -> state.SavedState:
        with archive.opened(self.file, [self.key]) as found:
            return found.state

    def restore(self, text: str = "", key: Secret | None = None) -> None:
        asyncio.run(
            restoring_calls.restore(
                self.file, [key or self.key], text=text, approve=lambda plan: False, folders=self.folders
            )
        )

    def refusal(self, text: str = "", key: Secret | None = None) -> AnykubeError:
        """Why it is refused; what is kept here is as before."""
        before = contents(self.home)
        with pytest.raises((BackupError, PlanError, StateError)) as caught:
            self.restore(text, key)
        assert contents(self.home) == before
        return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.known()
    made.write()
    return made


def test_an_archive_that_is_cut_off(site: Site) -> None:
    whole = site.file.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        site.file.write_bytes(whole[:size])
        assert "cut off, altered or no archive" in site.refusal().brief


def test_an_archive_in_which_a_bit_flipped(site: Site) -> None:
    whole = bytearray(site.file.read_bytes())
    for place in range(0, len(whole), len(whole) // 16):
        altered = bytearray(whole)
        altered[place] ^= 4
        site.file.write_bytes(altered)
        assert site.refusal()


def test_an_archive_for_somebody_else(site: Site) -> None:
    error = site.refusal(key=age.new_identity())
    assert "encrypted for somebody else" in error.brief


def test_an_archive_of_another_cluster(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.known("another")
    site.write()
    error = site.refusal()
    assert "of another cluster than the demo that is known here" in error.brief
    assert error.evidence == (f"archive: {LINEAGE}", "here: another")


@pytest.mark.parametrize(
    ("versions", "text", "said"),
    [
        ({"kubernetes": "1.35.4", "etcd": "3.6.16"}, "", "it was made with Kubernetes 1.35.4"),
        ({"etcd": "3.8.0"}, "", "its snapshot is of etcd 3.8.0, Kubernetes 1.36.3 comes with etcd 3.7.3"),
        ({}, object_text("1.35.4"), "it was made with Kubernetes 1.36.3, the object has 1.35.4"),
        ({}, object_text(network={"pods": "10.99.0.0/16"}), "network.pods was"),
        ({}, object_text().replace('"demo"', '"other"'), "it is of demo, the object of other"),
    ],
)
def test_an_archive_that_does_not_fit(site: Site, versions: dict[str, str], text: str, said: str) -> None:
    site.write(**versions)
    assert said in "\n".join(site.refusal(text).evidence)


def test_secrets_that_are_encrypted_need_an_object_that_reads_them(site: Site) -> None:
    site.write(object_text(security={"encryptionAtRest": True}))
    error = site.refusal(object_text(security={"encryptionAtRest": False}))
    assert "its Secrets are encrypted" in error.evidence[0]


def journal(**changes: Any) -> Restoring:
    first = Restoring("/b/demo.age", "token", "demo-cp-1", (), "0" * 64, 1, 1, 1, "then", object_text())
    return replace(first, **changes)


def test_nothing_else_changes_a_cluster_that_is_being_restored(site: Site) -> None:
    restoring.save(site.home, journal(before=object_text()))
    for call in (
        workflow.plan(load(object_text()), folders=site.folders),
        workflow.apply(
            load(object_text()), text=object_text(), approve=lambda plan: True, folders=site.folders
        ),
    ):
        with pytest.raises(StateError, match="A restore of demo is under way") as caught:
            asyncio.run(call)
        assert "anykube restore -c demo" in str(caught.value)
        assert "--abort" in str(caught.value)
    assert "A restore of demo is under way" in site.refusal().brief


def abort(site: Site) -> None:
    asyncio.run(restoring_calls.abort("demo", approve=lambda plan: True, folders=site.folders))


def test_what_has_served_is_not_taken_back(site: Site) -> None:
    with pytest.raises(UsageError, match="No restore of demo is under way"):
        abort(site)
    restoring.save(site.home, journal(before=object_text(), stage=Stage.SERVING))
    with pytest.raises(StateError, match="API servers have started on the restored etcd"):
        abort(site)
    restoring.save(site.home, journal())
    with pytest.raises(StateError, match="There was no demo here before") as caught:
        abort(site)
    assert "anykube destroy -c demo" in str(caught.value)


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert restoring.load(tmp_path) is None
    restoring.save(tmp_path, journal(epoch=3))
    assert restoring.load(tmp_path) == journal(epoch=3)
    (tmp_path / restoring.JOURNAL).write_text("{}")
    with pytest.raises(StateError, match="damaged"):
        restoring.load(tmp_path)


PLACES = ("secrets/a.key", "secrets.json", "artifacts.lock.json")


def fill(folder: Path, content: str) -> None:
    for name in PLACES:
        make_folder((folder / name).parent)
        (folder / name).write_text(content)


def read(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in PLACES]


@pytest.mark.parametrize("call", [Placement.place, Placement.take_back])
def test_killed_between_two_moves_the_next_call_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Placement], None]
) -> None:
    rename = Path.rename
    for kill_at in range(7):
        folder = tmp_path / str(kill_at) / "demo"
        folder.mkdir(parents=True, mode=0o700)
        placement = Placement(folder)
        fill(folder, "here")
        fill(placement.new, "archive")
        if call is Placement.take_back:
            placement.place()
        left = kill_at

        def dying(path: Path, target: Path) -> Path:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return rename(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", dying)
            try:
                call(placement)
            except KeyboardInterrupt:
                assert kill_at < 6
        call(placement)
        back = call is Placement.take_back
        assert read(folder) == ["here" if back else "archive"] * 3
        assert read(placement.new if back else folder / OLD) == ["archive" if back else "here"] * 3
        placement.finish("kept")
        assert not (folder / NEW).exists()
        assert (folder / "kept").exists() is not back


def test_keys_of_the_cluster_are_the_archives_and_those_of_machines_ours(site: Site, tmp_path: Path) -> None:
    here = SecretStore(site.home / "secrets")
    generate(here, (SecretRequest("nodes/demo-cp-2/own", KEY_PAIR), SecretRequest("later", KEY_PAIR)))
    target = tmp_path / "new"
    lay_out(site.saved, target, site.home)
    made, archived = SecretStore(target / "secrets"), SecretStore(tmp_path / "origin" / "secrets")
    for name, source in {
        "service-account": archived,
        "ssh": here,
        "nodes/demo-cp-2/own": here,
        "later": here,
    }.items():
        assert made.part(name, "key").reveal() == source.part(name, "key").reveal(), name
    listed = json.loads((target / "secrets.json").read_bytes())["content"]
    assert {"service-account", "ssh", "later"} <= listed.keys()
    generate(made, (SecretRequest("another", KEY_PAIR),))


def test_without_a_cluster_here_all_is_the_archives(site: Site, tmp_path: Path) -> None:
    lay_out(site.saved, tmp_path / "new")
    found, origin = SecretStore(tmp_path / "new" / "secrets"), SecretStore(tmp_path / "origin" / "secrets")
    assert found.names() == origin.names()


@pytest.mark.parametrize(
    ("lineage", "said"), [(LINEAGE, "known here already"), ("x", "Another cluster called demo")]
)
def test_a_cluster_that_is_known_is_not_adopted(tmp_path: Path, lineage: str, said: str) -> None:
    site = Site(tmp_path)
    site.known(lineage)
    site.write()
    before = contents(site.home)
    with pytest.raises(PlanError, match=said):
        asyncio.run(adopting.adopt(site.saved, [site.key], folders=site.folders))
    assert contents(site.home) == before


def test_a_cluster_of_which_nothing_answers_is_not_adopted(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write()
    with pytest.raises(PlanError, match="No machine of demo answers") as caught:
        asyncio.run(adopting.adopt(site.saved, [site.key], folders=site.folders))
    assert "anykube restore" in str(caught.value)
    assert not contents(site.home)
