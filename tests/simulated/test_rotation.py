"""kill -9 while authorities and keys are replaced: the same command, run again, ends with one new key each.

`make soak` kills at every point, the fast test at some that differ from day to day.
"""

from __future__ import annotations

import hashlib
import itertools

import pytest
from tests.simulated.kills import Case, command_cases, sample
from tests.simulated.site import NAME, DryRun, Ended, Site
from tests.simulated.test_kills import LONGEST_RELAY, all_survive

from anykube.content.authorities import CLUSTER_CA, SERVICE_ACCOUNT_KEY
from anykube.facts.record import Record, Stage
from anykube.facts.secrets import SecretFacts
from anykube.pki.store import SecretStore
from anykube.state.record import RecordStore

AUTHORITIES = ("ca/cluster", "ca/etcd", "ca/front-proxy")
TOKENS = "service-account"
EVERYTHING = (*AUTHORITIES, TOKENS)
SMALL = "ca/front-proxy"
"""Concerns one node only."""


def secrets(site: Site) -> dict[str, SecretFacts]:
    """What can be said of the secrets now."""
    return dict(SecretStore(site.state / NAME / "secrets").facts())


def record(site: Site) -> Record:
    """The record now."""
    found = RecordStore(site.state / NAME).load()
    assert found
    return found


def on_node(site: Site, node: str, path: str) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(site.hosts[node].path(path).read_bytes()).hexdigest()


def replaced(site: Site, before: dict[str, SecretFacts], *names: str) -> None:
    """Fail unless each has one key, which is new, and every node has it."""
    now = secrets(site)
    for name in names:
        assert len(now[name].keys) == 1, f"{name} has {len(now[name].keys)} keys"
        assert now[name].keys != before[name].keys, f"{name} is the old one"
    assert record(site).rotations == {}
    for node in site.hosts:
        assert on_node(site, node, CLUSTER_CA) == now["ca/cluster"].parts["bundle"]
    assert on_node(site, "node-1", SERVICE_ACCOUNT_KEY) == now[TOKENS].parts["key"]
    for secret in now.values():
        certificate = secret.certificate
        if certificate and not certificate.authority:
            assert certificate.issuer in {now[name].keys[0] for name in AUTHORITIES}, secret.name
    plan = site.plan().check()
    assert plan.empty, "\n".join(plan.plan)


@pytest.mark.soak
def test_authorities_are_replaced(up: Site) -> None:
    before = secrets(up)
    up.rotate(*AUTHORITIES).check()
    replaced(up, before, *AUTHORITIES)


def test_one_stage_at_a_time_and_the_way_back(up: Site) -> None:
    before = secrets(up)
    for stage in (Stage.TRUST, Stage.USE):
        up.rotate(SMALL, goal="next").check()
        assert record(up).rotations[SMALL].stage is stage
        up.apply().check()
        assert record(up).rotations[SMALL].stage is stage, "apply keeps the stage"
    up.rotate(SMALL, goal="back").check()
    assert record(up).rotations == {}
    assert secrets(up)[SMALL].keys == before[SMALL].keys
    assert up.plan().check().empty


def test_tokens_of_the_old_key_are_waited_for_unless_told_otherwise(up: Site) -> None:
    before = secrets(up)
    up.rotate(TOKENS, goal="next").check()
    up.rotate(TOKENS, goal="next").check()
    assert record(up).rotations[TOKENS].reached, "since when nobody signs with the old one"
    up.rotate(TOKENS).check()
    replaced(up, before, TOKENS)


def test_nothing_is_begun_while_a_node_does_not_answer(up: Site) -> None:
    up.hosts["node-2"].faults.stall = True
    ended = up.rotate(*AUTHORITIES, probe_seconds=1)
    up.hosts["node-2"].faults.stall = False
    assert ended.status == 1, ended
    assert "node-2 cannot be reached" in ended.error
    assert "first: anykube apply" in ended.error
    assert record(up).rotations == {}
    assert {len(secrets(up)[name].keys) for name in AUTHORITIES} == {1}


def dry(site: Site, *names: str) -> DryRun:
    """A rotation that nothing disturbs."""
    site.restore("up")
    before = {name: len(host.commands) for name, host in site.hosts.items()}
    events = site.rotate(*names).check().events
    return DryRun(events, {name: len(host.commands) - before[name] for name, host in site.hosts.items()})


def survives(site: Site, case: Case, *names: str) -> None:
    """Killed at this point, and run again."""
    site.restore("up")
    before = secrets(site)
    match case.point:
        case (int(number), float(seconds)):
            ended = site.rotate(*names, kill_after=(number, seconds))
        case _:
            raise AssertionError(case)
    assert ended.killed or ended.status == 0, f"{case}: {ended}"
    site.quiet()
    if ended.killed:
        again = site.rotate(*names)
        assert again.status == 0, f"after {case}: {again.error}"
    try:
        replaced(site, before, *names)
    except AssertionError as error:
        raise AssertionError(f"after {case}: {error}") from error


def test_killed_at_some_points_the_same_command_finishes(up: Site) -> None:
    for case in sample(command_cases(dry(up, SMALL), (0.0, 0.05)), 1):
        survives(up, case, SMALL)


@pytest.mark.soak
def test_a_rotation_that_is_killed_after_every_step_still_gets_there(up: Site) -> None:
    """The worst luck: no run gets further than one step."""
    before = secrets(up)
    ended: Ended | None = None
    for number in itertools.count(1):
        ended = up.rotate(SMALL, kill_at=("StepDone", "*"))
        up.quiet()
        if not ended.killed:
            break
        assert number < LONGEST_RELAY, "it goes round in circles"
    assert ended
    ended.check()
    print(f"killed {number - 1} times")
    assert number > 5
    replaced(up, before, SMALL)


@pytest.mark.soak
def test_killed_at_every_command_the_same_command_finishes(up: Site) -> None:
    cases = command_cases(dry(up, *EVERYTHING), (0.0, 0.05))
    print(f"{len(cases)} kill points")
    all_survive(cases, lambda case: survives(up, case, *EVERYTHING))
