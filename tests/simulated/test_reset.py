"""A machine that is given back is as it was, whatever interrupts that; the cluster goes on without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.simulated.kills import Case, kill_cases, sample
from tests.simulated.members import MemberSite, why_no_etcd
from tests.simulated.operations import MEMBERS, keep_states
from tests.simulated.site import DryRun, Ended, Site, opened_as
from tests.simulated.test_kills import all_survive
from tests.simulated.trees import tree
from tests.simulated.watchers import settled, watched

NODE = "node-2"
HEAD = "node-1"
FAST = 4


def reset(site: Site, node: str = NODE, *, force: bool = False, case: Case | None = None) -> Ended:
    command = "reset by force" if force else "reset"
    match case.point if case else None:
        case (str(event), str(step)):
            return site.run(command, node=node, kill_at=(event, step))
        case (int(number), float(seconds)):
            return site.run(command, node=node, kill_after=(number, seconds))
    return site.run(command, node=node)


def as_before(site: Site, node: str = NODE) -> None:
    assert tree(site.hosts[node]) == site.fresh_trees[node]
    assert reset(site, node, force=True).check().empty


def test_a_node_leaves_and_the_next_apply_has_it_back(up: Site) -> None:
    ended = reset(up).check()
    assert [step.partition("/")[2] for step in ended.pending] == ["drain", "stop", "node", "clean", "forget"]
    as_before(up)
    up.apply().check()
    assert up.plan().check().empty


def test_the_only_control_plane_is_not_given_back_unasked(up: Site) -> None:
    assert "cannot leave" in reset(up, HEAD).error
    assert tree(up.hosts[HEAD]) != up.fresh_trees[HEAD]
    reset(up, HEAD, force=True).check()
    as_before(up, HEAD)


def test_what_others_have_there_stays(up: Site) -> None:
    theirs = up.hosts[NODE].path("/etc/cni/net.d/00-theirs.conflist")
    theirs.write_text("{}\n")
    reset(up).check()
    assert theirs.read_text() == "{}\n"
    assert [path.name for path in theirs.parent.iterdir()] == [theirs.name]


def test_half_an_installation(fresh: Site) -> None:
    fresh.apply(kill_at=("StepDone", f"{HEAD}/etcd"))
    fresh.quiet()
    reset(fresh, HEAD, force=True).check()
    as_before(fresh, HEAD)


def _survives(site: Site, case: Case) -> None:
    site.restore("up")
    ended = reset(site, case=case)
    assert ended.killed or (case.kind == "command" and ended.status == 0), f"{case}: {ended}"
    site.quiet()
    again = reset(site)
    assert again.status == 0, f"after {case}: {again.error}"
    assert tree(site.hosts[NODE]) == site.fresh_trees[NODE], f"after {case}"
    site.apply().check()
    assert site.plan().check().empty, f"after {case}"


def _cases(site: Site) -> list[Case]:
    events = reset(site).check().events
    return kill_cases(DryRun(events, {name: len(host.commands) for name, host in site.hosts.items()}))


def test_killed_at_some_points_the_next_reset_finishes(up: Site) -> None:
    for case in sample(_cases(up), FAST):
        _survives(up, case)


@pytest.mark.soak
def test_killed_at_every_point_the_next_reset_finishes(up: Site) -> None:
    cases = _cases(up)
    print(f"{len(cases)} kill points")
    all_survive(cases, lambda case: _survives(up, case))


@pytest.fixture(scope="module")
def members() -> Iterator[MemberSite]:
    """Three hosts that are everything, with a real etcd."""
    with opened_as(MemberSite, 3) as site:
        keep_states(site, "three")
        yield site


@pytest.mark.e2e
@pytest.mark.skipif(bool(why_no_etcd()), reason=why_no_etcd() or "available")
def test_a_member_leaves_etcd_and_no_write_is_lost(members: MemberSite) -> None:
    members.restore("three")
    members.client.forget()
    settled(members, MEMBERS["three"])
    with watched(members, write=True) as watch:
        ended = reset(members).check()
    assert f"{NODE}/etcd-member" in ended.pending
    watch.check((HEAD, "node-3"))
    assert tree(members.hosts[NODE]) == members.fresh_trees[NODE]
