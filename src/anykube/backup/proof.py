"""Proof that a snapshot of etcd can be restored: it is, into a scratch folder, and compared.

etcd's own programs do it. `examine` is quick and takes no server; `prove` also runs a scratch etcd, which
nobody else can reach: it listens on sockets in a private folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anykube.backup.manifest import Snapshot
from anykube.errors import BackupError

SECONDS = 900.0
"""For 8 GiB, the largest sensible database, on a slow disk."""
START_SECONDS = 120.0
_SOCKET, _PEER, _NOWHERE = "unix://client:1", "unix://peer:1", "http://localhost:1"
"""etcd wants a port even in the name of a socket; nobody is ever at the advertised URL."""


@dataclass(frozen=True, slots=True)
class Programs:
    """etcd's programs of the version that the snapshot is of."""

    etcd: Path
    etcdctl: Path
    etcdutl: Path


@dataclass(frozen=True, slots=True)
class Holding:
    """What an etcd, or a copy of its data, holds up to a revision. Hashes of equal data are equal as long as
    `compacted`, the revision before which history is gone, is the same. keys: -1 where nobody counted."""

    hash: int
    compacted: int
    keys: int = -1


def save(programs: Programs, client: Sequence[str | Path], target: Path) -> None:
    """Save a snapshot of a running etcd into a file."""
    _run([programs.etcdctl, *client, f"--command-timeout={SECONDS:.0f}s", "snapshot", "save", target])


def revision_of(programs: Programs, snapshot: Path) -> int:
    """The revision of a snapshot file."""
    return int(_json([programs.etcdutl, "snapshot", "status", snapshot, "-w", "json"])["revision"])


def holding(programs: Programs, client: Sequence[str | Path], revision: int, cwd: Path) -> Holding:
    """What a running etcd holds at a revision. `client`: etcdctl's arguments to reach it."""
    control = [programs.etcdctl, *client, "--command-timeout=60s"]
    said = _json([*control, "endpoint", "hashkv", f"--rev={revision}", "-w", "json"], cwd)[0]["HashKV"]
    counting = [*control, "get", "", "--prefix", "--count-only", f"--rev={revision}", "-w", "fields"]
    counted = re.search(r'^"Count" : ([0-9]+)$', _run(counting, cwd), re.MULTILINE)
    if counted is None:
        raise BackupError("etcd does not say how many keys it holds.")
    return Holding(said["hash"], said.get("compact_revision", 0), int(counted[1]))


def examine(programs: Programs, snapshot: Path, revision: int) -> Holding:
    """What a snapshot holds once it is restored. BackupError if it cannot be."""
    with _restored(programs, snapshot) as folder:
        return _on_disk(programs, folder, revision)


def prove(programs: Programs, snapshot: Path, expected: Snapshot) -> None:
    """Restore a snapshot, on disk and into a scratch etcd. BackupError unless all is as expected."""
    with _restored(programs, snapshot) as folder:
        found = _on_disk(programs, folder, expected.revision)
        with _serving(programs, folder) as client:
            served = holding(programs, client, expected.revision, folder)
    wanted = Holding(expected.hash, expected.compacted, expected.keys)
    for what, seen in (
        ("on disk", (found.hash, found.compacted)),
        ("served", (served.hash, served.compacted)),
    ):
        if seen != (wanted.hash, wanted.compacted):
            raise _differs(f"hash {what} {seen[0]}, compacted {seen[1]}", wanted)
    if served.keys != wanted.keys:
        raise _differs(f"{served.keys} keys", wanted)


def _differs(found: str, wanted: Holding) -> BackupError:
    return BackupError(
        "What the snapshot restores is not what etcd held.",
        evidence=[f"found {found}", f"expected {wanted.keys} keys, hash {wanted.hash}, {wanted.compacted}"],
        remedy="do not rely on this archive: anykube backup create",
    )


@contextmanager
def _restored(programs: Programs, snapshot: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="anykube-scratch-") as name:
        folder = Path(name)
        begin = ["--name", "scratch", "--initial-cluster", f"scratch={_NOWHERE}"]
        begin += ["--initial-advertise-peer-urls", _NOWHERE, "--data-dir", str(folder / "data")]
        _run([programs.etcdutl, "snapshot", "restore", snapshot, *begin], folder)
        yield folder


def _on_disk(programs: Programs, folder: Path, revision: int) -> Holding:
    database = folder / "data/member/snap/db"
    said = _json([programs.etcdutl, "hashkv", database, f"--rev={revision}", "-w", "json"])
    return Holding(said["hash"], said["compactRevision"])


@contextmanager
def _serving(programs: Programs, folder: Path) -> Iterator[Sequence[str]]:
    """A scratch etcd on restored data; etcdctl's arguments to reach it from the folder."""
    flags = ["--name=scratch", "--data-dir=data", f"--listen-client-urls={_SOCKET}", "--log-level=error"]
    flags += [f"--listen-peer-urls={_PEER}", f"--advertise-client-urls={_NOWHERE}"]
    client = (f"--endpoints={_SOCKET}",)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([programs.etcd, *flags], cwd=folder, stdout=log, stderr=log)
        try:
            _await(server, [programs.etcdctl, *client, "--command-timeout=1s", "endpoint", "health"], folder)
            yield client
        finally:
            server.kill()
            server.wait()


def _await(server: subprocess.Popen[bytes], ask: Sequence[str | Path], folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while subprocess.run(ask, cwd=folder, capture_output=True, timeout=SECONDS, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            said = (folder / "log").read_text(errors="replace").splitlines()[-3:]
            raise BackupError("A scratch etcd does not start on what was restored.", evidence=said)
        time.sleep(0.02)


def _json(argv: Sequence[str | Path], cwd: Path | None = None) -> Any:
    text = _run(argv, cwd)
    try:
        return json.loads(text)
    except ValueError:
        raise BackupError("etcd's answer is not understood.", evidence=[text[:200]]) from None


def _run(argv: Sequence[str | Path], cwd: Path | None = None) -> str:
    what = " ".join(str(word) for word in argv[1:4])
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(f"etcd's program cannot be run: {what}", evidence=[str(error)]) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise BackupError(
            f"The snapshot cannot be used: {what} failed.", evidence=[line[:300] for line in said]
        )
    return done.stdout.decode(errors="replace")
