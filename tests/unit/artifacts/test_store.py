"""The store keeps what it was given, gives it back the same, and keeps nothing that is wrong."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.artifacts.release_server import make_program

from anykube.artifacts import inspection
from anykube.artifacts.image import Content, Image, write
from anykube.artifacts.store import STALE_SECONDS, Store, Stored
from anykube.errors import ArtifactError

IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "incoming"
    path.write_bytes(data)
    return path


def everything(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


@IN_ONE_FOLDER
@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_what_was_added_comes_back_the_same(tmp_path: Path, payloads: list[bytes]) -> None:
    store = Store(tmp_path / "store")
    for payload in payloads:
        data = make_program(payload=payload)
        stored = store.add(write_file(tmp_path, data), kind="binary", arch="amd64")
        assert stored.sha256 == hashlib.sha256(data).hexdigest()
        assert store.path(stored.sha256).read_bytes() == data
        assert store.has(stored.sha256, len(data))
        assert stored.sha256 in store.contents()
        store.verify(stored.sha256)


@IN_ONE_FOLDER
@given(st.data())
def test_a_program_cut_anywhere_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    whole = make_program(payload=b"p" * 300)
    cut = data.draw(st.integers(0, len(whole) - 1))
    store = Store(tmp_path / "empty")
    with pytest.raises(ArtifactError):
        store.add(write_file(tmp_path, whole[:cut]), kind="binary", arch="amd64")
    assert everything(store) == []


@IN_ONE_FOLDER
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path / "empty")
    for kind in ("binary", "image"):
        with pytest.raises(ArtifactError):
            store.add(write_file(tmp_path, data), kind=kind, arch="amd64")
    assert everything(store) == []


@IN_ONE_FOLDER
@given(st.data())
def test_a_damaged_header_never_ends_in_another_error(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(make_program())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        inspection.check(write_file(tmp_path, bytes(whole)), kind="binary", arch="amd64")
    except ArtifactError as error:
        assert error.brief


def test_a_program_for_another_machine_is_refused(store: Store, tmp_path: Path) -> None:
    file = write_file(tmp_path, make_program("arm64"))
    with pytest.raises(ArtifactError, match=r"for arm64, wanted is amd64"):
        store.add(file, kind="binary", arch="amd64")
    store.add(file, kind="binary", arch="arm64")
    assert len(store.contents()) == 1


def test_a_web_page_is_refused_with_its_beginning(store: Store, tmp_path: Path) -> None:
    file = write_file(tmp_path, b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(ArtifactError, match="not a program") as caught:
        store.add(file, kind="binary", arch="amd64")
    assert "an HTML page" in caught.value.evidence[0]


@pytest.mark.parametrize("expectation", [{"sha256": "0" * 64}, {"size": 5}])
def test_what_differs_from_the_expectation_is_not_kept(
    store: Store, tmp_path: Path, expectation: dict[str, object]
) -> None:
    with pytest.raises(ArtifactError):
        store.add(write_file(tmp_path, make_program()), kind="binary", arch="amd64", **expectation)  # type: ignore[arg-type]
    assert everything(store) == []


def test_files_are_read_only_and_programs_executable(store: Store, tmp_path: Path) -> None:
    program = store.add(write_file(tmp_path, make_program()), kind="binary", arch="amd64")
    assert store.path(program.sha256).stat().st_mode & 0o777 == 0o555
    archive = tmp_path / "image.tar"
    write(Image("anykube.local/x:1", "amd64", {"/x": Content(b"x")}, ("/x",)), archive)
    image = store.add(archive, kind="image", arch="amd64")
    assert store.path(image.sha256).stat().st_mode & 0o777 == 0o444


def test_damage_is_found_and_healed_by_adding_again(store: Store, tmp_path: Path) -> None:
    file = write_file(tmp_path, make_program())
    stored = store.add(file, kind="binary", arch="amd64")
    target = store.path(stored.sha256)
    target.chmod(0o644)
    target.write_bytes(target.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match="damaged"):
        store.verify(stored.sha256)
    store.add(file, kind="binary", arch="amd64")
    store.verify(stored.sha256)


def test_what_is_absent_is_said_to_be(store: Store) -> None:
    assert not store.has("0" * 64)
    assert store.contents() == frozenset()
    with pytest.raises(ArtifactError, match="cannot be read"):
        store.verify("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_sha256_is_a_path(store: Store, name: str) -> None:
    with pytest.raises(ArtifactError):
        store.path(name)


def test_an_index_entry_counts_only_while_its_file_is_there(store: Store, tmp_path: Path) -> None:
    stored = store.add(write_file(tmp_path, make_program()), kind="binary", arch="amd64")
    noted = Stored(stored.sha256, stored.size, "1.2.3")
    store.remember("key", noted)
    assert store.recall("key") == noted
    assert store.recall("another") is None
    store.path(stored.sha256).unlink()
    assert store.recall("key") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": "../x", "size": 1, "version": ""}'])
def test_a_damaged_index_entry_counts_as_none(store: Store, text: str) -> None:
    store.remember("key", Stored("0" * 64, 1))
    (store.root / "index" / "key").write_text(text)
    assert store.recall("key") is None


def test_a_work_folder_is_removed_and_so_is_an_old_one(store: Store) -> None:
    with store.workdir() as first:
        (first / "file").write_text("x")
    assert not first.exists()
    fresh = store.root / "work" / "of-another-run"
    fresh.mkdir()
    left = [store.root / "work" / "left-by-a-crash", store.root / "sha256" / ".incoming-x"]
    left[0].mkdir()
    left[1].parent.mkdir()
    left[1].write_bytes(b"half")
    for path in left:
        old = path.stat().st_mtime - STALE_SECONDS - 1
        os.utime(path, (old, old))
    with store.workdir():
        assert not any(path.exists() for path in left)
        assert fresh.exists()


def test_many_writers_of_the_same_file_end_with_one(store: Store, tmp_path: Path) -> None:
    file = write_file(tmp_path, make_program(payload=b"z" * 3_000_000))
    failures: list[BaseException] = []

    def add() -> None:
        try:
            store.add(file, kind="binary", arch="amd64")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(everything(store)) == 1
