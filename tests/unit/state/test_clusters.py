"""The list of clusters, their folders, and how one is forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from anykube.errors import StateError
from anykube.state.clusters import clusters, folder, forget
from anykube.state.record import RecordStore, new_record


def test_only_what_left_a_record_or_secrets_is_a_cluster(tmp_path: Path) -> None:
    assert clusters(tmp_path / "none") == ()
    for name in ("two", "one"):
        RecordStore(folder(tmp_path, name)).save(new_record(name))
    (tmp_path / "lost-record" / "secrets").mkdir(parents=True)
    (tmp_path / "only-locked-once").mkdir()
    (tmp_path / ".forgotten-x").mkdir()
    (tmp_path / "notes.txt").touch()
    assert clusters(tmp_path) == ("lost-record", "one", "two")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", "A", "a\n", "-a", "a-", "a" * 64, "a;b", "é"]
)
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StateError, match="not a cluster name"):
        folder(tmp_path, name)


def test_forget_removes_all_of_one_cluster_and_nothing_else(tmp_path: Path) -> None:
    for name in ("demo", "other"):
        RecordStore(folder(tmp_path, name)).save(new_record(name))
    forget(folder(tmp_path, "demo"))
    forget(folder(tmp_path, "demo"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_a_killed_forget_leaves_no_half_cluster_and_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("demo", "other"):
        RecordStore(folder(tmp_path, name)).save(new_record(name))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(folder(tmp_path, "demo"))
    assert clusters(tmp_path) == ("other",)
    forget(folder(tmp_path, "other"))
    assert list(tmp_path.iterdir()) == []


def killed(_path: Path, ignore_errors: bool = False) -> None:
    raise KeyboardInterrupt
