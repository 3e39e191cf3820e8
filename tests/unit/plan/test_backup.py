"""Backups in the plan: the schedule is a component, the sealed state comes last and only when it must."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.plan.test_convergence import Killed, cluster, run
from tests.unit.plan.world import World

from anykube.content.backup import CREDENTIALS, STATE, TIMER
from anykube.facts.backup import NodeBackups, parse
from anykube.facts.host import HostFacts
from anykube.plan.backup import backup_status, period_seconds
from anykube.plan.effects import PlaceState, SealState
from anykube.plan.model import Phase
from anykube.spec.model import Cluster

S3 = {"s3": {"bucket": "some", "credentials": "/etc/credentials"}}


def saved(**backup: object) -> Cluster:
    return cluster(backup={"every": "6h", "to": S3, **backup})


@pytest.fixture
def settled() -> World:
    world = World(saved())
    run(world)
    assert world.plan(world.cluster).empty
    return world


def test_members_of_etcd_get_the_schedule_and_what_is_sealed(settled: World) -> None:
    head, worker = settled.hosts["demo-cp-1"], settled.hosts["demo-worker-1"]
    assert head.units[TIMER].running
    assert head.files[STATE].sha256 == settled.sealed.sha256
    assert head.files[CREDENTIALS].sha256 == settled.sealed.credentials
    assert not {STATE, CREDENTIALS} & worker.files.keys()
    assert TIMER not in worker.units


def test_the_first_plan_says_that_the_state_is_sealed_last() -> None:
    made = World(saved()).plan()
    assert made.phases[-1].phase is Phase.BACKUP
    assert made.phases[-1].provisional
    effects = [effect for step in made.phase(Phase.BACKUP).pending for effect in step.effects]
    assert effects == [SealState(), PlaceState("demo-cp-1")]


def test_a_change_of_what_is_kept_here_is_foreseen_and_sealed(settled: World) -> None:
    before, previous = settled.sealed.sha256, settled.cluster
    settled.cluster = saved(keep=3)
    foreseen = settled.plan(previous).phase(Phase.BACKUP)
    assert [step.id for step in foreseen.pending] == ["local/state", "demo-cp-1/state"]
    run(settled, settled.plan(previous))
    assert settled.sealed.sha256 != before
    assert settled.hosts["demo-cp-1"].files[STATE].sha256 == settled.sealed.sha256
    assert settled.plan(settled.cluster).empty


def test_a_repair_on_a_node_seals_nothing(settled: World) -> None:
    head = settled.hosts["demo-cp-1"]
    files = {path: file for path, file in head.files.items() if path != "/etc/etcd/pki/ca.crt"}
    settled.hosts["demo-cp-1"] = replace(head, files=files)
    made = settled.plan(settled.cluster)
    assert made.pending
    assert not made.phase(Phase.BACKUP).pending


def test_killed_anywhere_the_next_run_finishes(settled: World) -> None:
    previous, changed = settled.cluster, saved(keep=3)
    settled.cluster = changed
    effects = run(settled)
    assert effects > 2
    for cut in range(effects):
        world = World(previous)
        run(world)
        world.cluster = changed
        with pytest.raises(Killed):
            run(world, world.plan(previous), kill_after=cut)
        run(world, world.plan(changed))
        assert world.plan(changed).empty


def test_what_differs_on_a_node_is_placed_again(settled: World) -> None:
    head = settled.hosts["demo-cp-1"]
    files = {path: file for path, file in head.files.items() if path != STATE}
    settled.hosts["demo-cp-1"] = replace(head, files=files)
    run(settled, settled.plan(settled.cluster))
    assert settled.hosts["demo-cp-1"].files[STATE].sha256 == settled.sealed.sha256


def test_without_a_schedule_it_all_goes(settled: World) -> None:
    previous = settled.cluster
    settled.cluster = cluster()
    run(settled, settled.plan(previous))
    head = settled.hosts["demo-cp-1"]
    assert not {STATE, CREDENTIALS} & head.files.keys()
    assert TIMER not in head.units
    assert settled.plan(settled.cluster).empty


def test_a_changed_timer_is_restarted_in_the_same_run(settled: World) -> None:
    previous = settled.cluster
    settled.cluster = saved(every="1h")
    changes = [change for step in settled.plan(previous).pending for change in step.changes]
    assert ("restart", TIMER) in {(change.action, change.subject) for change in changes}


@pytest.mark.parametrize(
    ("verified", "failed", "healthy"),
    [((), (), False), ((3600,), (), True), ((13 * 3600,), (), True), ((13 * 3600 + 60, 0), ("full",), False)],
)
def test_the_age_of_the_newest_verified_backup_counts(
    settled: World, verified: tuple[int, ...], failed: tuple[str, ...], healthy: bool
) -> None:
    clock = settled.now.timestamp()
    backups = NodeBackups(int(clock) - verified[0], "x.age") if verified else NodeBackups()
    if failed:
        backups = replace(backups, failed=int(clock), reason=failed[0])
    settled.hosts["demo-cp-1"] = replace(settled.hosts["demo-cp-1"], backups=backups)
    found = backup_status(settled.cluster, settled.facts())
    assert found is not None
    assert found.healthy is healthy
    assert found.age == (verified[0] if verified else None)
    assert list(found.failed.values()) == list(failed)


def test_a_clock_that_is_off_makes_no_backup_old(settled: World) -> None:
    """The node's clock is a year ahead, and so is the time that it wrote."""
    host = settled.hosts["demo-cp-1"]
    assert isinstance(host, HostFacts)
    ahead = host.system.clock + 365 * 86400
    system = replace(host.system, clock=ahead)
    settled.hosts["demo-cp-1"] = replace(host, system=system, backups=NodeBackups(int(ahead) - 60, "x.age"))
    found = backup_status(settled.cluster, settled.facts())
    assert found is not None
    assert found.age == pytest.approx(60, abs=1)


def test_periods() -> None:
    assert [period_seconds(every) for every in ("5m", "6h", "1d")] == [300, 21600, 86400]


def test_what_a_node_writes_of_its_backups_is_read_strictly() -> None:
    assert parse("", "") == NodeBackups()
    assert parse("17 demo-0123abcd-20260101T000000Z-a.age\n", "") == NodeBackups(
        17, "demo-0123abcd-20260101T000000Z-a.age"
    )
    assert parse("", "18").failed == 18
    assert parse("", "18 disk \x1b full").reason == "disk · full"
    for last in ("17", "x y", "17 ../../x", "17 a b"):
        with pytest.raises(ValueError, match=r"."):
            parse(last, "")
    with pytest.raises(ValueError, match=r"."):
        parse("", "soon")
