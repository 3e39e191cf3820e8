"""What attempts and snapshots of hosts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import add_worker, failover
from bench.finish import Lines
from bench.lab import Site, cluster_text
from bench.shape import Shape
from tests.e2e.prober import Probes

from anykube.session import Folders
from anykube.spec.load import load


def test_the_last_line_counts() -> None:
    assert Lines(api=3, servers=5, nodes=9, dns=7).as_dict()["all"] == 9


def test_attempts_before_the_cut_do_not_count() -> None:
    attempts = [
        (0.0, True),
        (1.0, False),
        (2.0, True),
        (10.1, True),
        (10.2, False),
        (10.7, True),
        (11.0, False),
    ]
    found = failover.figures(Probes([*attempts, (11.1, True)]), 10.0)
    assert found == pytest.approx({"outage": 0.5, "last_failure": 1.0, "failed": 2, "attempts": 5})


def test_an_api_that_does_not_come_back_is_away_until_the_end() -> None:
    found = failover.figures(Probes([(10.0, True), (11.0, False), (19.0, False)]), 10.0)
    assert found["outage"] == 8.0


def test_hosts_of_steps(tmp_path: Path) -> None:
    text = cluster_text("w", AFTER := Shape(3, 2))
    made = Site(load(text, "w"), text, tmp_path)
    assert made.folders == Folders(tmp_path / "state", made.folders.cache)
    for run, targets in {
        "2026-01-01": ["w-cp-1"],
        "2026-01-02": ["local", "w-worker-2", "w-worker-2"],
    }.items():
        folder = tmp_path / "state" / "w" / "runs" / run
        folder.mkdir(parents=True)
        events = [{"type": "StepStarted", "target": target} for target in targets]
        done = {"type": "StepDone", "target": "w-cp-1"}
        (folder / "journal.jsonl").write_text("".join(f"{json.dumps(e)}\n" for e in [*events, done]))
    assert made.nodes[-1].name == "w-worker-2"
    assert add_worker.AFTER == AFTER
    assert add_worker.steps(made) == {"w-worker-2": 2}


def test_files_that_came_went_or_changed_differ() -> None:
    before = {"kept": "1", "changed": "1", "gone": "1"}
    after = {"kept": "1", "changed": "2", "new": "1"}
    assert add_worker.differences(before, after) == ["changed", "gone", "new"]
