"""kill -9 of anykube at every point of a change of etcd's members, with a real etcd on simulated hosts.

The next apply finishes: one cluster, the members that the object wants, no learner, no acknowledged write
lost, and at no instant fewer healthy voters than a quorum. `make e2e` takes a sample, `make soak` all points.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.simulated.kills import sample
from tests.simulated.members import ETCD, MemberSite, why_no_etcd
from tests.simulated.operations import GROW, MEMBERS, OPERATIONS, SHRINK, Operation, keep_states
from tests.simulated.site import DryRun, opened_as
from tests.simulated.watchers import settled, until, watched

pytestmark = pytest.mark.skipif(bool(why_no_etcd()), reason=why_no_etcd() or "available")
SHARDS = 4
"""Parts of a sweep, for as many processes."""


@pytest.fixture(scope="module")
def grown() -> Iterator[tuple[MemberSite, DryRun]]:
    """A site that keeps the states 'one' and 'three', and how it went from one to the other."""
    with opened_as(MemberSite, 3) as site:
        keep_states(site, "one")
        dry = GROW.undisturbed(site)
        site.save("three")
        yield site, dry


@pytest.mark.e2e
def test_a_join_killed_at_some_points_is_finished_by_the_next_run(grown: tuple[MemberSite, DryRun]) -> None:
    site, dry = grown
    joins = [case for case in GROW.cases(dry) if case.kind == "command" or "/etcd" in str(case)]
    for case in sample(joins, 2):
        GROW.survives(site, case)


@pytest.mark.e2e
def test_a_removal_killed_at_some_points_is_finished_by_the_next_run(
    grown: tuple[MemberSite, DryRun],
) -> None:
    site, _ = grown
    for case in sample(SHRINK.cases(SHRINK.undisturbed(site)), 2):
        SHRINK.survives(site, case)


@pytest.mark.e2e
def test_the_watchers_notice_what_they_are_there_for(grown: tuple[MemberSite, DryRun]) -> None:
    site, _ = grown
    site.restore("three")
    site.client.forget()
    settled(site, MEMBERS["three"])
    with watched(site) as watch:
        until(lambda: len(watch.writer.acknowledged) > 5)
        for name in ("node-2", "node-3"):
            site.hosts[name].path(f"/etc/simulated/fail/{ETCD}").touch()
            site.hosts[name].units.signal(ETCD, signal.SIGKILL)
        until(lambda: watch.sampler.shortages)
        for name in ("node-2", "node-3"):
            site.hosts[name].path(f"/etc/simulated/fail/{ETCD}").unlink()
    settled(site, MEMBERS["three"])
    watch.writer.check("node-1")
    with pytest.raises(AssertionError, match="1 healthy of 3 voters"):
        watch.sampler.check()
    site.client.remove("node-1", f"{watch.writer.keys}{min(watch.writer.acknowledged)}")
    with pytest.raises(AssertionError, match=r"1 of .* acknowledged writes are lost"):
        watch.writer.check("node-1")


@pytest.fixture(scope="session")
def sweeps() -> Iterator[Sweeps]:
    with opened_as(MemberSite, 6) as site:
        keep_states(site, "one", "three")
        yield Sweeps(site)


class Sweeps:
    """A site on which all operations are possible, and the kill points of those that were asked for."""

    def __init__(self, site: MemberSite) -> None:
        self.site = site
        self._dry: dict[str, DryRun] = {}

    def dry(self, operation: Operation) -> DryRun:
        if operation.name not in self._dry:
            self._dry[operation.name] = operation.undisturbed(self.site)
        return self._dry[operation.name]


@pytest.mark.soak
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_killed_at_every_point_the_next_run_finishes(
    sweeps: Sweeps, operation: Operation, shard: int
) -> None:
    cases = operation.cases(sweeps.dry(operation))[shard::SHARDS]
    print(f"{len(cases)} kill points")
    failed = []
    for case in cases:
        try:
            operation.survives(sweeps.site, case)
        except AssertionError as error:
            failed.append(f"{case}: {error}")
    assert not failed, f"{len(failed)} of {len(cases)} points:\n" + "\n".join(failed)
