"""Taking a lock away: the old holder can change nothing more, wherever it was frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anykube.errors import FencedError, LockedError, StateError
from anykube.pki import kinds
from anykube.pki.store import SecretStore
from anykube.secret import Secret
from anykube.state import files
from anykube.state.lock import ClusterLock, read_holder
from anykube.state.record import RecordStore, new_record
from anykube.state.takeover import Held, held, take_over

HOLDER = """
import sys
from pathlib import Path
from anykube.errors import AnykubeError
from anykube.state.lock import ClusterLock
with ClusterLock(Path(sys.argv[1]), "apply demo") as lock:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lock.check()
    except AnykubeError as error:
        sys.exit(error.exit_status)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a cluster whose record has epoch 1."""
    records = RecordStore(tmp_path / "demo")
    records.save(new_record("demo"))
    records.next_epoch()
    return tmp_path / "demo"


@contextmanager
def frozen(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock and is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            if process.poll() is None:
                process.communicate("\n")


def seen(folder: Path) -> Held:
    found = held(folder)
    assert found is not None
    return found


def epoch(folder: Path) -> int:
    record = RecordStore(folder).load()
    assert record is not None
    return record.epoch


def test_nobody_holds_it(folder: Path) -> None:
    assert held(folder) is None
    with ClusterLock(folder, "apply"):
        pass
    assert held(folder) is None


def test_a_frozen_holder_is_described_and_loses_the_lock(folder: Path) -> None:
    with frozen(folder) as process:
        with pytest.raises(LockedError, match="anykube unlock -c demo"):
            ClusterLock(folder, "apply", patience=0).__enter__()
        found = seen(folder)
        assert found.holder is not None
        assert found.holder.pid == process.pid
        assert "is stopped" in found.process
        take_over(folder, found)
        assert held(folder) is None
        assert epoch(folder) == 2
        with ClusterLock(folder, "apply", patience=0) as lock:
            assert lock.interrupted == found.holder
            lock.check()
            process.send_signal(signal.SIGCONT)
            process.communicate("\n")
            assert process.returncode == 4
            holder = read_holder(folder)
            assert holder is not None
            assert holder.pid == os.getpid(), "the old holder removed the name of the new one"
            lock.check()


def test_a_holder_that_lives_is_told_from_a_frozen_one(folder: Path) -> None:
    with ClusterLock(folder, "apply"):
        assert seen(folder).process == "is alive and not stopped"


def test_of_two_takeovers_one_wins(folder: Path) -> None:
    with ClusterLock(folder, "apply") as old:
        first, second = seen(folder), seen(folder)
        take_over(folder, first)
        with ClusterLock(folder, "apply again", patience=0) as new:
            with pytest.raises(LockedError, match="taken over by another meanwhile"):
                take_over(folder, second)
            new.check()
        with pytest.raises(FencedError):
            old.check()
    assert epoch(folder) == 2


def test_two_takeovers_at_the_same_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ClusterLock(folder, "apply"):
        found = seen(folder)
        refused: list[LockedError] = []

        def second(path: Path) -> None:
            with pytest.raises(LockedError, match="at this moment") as caught:
                take_over(folder, found)
            refused.append(caught.value)

        monkeypatch.setattr("anykube.state.takeover.sync_folder", second)
        take_over(folder, found)
        assert len(refused) == 1
    assert epoch(folder) == 2


def test_a_takeover_that_was_killed_leaves_the_lock_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with ClusterLock(folder, "apply") as old:
        monkeypatch.setattr("anykube.state.takeover.remove_leftovers", killed)
        with pytest.raises(KeyboardInterrupt):
            take_over(folder, seen(folder))
        with pytest.raises(FencedError):
            old.check()
        assert held(folder) is None


def test_a_waiting_run_never_gets_the_lock_file_that_was_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened the old file before the takeover, and locks it after its holder has ended."""
    usual, opened = os.open, list[int]()

    def open_then_replace(path: Any, *arguments: Any, **named: Any) -> int:
        descriptor = usual(path, *arguments, **named)
        if Path(path).name == "lock" and not opened:
            opened.append(descriptor)
            (folder / "other").touch()
            (folder / "other").replace(folder / "lock")
        return descriptor

    with ClusterLock(folder, "before"):
        pass
    monkeypatch.setattr(os, "open", open_then_replace)
    with ClusterLock(folder, "apply", patience=1) as lock:
        assert opened
        lock.check()


def freeze_before_the_check(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take the lock away in the moment after the first temporary file was written."""
    usual = files._create

    def create(path: Path, content: bytes) -> None:
        usual(path, content)
        monkeypatch.setattr(files, "_create", usual)
        take_over(folder, seen(folder))

    monkeypatch.setattr(files, "_create", create)


def freeze_after_the_check(monkeypatch: pytest.MonkeyPatch, folder: Path, lock: ClusterLock) -> None:
    """Take the lock away in the moment after the last check, before the rename."""
    usual, done = lock.check, list[int]()

    def check() -> None:
        usual()
        if list(folder.rglob("*.tmp")) and not done:
            done.append(1)
            take_over(folder, seen(folder))

    monkeypatch.setattr(lock, "check", check)


@pytest.mark.parametrize("moment", ["before the check", "after the check"])
@pytest.mark.parametrize("what", ["record", "certificate", "authority"])
def test_nothing_of_the_old_run_is_written_after_a_takeover(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str, what: str
) -> None:
    with ClusterLock(folder, "apply") as lock:
        store = SecretStore(folder / "secrets", lambda: lock.check())
        store.put("ssh", kinds.SSH_KEY, Secret(_key()))
        store.put("nodes/a/x", kinds.KEY_PAIR, Secret(_pair()))
        before = {path: path.read_bytes() for path in (folder / "secrets").rglob("*") if path.is_file()}
        if moment == "before the check":
            freeze_before_the_check(monkeypatch, folder)
        else:
            freeze_after_the_check(monkeypatch, folder, lock)
        records = RecordStore(folder, lambda: lock.check())
        record = records.load()
        assert record is not None
        with pytest.raises((FencedError, StateError)):
            match what:
                case "record":
                    records.save(replace(record, object="of the old run"))
                case "certificate":
                    store.put("nodes/a/x", kinds.KEY_PAIR, Secret(_pair()), replace=True)
                case "authority":
                    store.put("service-account", kinds.KEY_PAIR, Secret(_pair()))
    after = {path: path.read_bytes() for path in (folder / "secrets").rglob("*") if path.is_file()}
    assert after == before
    kept = RecordStore(folder).load()
    assert kept is not None
    assert (kept.epoch, kept.object) == (2, "")
    assert not list(folder.rglob("*.tmp"))


def _key() -> bytes:
    from anykube.pki.authority import _ssh_key

    return _ssh_key()


def _pair() -> bytes:
    from anykube.pki.authority import _key_pair

    return _key_pair()
