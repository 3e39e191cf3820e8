"""What happened in a run, for people and for tests: a line per event, and evidence of each node.

The journal is a `Sink`. It is never read to decide anything: a run that goes on after an interruption
observes the world instead. So a full disk stops the journal, not the run; `problem` says why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from anykube.errors import StateError
from anykube.events import Event, PhaseDone, RunDone, RunStarted, StepDone, StepFailed, as_dict
from anykube.state.clusters import RUNS
from anykube.state.files import make_folder, reported

JOURNAL = "journal.jsonl"
KEPT_RUNS = 30
EVIDENCE_LIMIT = 1024 * 1024
"""Bytes of evidence kept per node and run; what comes later is dropped."""

_BOUNDARIES = (RunStarted, StepDone, StepFailed, PhaseDone, RunDone)
_RUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d{2,})?")
_NODE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def start_run(folder: Path, now: datetime) -> Journal:
    """Begin the journal of a run of the cluster in `folder`, and remove those of the oldest runs."""
    runs = folder / RUNS
    make_folder(runs)
    _prune(runs)
    return Journal(_new_run(runs, now))


class Journal:
    """The journal of the run whose folder this is; the folder's name is the run's id."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self.problem: str | None = None
        self._pending: Future[None] | None = None
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        with reported("opened", folder / JOURNAL):
            self._descriptor = _open_append(folder / JOURNAL)

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.folder.name

    def __call__(self, event: Event) -> None:
        """Write one event as one line, in one write: a killed run leaves at most its last line cut off.
        Events that come after `close` are dropped."""
        if self._descriptor < 0:
            return
        content = {
            name: without_keys(value) if isinstance(value, str) else value
            for name, value in as_dict(event).items()
        }
        self._append(self._descriptor, json.dumps({"time": _timestamp(), **content}, default=str))
        if isinstance(event, _BOUNDARIES):
            self._sync_later()

    def evidence(self, node: str, text: str) -> Path:
        """Add text that explains a failure to the file of a node, and return its path."""
        if not _NODE.fullmatch(node):
            raise StateError(f"{node[:80]!r} is not the name of a node.")
        path = self.folder / f"{node}.log"
        with reported("opened", path):
            descriptor = _open_append(path)
        try:
            room = max(0, EVIDENCE_LIMIT - os.fstat(descriptor).st_size)
            self._append(descriptor, _CONTROL.sub("?", without_keys(text))[:room])
        finally:
            os.close(descriptor)
        return path

    def close(self) -> None:
        """Sync and close. A second call does nothing."""
        if self._descriptor < 0:
            return
        self._syncer.submit(self._sync)
        self._syncer.shutdown(wait=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, descriptor: int, text: str) -> None:
        if self.problem:
            return
        line = text.encode(errors="replace") + b"\n"
        try:
            if os.write(descriptor, line) < len(line):
                self.problem = f"{self.folder}: the disk is full"
        except OSError as error:
            self.problem = f"{self.folder}: {error.strerror}"

    def _sync_later(self) -> None:
        # Syncing may take long while etcd writes to the same disk; the event loop must not wait for it.
        # One that is queued and has not begun covers this line too.
        if self._pending is None or self._pending.running() or self._pending.done():
            self._pending = self._syncer.submit(self._sync)

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.problem = f"{self.folder}: {error.strerror}"


def without_keys(text: str) -> str:
    """The text without any private key that a remote command may have printed."""
    return _PRIVATE_KEY.sub("[private key removed]", text)


def _open_append(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _new_run(runs: Path, now: datetime) -> Path:
    name = f"{now.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}"
    for number in range(1, 100):
        candidate = runs / (name if number == 1 else f"{name}-{number:02}")
        try:
            with reported("made", candidate):
                candidate.mkdir(mode=0o700)
        except StateError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
        else:
            return candidate
    raise StateError(f"There are too many runs of the same second in {runs}.")


def _prune(runs: Path) -> None:
    with reported("cleaned", runs):
        old = sorted(entry for entry in runs.iterdir() if _RUN.fullmatch(entry.name))
        for run in old[: len(old) - KEPT_RUNS + 1] if len(old) >= KEPT_RUNS else []:
            shutil.rmtree(run)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
