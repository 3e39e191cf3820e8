"""Places of archives and what retention removes: a folder, and S3 as moto speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.backup.names import archive_name, entry, series, surplus
from anykube.backup.places import Bucket, Folder, Place, place
from anykube.backup.sealed import SealedStore, Wanted, credentials
from anykube.errors import BackupError, StateError, UsageError
from anykube.facts.record import Record
from anykube.secret import Secret

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = ("access", Secret(b"secret"))


def name(hours: int, of: str = "demo-0123abcd") -> str:
    return archive_name(of, START + timedelta(hours=hours), "demo-cp-1")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "archives")
    made = Bucket("archives", f"{tmp_path.name}/", request.getfixturevalue("s3"), key=KEY)
    with made._client() as client:
        client.create_bucket(Bucket="archives")
    return made


def put(there: Place, archive: str, content: bytes = b"content") -> None:
    with there.staging() as folder:
        (folder / archive).write_bytes(content)
        there.put(folder / archive)


def test_what_is_put_is_listed_got_and_deleted(somewhere: Place) -> None:
    assert list(somewhere.entries()) == []
    for hours in (2, 1):
        put(somewhere, name(hours), b"x" * hours)
    put(somewhere, "notes.txt")
    assert [(item.name, item.size) for item in somewhere.entries()] == [(name(1), 1), (name(2), 2)]
    with somewhere.got(name(2)) as path:
        assert path.read_bytes() == b"xx"
    somewhere.delete(name(1))
    somewhere.delete(name(1))
    assert [item.name for item in somewhere.entries()] == [name(2)]
    with pytest.raises(BackupError), somewhere.got(name(9)):
        pass


def test_what_is_staged_only_is_no_archive(somewhere: Place) -> None:
    with pytest.raises(KeyboardInterrupt), somewhere.staging() as folder:
        (folder / name(1)).write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(somewhere.entries()) == []


def test_a_bucket_that_is_not_there_is_an_error_with_a_remedy(s3: str) -> None:
    with pytest.raises(BackupError, match="s3://nowhere") as caught:
        Bucket("nowhere", "", s3, key=KEY).entries()
    assert caught.value.remedy


def test_places_as_people_write_them() -> None:
    assert place("/a/b") == Folder(Path("/a/b"))
    assert place("s3://some/a/b/") == Bucket("some", "a/b/")
    assert place("s3://some") == Bucket("some", "")
    with pytest.raises(UsageError):
        place("s3://")


def test_names_say_what_they_are_of() -> None:
    found = entry(name(3), 7)
    assert found is not None
    assert (found.series, found.node, found.taken) == (
        series("demo", "0123abcd-ffff"),
        "demo-cp-1",
        START + timedelta(hours=3),
    )
    for bad in (
        "notes",
        "demo.age",
        name(1) + ".part",
        "." + name(1),
        name(1).replace("20261120", "20261340"),
    ):
        assert entry(bad, 0) is None


@given(hours=st.sets(st.integers(0, 500), min_size=1), keep=st.integers(0, 20), made=st.integers(-9, 600))
def test_retention_keeps_the_newest_and_what_was_just_made(hours: set[int], keep: int, made: int) -> None:
    items = [found for hour in {*hours, made} if (found := entry(name(hour), 1))]
    gone = {item.name for item in surplus(items, keep, name(made))}
    assert name(made) not in gone
    assert len(items) - len(gone) == min(len(items), max(1, keep))
    stay = [item.taken for item in items if item.name not in gone and item.name != name(made)]
    assert all(
        item.taken < min(stay, default=item.taken + timedelta(1)) for item in items if item.name in gone
    )


def sealable(folder: Path, **changes: object) -> Wanted:
    from anykube.backup import age

    values = {
        "record": Record("demo", "lineage"),
        "recipients": (age.recipient_of(age.new_identity()),),
        "credentials": folder / "credentials",
        "anykube": "1",
    }
    return Wanted(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    path.write_text('[default]\naws_access_key_id = me\naws_secret_access_key = a"b\\c%\n')
    return tmp_path


def test_what_is_sealed_stays_until_something_changes(folder: Path) -> None:
    store, wanted = SealedStore(folder), sealable(folder)
    assert not store.facts(wanted).sha256
    store.seal(wanted)
    facts = store.facts(wanted)
    assert facts.sha256
    assert facts.current
    assert store.facts(wanted) == facts
    assert store.files()["backup/s3.curl"].read_bytes() == b'user = "me:a\\"b\\\\c%"\n'
    assert not store.facts(sealable(folder)).current  # other recipients
    (folder / "credentials").write_text("[default]\naws_access_key_id = me\naws_secret_access_key = new\n")
    assert not store.facts(wanted).current
    (folder / "credentials").unlink()
    assert store.facts(wanted).current  # what is kept still works
    store.files()["backup/state.age"].write_bytes(b"damaged")
    assert not store.facts(wanted).sha256


def test_a_file_without_a_key_for_s3_never_shows_what_it_holds(folder: Path) -> None:
    path = folder / "credentials"
    for text in (
        "",
        "[other]\na = b",
        "aws_secret_access_key = hidden",
        "[default]\naws_secret_access_key = hidden",
    ):
        path.write_text(text)
        with pytest.raises(BackupError) as caught:
            credentials(path)
        assert "hidden" not in str(caught.value)
    path.chmod(0o644)
    with pytest.raises(StateError, match="open to other users"):
        credentials(path)
