"""Whether a second look at etcd is worth while."""

from __future__ import annotations

import pytest
from tests.unit.plan.world import SYSTEM

from anykube.content import etcd as content
from anykube.facts import election
from anykube.facts.election import doubtful, electing
from anykube.facts.etcd import Member, View
from anykube.facts.host import HostFacts, UnitFacts, Unreachable

MEMBERS = tuple(Member(number, f"n{number}", (f"u{number}",), ("c",)) for number in (1, 2, 3))


def host(
    number: int, active: str = "active", *, leader: int = 0, answers: bool = True, born: bool = True
) -> HostFacts:
    view = View(7, number, leader, 2, 9, 9, MEMBERS) if answers else None
    units = {content.SERVICE: UnitFacts("loaded", active, True)}
    return HostFacts(f"n{number}", SYSTEM, units=units, etcd=view, etcd_data=True, etcd_born=born)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([host(1, leader=2), host(2, leader=2), host(3, leader=2)], False),
        ([host(1), host(2), host(3)], True),
        ([host(1), host(2, answers=False, active="activating")], True),
        ([host(1, answers=False, active="activating"), host(2, answers=False, active="activating")], True),
        ([host(1)], False),
        ([host(1), host(2, active="failed", answers=False)], False),
        ([host(1, answers=False, active="activating", born=False)], False),
        ([host(1, answers=False, active="activating")], True),
        ([host(1, answers=False), host(2, answers=False), host(3)], False),
        ([], False),
    ],
)
def test_enough_members_run_and_none_leads(hosts: list[HostFacts], expected: bool) -> None:
    known: dict[str, HostFacts | Unreachable] = {found.name: found for found in hosts}
    known["n9"] = Unreachable("n9", "gone")
    assert electing(known) == expected


def test_one_that_leads_nobody_is_looked_at_again() -> None:
    assert doubtful({"n1": host(1, leader=1), "n2": Unreachable("n2", "no power")})
    assert not doubtful({"n1": host(1), "n2": Unreachable("n2", "no power")})
    assert not doubtful({"n1": host(1, leader=1), "n2": host(2, leader=1)})


def test_the_unit_is_the_one_of_the_content() -> None:
    assert election.SERVICE == content.SERVICE
