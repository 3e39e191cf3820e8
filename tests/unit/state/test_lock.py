"""The lock between real processes: freed by kill -9, and LockedError names the holder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anykube.errors import LockedError, StateError
from anykube.state.lock import ClusterLock, read_holder

HOLDER = """
import sys
from pathlib import Path
from anykube.state.lock import ClusterLock
with ClusterLock(Path(sys.argv[1]), "apply -c demo"):
    print("held", flush=True)
    sys.stdin.read()
"""

NOBODY = 65534
# Root may write everywhere, so the attempt is made by someone else.
UNPRIVILEGED = f"""
import os, sys
from pathlib import Path
from anykube.errors import StateError
from anykube.state.lock import ClusterLock
if os.geteuid() == 0:
    os.setuid({NOBODY})
try:
    ClusterLock(Path(sys.argv[1]), "apply").__enter__()
except StateError as error:
    print(error)
"""


@contextmanager
def other_run(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        if process.poll() is None:
            process.communicate()


def test_a_held_lock_names_its_holder_within_five_seconds(tmp_path: Path) -> None:
    with other_run(tmp_path / "demo") as process:
        begin = time.monotonic()
        with pytest.raises(LockedError) as caught, ClusterLock(tmp_path / "demo", "plan"):
            pytest.fail("two runs hold the lock")
        assert time.monotonic() - begin < 5
        assert f"process {process.pid} of " in str(caught.value)
        assert "apply -c demo" in str(caught.value)
        assert caught.value.exit_status == 4
    with ClusterLock(tmp_path / "demo", "plan") as lock:
        assert lock.interrupted is None


async def test_waiting_leaves_the_event_loop_free(tmp_path: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    with other_run(tmp_path / "demo"):
        ticker = asyncio.create_task(tick())
        with pytest.raises(LockedError):
            async with ClusterLock(tmp_path / "demo", "plan", patience=0.5):
                pytest.fail("two runs hold the lock")
        ticker.cancel()
    assert ticks > 10
    async with ClusterLock(tmp_path / "demo", "plan"):
        assert read_holder(tmp_path / "demo") is not None


def test_a_killed_holder_frees_the_lock_and_is_told_of(tmp_path: Path) -> None:
    with other_run(tmp_path / "demo") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        begin = time.monotonic()
        with ClusterLock(tmp_path / "demo", "apply") as lock:
            assert time.monotonic() - begin < 1
            assert lock.interrupted is not None
            assert lock.interrupted.pid == process.pid
            holder = read_holder(tmp_path / "demo")
            assert holder is not None
            assert holder.pid == os.getpid()


def test_a_run_that_ends_soon_is_waited_for(tmp_path: Path) -> None:
    with other_run(tmp_path / "demo") as process:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        with ClusterLock(tmp_path / "demo", "apply"):
            assert process.wait() == 0


def test_two_locks_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with (
        ClusterLock(tmp_path / "demo", "first"),
        pytest.raises(LockedError, match="Another run holds the cluster demo") as caught,
        ClusterLock(tmp_path / "demo", "second", patience=0),
    ):
        pytest.fail("two runs hold the lock")
    assert f"process {os.getpid()}" in str(caught.value)


def test_an_error_in_the_run_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ClusterLock(tmp_path / "demo", "apply"):
        raise ZeroDivisionError
    assert not (tmp_path / "demo" / "lock.json").exists()
    with ClusterLock(tmp_path / "demo", "apply", patience=0):
        pass


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"null", b'{"pid": "x"}', b"\xff" * 10, b"[" * 4000, b" " * 10_000, b'{"pid": 1, "user": 2}'],
)
def test_garbage_beside_the_lock_does_not_break_the_message(tmp_path: Path, garbage: bytes) -> None:
    with ClusterLock(tmp_path / "demo", "apply"):
        (tmp_path / "demo" / "lock.json").write_bytes(garbage)
        with (
            pytest.raises(LockedError, match="Another run holds") as caught,
            ClusterLock(tmp_path / "demo", "plan", patience=0),
        ):
            pytest.fail("two runs hold the lock")
        assert "lock.json" in str(caught.value)


def test_control_characters_of_a_holder_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with ClusterLock(tmp_path / "demo", "\x1b[2J\n" + "x" * 1000):
        holder = read_holder(tmp_path / "demo")
    assert holder is not None
    assert holder.command.isprintable()
    assert len(holder.command) == 200


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StateError, match="cannot be made"),
        ClusterLock(tmp_path / "file" / "demo", "apply"),
    ):
        pytest.fail("locked what does not exist")
    (tmp_path / "demo" / "lock").mkdir(parents=True)
    (tmp_path / "demo").chmod(0o700)
    with (
        pytest.raises(StateError, match="cannot be locked") as caught,
        ClusterLock(tmp_path / "demo", "apply"),
    ):
        pytest.fail("locked a folder")
    assert str(tmp_path / "demo" / "lock") in str(caught.value)


def test_an_unwritable_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        parent, folder = Path(name), Path(name, "demo")
        folder.mkdir(mode=0o500)
        parent.chmod(0o711)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        run = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(folder)],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    assert f"{folder}/lock: cannot be locked." in run.stdout
    assert "Permission denied" in run.stdout
    assert "do " in run.stdout
