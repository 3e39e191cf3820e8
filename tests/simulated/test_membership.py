"""kill -9 of anykube at every point of a change of etcd's members, with a real etcd on simulated hosts.

The next apply finishes: one cluster, the members that the object wants, no learner, no acknowledged write
lost, and at no instant fewer healthy voters than a quorum. `make e2e` takes a sample, `make soak` all points.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.simulated.kills import sample
from tests.simulated.members import MemberSite, why_no_etcd
from tests.simulated.operations import GROW, keep_states
from tests.simulated.site import opened_as

pytestmark = [
    pytest.mark.skipif(bool(why_no_etcd()), reason=why_no_etcd() or "available"),
    pytest.mark.xdist_group("membership"),
]


@pytest.fixture(scope="module")
def three() -> Iterator[MemberSite]:
    with opened_as(MemberSite, 3) as site:
        keep_states(site, "one", "three")
        yield site


@pytest.mark.e2e
def test_a_join_killed_at_some_points_is_finished_by_the_next_run(three: MemberSite) -> None:
    dry = GROW.undisturbed(three)
    for case in sample(GROW.cases(dry), 2):
        GROW.survives(three, case)
