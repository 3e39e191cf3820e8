"""Private files: nothing half-written, nothing open to others, errors that name the path."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anykube.errors import StateError
from anykube.state.files import make_folder, read_file, write_file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")
    write_file(path, b"two")
    assert read_file(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_without_replace_the_first_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one", replace=False)
    with pytest.raises(FileExistsError):
        write_file(path, b"two", replace=False)
    assert read_file(path) == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_old_bytes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StateError, match="cannot be written") as caught:
        write_file(path, b"new")
    assert caught.value.evidence == ("No space left on device",)
    assert read_file(path) == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_bytes_are_synced_before_they_get_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        order.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        real_sync(descriptor)

    def replace(source: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    write_file(tmp_path / "file", b"x")
    assert order == ["sync file", "rename", "sync folder"]


def test_a_file_that_is_too_large_is_not_ours(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"12345")
    assert read_file(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(StateError, match="larger than 4 bytes"):
        read_file(tmp_path / "file", limit=4)


def test_folders_are_made_private_with_their_parents(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    make_folder(tmp_path / "a" / "b")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be made") as caught:
        make_folder(tmp_path / "file" / "folder")
    assert str(tmp_path / "file" / "folder") in caught.value.brief
    with pytest.raises(StateError, match="not a folder"):
        make_folder(tmp_path / "file")
