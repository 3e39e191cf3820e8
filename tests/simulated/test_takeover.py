"""A run that is frozen in its middle, loses the cluster to another, and wakes up: it can do no harm.

Real processes and one state folder. The old run is frozen inside a command on a host; its lock is
taken away by `anykube unlock`, the next run finishes the job, and only then the old one goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.simulated.checks import finished, identity
from tests.simulated.site import NAME, Ended, Site, Zygote
from tests.simulated.trees import tree

from anykube.pki.store import SecretStore
from anykube.state.clusters import ARTIFACTS, RECORD, SECRETS

PROGRAM = Path(sys.executable).with_name("anykube")


@dataclass
class Frozen:
    """A run that was stopped by SIGSTOP; `ended` is how it ended after it was woken up."""

    pid: int
    ended: Ended | None = None


@contextmanager
def frozen(site: Site, command: str, at_command: int) -> Iterator[Frozen]:
    """Freeze a run when so many of its commands have reached hosts; wake it up at the end of the block."""
    asleep, result = threading.Event(), list[Ended]()
    usual = {name: host.on_command for name, host in site.hosts.items()}
    count = 0
    found = Frozen(0)

    def counted() -> None:
        nonlocal count
        count += 1
        if count == at_command and site.zygote.running:
            found.pid = site.zygote.running
            os.kill(found.pid, signal.SIGSTOP)
            asleep.set()

    for host in site.hosts.values():
        host.on_command = counted
    sleeper = threading.Thread(target=lambda: result.append(site.run(command)))
    sleeper.start()
    try:
        assert asleep.wait(60), "the run ended before it could be frozen"
        for name, host in site.hosts.items():
            host.on_command = usual[name]
        first, site.zygote = site.zygote, Zygote(site.folder / "second.log")
        try:
            yield found
        finally:
            site.zygote.close()
            site.zygote = first
    finally:
        if found.pid:
            os.kill(found.pid, signal.SIGCONT)
        sleeper.join(60)
    found.ended = result[0]


def unlock(site: Site, status: int = 0) -> str:
    """Anykube unlock -c demo --yes."""
    done = subprocess.run(
        [PROGRAM, "unlock", "-c", NAME, "--yes"],
        env={**os.environ, "ANYKUBE_STATE_DIR": str(site.state)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stderr


def kept(site: Site) -> dict[str, bytes]:
    """What no old run may touch: the record, the artifact lock and every secret."""
    folder = site.state / NAME
    paths = [folder / RECORD, folder / ARTIFACTS, *(folder / SECRETS).rglob("*")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def history(site: Site) -> dict[str, list[str]]:
    """All that was ever done to units of each host."""
    return {name: list(host.unit_history) for name, host in site.hosts.items()}


@pytest.mark.parametrize("at_command", [3, 4, 7])
def test_a_bring_up_that_is_frozen_taken_over_and_woken_up(fresh: Site, at_command: int) -> None:
    """3 is the first command that changes a host: both were observed before."""
    with frozen(fresh, "apply", at_command) as old:
        refused = fresh.apply().check(4)
        assert f"process {old.pid}" in refused.error
        assert f"anykube unlock -c {NAME}" in refused.error
        told = unlock(fresh)
        assert f"process {old.pid}" in told
        assert "is stopped" in told
        fresh.apply().check()
        assert fresh.plan().check().empty
        before = identity(fresh)
        files, units = kept(fresh), history(fresh)
        trees = {name: tree(host) for name, host in fresh.hosts.items()}
    assert old.ended is not None
    old.ended.check(4)
    fresh.quiet()
    assert kept(fresh) == files
    assert history(fresh) == units, "the old run did something to a unit"
    assert {name: tree(host) for name, host in fresh.hosts.items()} == trees
    assert identity(fresh) == before
    assert fresh.plan().check().empty
    # A start of the old run that was cut in two may have been done twice.
    finished(fresh, starts=False)


def test_an_old_run_does_not_forget_the_cluster_of_a_newer_one(up: Site) -> None:
    """The old destroy wakes up before its last step: record and secrets are there for the new owner."""
    with frozen(up, "destroy", 3) as old:
        unlock(up)
        files = kept(up)
    assert old.ended is not None
    old.ended.check(4)
    up.quiet()
    assert kept(up) == files
    SecretStore(up.state / NAME / SECRETS).facts()
    up.destroy().check()
    assert not (up.state / NAME).exists()


def test_between_the_takeover_and_the_next_run_the_old_one_is_refused_too(fresh: Site) -> None:
    """No node has seen a newer epoch yet: only this machine can tell."""
    with frozen(fresh, "apply", 4) as old:
        unlock(fresh)
        files = kept(fresh)
    assert old.ended is not None
    old.ended.check(4)
    assert "was taken away from this run" in old.ended.error
    assert kept(fresh) == files
    fresh.quiet()
    fresh.apply().check()
    assert fresh.plan().check().empty
    finished(fresh, starts=False)


def test_nobody_to_take_it_from(up: Site) -> None:
    epoch = identity(up).epoch
    began = time.monotonic()
    assert f"Nobody holds the lock of {NAME}" in unlock(up)
    assert time.monotonic() - began < 20
    assert identity(up).epoch == epoch
