"""Lets the stories share story.py; one suite at a time on a machine, and none trips over a killed one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from tests.e2e.story import MACHINES, Story, telling, worker

LOCK = Path(tempfile.gettempdir()) / "anykube-e2e.lock"


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cluster names are fixed, so two suites on one machine take turns."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    with FileLock(LOCK):
        for rest in MACHINES.glob("e2e-*"):
            left = Story(rest.name, tmp_path_factory.mktemp("left"))
            left.write(worker())
            left.destroy()
        yield


@pytest.fixture(scope="module")
def story(
    alone: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """The cluster of a file, named after it: e2e-<file>. Not applied yet."""
    name = "e2e-" + request.path.stem.removeprefix("test_").replace("_", "-")
    with telling(name, tmp_path_factory.mktemp(name)) as made:
        yield made


def pytest_report_header() -> str:
    """The tools that the stories need, so that a log says what was there."""
    done = subprocess.run(["lxc-start", "--version"], capture_output=True, text=True, check=False)
    return f"lxc {done.stdout.strip()}"
