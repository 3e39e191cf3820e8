"""Hosts that fail and runs that are out of date: the others are done, the error names it, apply ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.simulated.checks import finished, identity
from tests.simulated.site import Ended, Site, Zygote

from anykube.testing import Faults

QUICK = 1.5
"""Seconds in which a stalled host must answer here."""


@pytest.fixture
def healed(fresh: Site) -> Iterator[Site]:
    """A fresh site whose hosts answer again after the test, whatever was done to them."""
    yield fresh
    for host in fresh.hosts.values():
        host.faults = Faults()
        fresh.do(host.stop())
        fresh.do(host.start())


def _ends_well(site: Site, epoch: int) -> None:
    site.apply().check()
    assert site.plan().check().empty
    assert identity(site).epoch > epoch
    finished(site)


def test_a_host_that_refuses_connections(healed: Site) -> None:
    worker = healed.hosts["node-2"]
    healed.do(worker.stop())
    ended = healed.apply().check(3)
    assert "node-2 cannot be reached" in ended.error
    assert "node-1" not in ended.error
    assert ("StepDone", "node-1/kubelet") in ended.events
    assert ("StepDone", "cluster/dns") in ended.events
    assert not [step for _, step in ended.events if step.startswith("node-2/")]
    healed.do(worker.start())
    _ends_well(healed, identity(healed).epoch)


def test_a_host_that_stalls(healed: Site) -> None:
    worker = healed.hosts["node-2"]
    worker.faults.stall = True
    ended = healed.apply(probe_seconds=QUICK).check(3)
    assert "node-2 cannot be reached" in ended.error
    assert f"did not answer within {QUICK:g} s" in ended.error
    assert ("StepDone", "node-1/kubelet") in ended.events
    worker.faults.stall = False
    _ends_well(healed, identity(healed).epoch)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
def test_a_host_that_comes_back_too_late_is_left_for_the_next_run(healed: Site, fault: str) -> None:
    """It missed its turn, so nobody waits for its kubelet; and the run does not claim that all is done."""
    setattr(healed.hosts["node-2"].faults, fault, 1)
    ended = healed.apply().check(3)
    assert "node-2 cannot be reached: node-2: the SSH connection broke" in ended.error
    assert not [step for _, step in ended.events if step.startswith("node-2/")]
    assert ("StepDone", "cluster/dns") in ended.events
    _ends_well(healed, identity(healed).epoch)


def test_a_wrong_host_key_is_named_and_not_tried_again(up: Site) -> None:
    document = json.loads(up.text)
    hosts = document["spec"]["machines"]["provider"]["machines"]["hosts"]
    hosts[1]["hostKey"] = hosts[0]["hostKey"]
    text = json.dumps(document)
    plan = up.plan(text=text).check()
    (obstacle,) = plan.obstacles.values()
    assert obstacle.startswith("may be another machine: node-2 (")
    assert "shows another host key than the one pinned for it" in obstacle
    assert obstacle.count("SHA256:") == 2
    assert "pin its new key (hostKey in the object)" in obstacle
    started = time.monotonic()
    ended = up.apply(text=text).check(3)
    assert time.monotonic() - started < 10, "a wrong host key was waited for"
    assert "node-2 may be another machine" in ended.error
    assert up.hosts["node-2"].commands == [], "a command was sent to a host that is not the pinned one"
    assert "pin its new key" in up.destroy(text=text).check(3).error


def test_a_host_that_fails_in_the_middle(fresh: Site) -> None:
    flag = fresh.hosts["node-2"].path("/etc/simulated/fail/containerd.service")
    flag.touch()
    ended = fresh.apply().check(3)
    flag.unlink()
    assert "node-2/containerd" in ended.error
    assert "the simulation was told so" in ended.error
    assert ("StepDone", "node-1/kubelet") in ended.events
    assert ("StepStarted", "node-2/kubelet") not in ended.events
    epoch = identity(fresh).epoch
    fresh.apply().check()
    assert identity(fresh).epoch == epoch + 1
    assert fresh.plan().check().empty
    finished(fresh, starts=False)  # the one that failed was started twice


def _edit(site: Site, text: str) -> None:
    site.hosts["node-2"].path("/etc/containerd/config.toml").write_text(text)


def test_an_old_copy_of_the_state_is_refused(up: Site, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(up.state, copy)
    for number in (1, 2):
        _edit(up, f"# {number}\n")
        up.apply().check()
    _edit(up, "# 3\n")
    ended = up.apply(state=copy).check(3)
    assert "node-2 has seen run 3, this record knows 1 only" in ended.error
    assert "use the newest copy of the state folder" in ended.error
    assert up.hosts["node-2"].path("/etc/containerd/config.toml").read_text() == "# 3\n"
    up.apply().check()
    assert up.plan().check().empty


def test_a_run_that_sleeps_while_a_newer_one_works_is_fenced(fresh: Site, tmp_path: Path) -> None:
    """A laptop that is closed in the middle of a run, and opened when another has finished the job."""
    copy = tmp_path / "copy"
    ended = _asleep_while(fresh, lambda: _newer_runs(fresh, copy), copy)
    assert "has been changed by a newer run" in ended.error
    ended.check(4)
    fresh.quiet()
    assert fresh.plan(state=copy).check().empty, "the newer run's work was changed"


def _newer_runs(site: Site, copy: Path) -> None:
    """Two runs from a copy of the state: newer than the one that sleeps, which began from the same."""
    zygote, site.zygote = site.zygote, Zygote(site.folder / "second.log")
    try:
        # No quiet() between them: it would end the command of the one that sleeps.
        site.apply(state=copy, kill_at=("StepDone", "*"))
        site.apply(state=copy).check()
    finally:
        site.zygote.close()
        site.zygote = zygote


def _asleep_while(site: Site, work: Callable[[], None], copy: Path) -> Ended:
    """A run that sleeps, from its first change of node-1 on, until the work is done; how it ended."""
    site.apply(kill_at=("StepDone", "node-1/etcd")).check(-signal.SIGKILL)
    site.quiet()
    shutil.copytree(site.state, copy)
    asleep, pids = threading.Event(), list[int]()
    host = site.hosts["node-1"]
    seen = len(host.commands)
    usual = host.on_command

    def put_to_sleep() -> None:
        # The second command to the host: the first was the observation.
        if len(host.commands) == seen + 2 and site.zygote.running:
            pids.append(site.zygote.running)
            os.kill(pids[0], signal.SIGSTOP)
            asleep.set()

    result: list[Ended] = []
    host.on_command = put_to_sleep
    sleeper = threading.Thread(target=lambda: result.append(site.apply()))
    sleeper.start()
    try:
        assert asleep.wait(30)
        host.on_command = None
        work()
    finally:
        host.on_command = usual
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        sleeper.join(60)
    return result[0]
