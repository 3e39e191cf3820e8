"""kill -9 of a real apply at every point: the next apply finishes the job, and it is the same cluster.

The fast tests take a sample that differs from day to day (its seed is printed); `make soak` takes all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from tests.simulated.checks import Identity, finished, identity
from tests.simulated.kills import MOMENTS, Case, byte_cases, command_cases, cut_cases, kill_cases, sample
from tests.simulated.site import DryRun, Ended, Site

from anykube.errors import TransportError

FAST = 3
LONGEST_RELAY = 60


def killed(site: Site, case: Case, command: str = "apply", text: str = "") -> Ended:
    """Run a command that is killed at this point."""
    match case.point:
        case (str(event), str(step)):
            return site.run(command, kill_at=(event, step), text=text)
        case (int(number), float(seconds)):
            return site.run(command, kill_after=(number, seconds), text=text)
    raise AssertionError(case)


def _survives_kill(site: Site, case: Case, *, orphans: bool) -> None:
    """orphans: whether what the killed run had begun on the hosts still runs when the next begins."""
    site.restore("fresh")
    ended = killed(site, case)
    assert ended.killed or (case.kind == "command" and ended.status == 0), f"{case}: {ended}"
    before = identity(site)
    if not orphans:
        site.quiet()
    _ends_well(site, before, case, starts=not orphans)


def _ends_well(site: Site, before: Identity, case: Case, *, starts: bool) -> None:
    again = site.apply()
    assert again.status == 0, f"after {case}: {again.error}"
    site.quiet()
    identity(site).continues(before)
    plan = site.plan().check()
    assert plan.empty, f"after {case}: " + "\n".join(plan.plan)
    try:
        finished(site, starts=starts)
    except AssertionError as error:
        raise AssertionError(f"after {case}: {error}") from error


def _survives_cut(site: Site, case: Case) -> None:
    """A broken connection is tried again within the same run, unless it breaks each time."""
    site.restore("fresh")
    name, number = case.point
    assert isinstance(name, str)
    assert isinstance(number, int)
    faults = site.hosts[name].faults
    if case.kind == "cut at byte":
        faults.cut_after_bytes = number
    elif case.kind == "cut before":
        faults.cut_before = number
    else:
        faults.cut_after = number
    ended = site.apply()
    if case.kind == "cut at byte":
        assert ended.status in (0, 3), f"{case}: {ended.error}"
        assert ended.status == 0 or (name in ended.error and TransportError.code not in ended.error)
        faults.cut_after_bytes = None
    elif ended.status:  # only the observation is not tried again: the host is left for the next run
        assert ended.status == 3, f"{case}: {ended.error}"
        assert f"{name} cannot be reached" in ended.error, f"{case}: {ended.error}"
    before = identity(site)
    site.quiet()
    _ends_well(site, before, case, starts=True)


def all_survive(cases: Sequence[Case], survives: Callable[[Case], None]) -> None:
    """Try every case, and tell all that failed at once."""
    failed = []
    for case in cases:
        try:
            survives(case)
        except AssertionError as error:
            failed.append(str(error))
    assert not failed, f"{len(failed)} of {len(cases)} points:\n" + "\n".join(failed)


def test_killed_at_some_points_the_next_run_finishes(fresh: Site, dry: DryRun) -> None:
    for case in sample(kill_cases(dry), FAST):
        _survives_kill(fresh, case, orphans=False)


def test_connections_cut_at_some_points_are_made_again(fresh: Site, dry: DryRun) -> None:
    for case in sample([*cut_cases(dry), *byte_cases(dry)], 2):
        _survives_cut(fresh, case)


def _survives_kill_of_a_change(site: Site, case: Case) -> None:
    """The object changes on a cluster that runs: afterwards every process has the new files."""
    site.restore("up")
    text = site.object_text(security={"audit": False})
    before = identity(site)
    ended = killed(site, case, text=text)
    assert ended.killed or (case.kind == "command" and ended.status == 0), f"{case}: {ended}"
    site.quiet()
    again = site.apply(text=text)
    assert again.status == 0, f"after {case}: {again.error}"
    identity(site).continues(before)
    assert site.plan(text=text).check().empty, f"after {case}"
    head = site.hosts["node-1"]
    assert not head.path("/etc/kubernetes/audit-policy.yaml").exists(), f"after {case}"
    assert head.unit_history.count("start kube-apiserver.service") == 2, f"after {case}"
    finished(site, starts=False)


def _change(site: Site) -> list[Case]:
    events = site.apply(text=site.object_text(security={"audit": False})).check().events
    return kill_cases(DryRun(events, {name: len(host.commands) for name, host in site.hosts.items()}))


def test_a_change_killed_at_some_points_is_finished_by_the_next_run(up: Site) -> None:
    for case in sample(_change(up), 2):
        _survives_kill_of_a_change(up, case)


@pytest.mark.soak
def test_a_change_killed_at_every_point_is_finished_by_the_next_run(up: Site) -> None:
    cases = _change(up)
    print(f"{len(cases)} kill points")
    all_survive(cases, lambda case: _survives_kill_of_a_change(up, case))


def test_a_run_that_is_killed_after_every_step_still_gets_there(fresh: Site) -> None:
    """The worst luck: no run gets further than one step. Each goes on where the last one was."""
    earlier = identity(fresh)
    for number in itertools.count(1):
        ended = fresh.apply(kill_at=("StepDone", "*"))
        fresh.quiet()
        identity(fresh).continues(earlier)
        earlier = identity(fresh)
        if not ended.killed:
            break
        assert number < LONGEST_RELAY, "it goes round in circles"
    ended.check()
    print(f"killed {number - 1} times")
    assert number > 5
    finished(fresh)
    assert fresh.plan().check().empty


@pytest.mark.soak
def test_killed_at_every_point_the_next_run_finishes(fresh: Site, dry: DryRun) -> None:
    cases = kill_cases(dry)
    print(f"{len(cases)} kill points")
    all_survive(cases, lambda case: _survives_kill(fresh, case, orphans=False))


@pytest.mark.soak
def test_what_a_killed_run_left_running_does_not_disturb_the_next(fresh: Site, dry: DryRun) -> None:
    cases = command_cases(dry, MOMENTS[1:])
    all_survive(cases, lambda case: _survives_kill(fresh, case, orphans=True))


@pytest.mark.soak
def test_connections_cut_at_every_point(fresh: Site, dry: DryRun) -> None:
    cases = [*cut_cases(dry), *byte_cases(dry)]
    print(f"{len(cases)} cuts")
    all_survive(cases, lambda case: _survives_cut(fresh, case))
