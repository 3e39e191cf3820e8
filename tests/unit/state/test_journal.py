"""The journal: whole lines after any kill, old runs removed, no key in it, and a full disk stops no run."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anykube.errors import StateError
from anykube.events import RunDone, RunStarted, StepDone, StepFailed, StepStarted
from anykube.state.journal import EVIDENCE_LIMIT, JOURNAL, KEPT_RUNS, Journal, start_run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIcanary\n-----END EC PRIVATE KEY-----"

WRITER = """
import sys
from pathlib import Path
from anykube.events import StepDone, StepStarted
from anykube.state.journal import Journal
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    journal(StepStarted(step=f"a/{number}", phase="bootstrap", target="a", title="x" * 500))
    journal(StepDone(step=f"a/{number}", phase="bootstrap", target="a", seconds=1.0))
    if number == 20:
        print("writing", flush=True)
"""


def lines(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (journal.folder / JOURNAL).read_text().splitlines()]


def test_each_event_is_a_line_in_order_with_its_time(tmp_path: Path) -> None:
    events = [
        RunStarted("demo", "r", "apply"),
        StepStarted("a/x", "bootstrap", "a", "ünï\ncode"),
        StepDone("a/x", "bootstrap", "a", 0.5),
        RunDone("done", 1, 1, 2.0),
    ]
    with start_run(tmp_path, NOW) as journal:
        for event in events:
            journal(event)
        written = lines(journal)
    assert [line["type"] for line in written] == ["RunStarted", "StepStarted", "StepDone", "RunDone"]
    assert written[1]["title"] == "ünï\ncode"
    times = [datetime.fromisoformat(line["time"]) for line in written]
    assert times == sorted(times)
    assert abs(times[0] - datetime.now(UTC)) < timedelta(minutes=1)
    assert journal.problem is None


def test_the_run_is_named_by_its_time_and_unique(tmp_path: Path) -> None:
    runs = []
    for _ in range(3):
        with start_run(tmp_path, NOW) as journal:
            runs.append(journal.run)
    assert runs == ["2026-11-20T12-00-00Z", "2026-11-20T12-00-00Z-02", "2026-11-20T12-00-00Z-03"]
    assert runs == sorted(runs)


def test_the_newest_runs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o700)
    (tmp_path / "runs" / "not-a-run").mkdir()
    for minute in range(KEPT_RUNS + 5):
        with start_run(tmp_path, NOW + timedelta(minutes=minute)) as journal:
            newest = journal.run
    kept = sorted(entry.name for entry in (tmp_path / "runs").iterdir())
    assert len(kept) == KEPT_RUNS + 1
    assert kept[0] == "2026-11-20T12-05-00Z"
    assert kept[-2:] == [newest, "not-a-run"]


def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with start_run(tmp_path / "demo", NOW) as journal:
            journal(RunStarted("demo", journal.run, "apply"))
            journal.evidence("demo-cp-1", "text")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700


def test_after_a_kill_all_lines_but_the_last_are_whole(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "run")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    written = (tmp_path / "run" / JOURNAL).read_text().splitlines()
    assert len(written) >= 40
    steps = [json.loads(line)["step"] for line in written[:-1]]
    assert steps == [f"a/{number // 2 + 1}" for number in range(len(steps))]


def test_private_keys_are_removed_wherever_they_come_from(tmp_path: Path) -> None:
    with start_run(tmp_path, NOW) as journal:
        journal(StepFailed("a/x", "bootstrap", "a", "RUN-001", f"it said: {KEY} and went on"))
        journal(StepFailed("a/x", "bootstrap", "a", "RUN-001", f"it was cut off: {KEY[:50]}"))
        journal.evidence("a", f"kubelet: {KEY}\nthen {KEY[:50]}")
        written = lines(journal)
    assert written[0]["error"] == "it said: [private key removed] and went on"
    for path in journal.folder.iterdir():
        assert "MHcCAQEE" not in path.read_text()


def test_evidence_is_added_bounded_and_harmless_on_a_terminal(tmp_path: Path) -> None:
    with start_run(tmp_path, NOW) as journal:
        path = journal.evidence("demo-cp-1", "first\tline\nsecond \x1b[31mred\x9b")
        assert journal.evidence("demo-cp-1", "third") == path
        assert path.read_text() == "first\tline\nsecond ?[31mred?\nthird\n"
        journal.evidence("demo-cp-1", "x" * (2 * EVIDENCE_LIMIT))
        assert path.stat().st_size <= EVIDENCE_LIMIT + 10
        for name in ("../x", "a/b", "", "journal.jsonl/..", "A", "x\n"):
            with pytest.raises(StateError, match="not the name of a node"):
                journal.evidence(name, "text")


def test_a_full_disk_stops_the_journal_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = start_run(tmp_path, NOW)

    def full_disk(_descriptor: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        journal(RunStarted("demo", "r", "apply"))
    journal(RunDone("done", 0, 0, 0.0))
    journal.close()
    assert journal.problem is not None
    assert "No space left on device" in journal.problem
    assert (journal.folder / JOURNAL).read_bytes() == b""


def test_events_after_close_are_dropped(tmp_path: Path) -> None:
    journal = start_run(tmp_path, NOW)
    journal.close()
    journal(RunDone("done", 0, 0, 0.0))
    journal.close()
    assert lines(journal) == []
