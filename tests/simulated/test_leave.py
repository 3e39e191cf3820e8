"""A machine that is taken out of the object is cleaned and forgotten, whatever interrupts it."""

from __future__ import annotations

import json

from tests.simulated.kills import Case, kill_cases, sample
from tests.simulated.site import NAME, DryRun, Site
from tests.simulated.test_kills import killed
from tests.simulated.trees import tree

from anykube.facts.record import Record
from anykube.pki.store import SecretStore
from anykube.state.record import RecordStore

LEAVER = "node-2"
FAST = 4


def without(site: Site) -> str:
    """The object with its first host only, which then also takes ordinary pods."""
    document = json.loads(site.text)
    machines = document["spec"]["machines"]
    machines["pools"] = [{"name": "cp", "roles": ["control-plane", "etcd", "worker"]}]
    listed = machines["provider"]["machines"]
    listed["hosts"] = listed["hosts"][:1]
    return json.dumps(document)


def record(site: Site) -> Record:
    found = RecordStore(site.state / NAME).load()
    assert found
    return found


def must_be_gone(site: Site) -> None:
    """Nothing of it is left, neither there nor here, and there is nothing to do."""
    assert tree(site.hosts[LEAVER]) == site.fresh_trees[LEAVER]
    assert record(site).departing == {}
    assert LEAVER not in record(site).addresses
    names = SecretStore(site.state / NAME / "secrets").names()
    assert not [name for name in names if name.startswith(f"nodes/{LEAVER}/")]
    assert site.plan(text=without(site)).empty


def test_a_machine_that_is_not_listed_any_more_is_cleaned(up: Site) -> None:
    planned = up.plan(text=without(up)).check()
    assert list(planned.pending)[-5:] == [
        f"{LEAVER}/{name}" for name in ("drain", "stop", "node", "clean", "forget")
    ]
    up.apply(text=without(up)).check()
    must_be_gone(up)


def test_one_that_does_not_answer_is_forgotten_with_a_note(up: Site) -> None:
    host = up.hosts[LEAVER]
    up.do(host.stop())
    planned = up.plan(text=without(up), probe_seconds=2).check()
    assert any(f"nothing was cleaned on {LEAVER}: it does not answer" in line for line in planned.plan)
    up.apply(text=without(up), probe_seconds=2).check()
    up.do(host.start())
    assert record(up).departing == {}
    assert up.plan(text=without(up)).empty
    assert tree(host) != up.fresh_trees[LEAVER]


def test_one_that_comes_back_into_the_object_stays(up: Site) -> None:
    up.apply(text=without(up), kill_at=("StepDone", f"{LEAVER}/stop"))
    assert list(record(up).departing) == [LEAVER]
    up.quiet()
    up.apply().check()
    assert record(up).departing == {}
    assert up.plan().empty


def survives(site: Site, case: Case) -> None:
    site.restore("up")
    ended = killed(site, case, "apply", text=without(site))
    assert ended.killed or (case.kind == "command" and ended.status == 0), f"{case}: {ended}"
    site.quiet()
    again = site.apply(text=without(site))
    assert again.status == 0, f"after {case}: {again.error}"
    must_be_gone(site)


def leaving_cases(site: Site) -> list[Case]:
    """The points of a run in which it leaves."""
    events = site.apply(text=without(site)).check().events
    own = tuple(event for event in events if event[1].startswith(LEAVER))
    return kill_cases(DryRun(own, {name: len(host.commands) for name, host in site.hosts.items()}))


def test_killed_at_some_points_the_next_run_finishes(up: Site) -> None:
    for case in sample(leaving_cases(up), FAST):
        survives(up, case)


def test_destroy_also_cleans_what_was_about_to_leave(up: Site) -> None:
    up.apply(text=without(up), kill_at=("StepStarted", f"{LEAVER}/clean"))
    up.quiet()
    up.destroy(text=without(up)).check()
    assert tree(up.hosts[LEAVER]) == up.fresh_trees[LEAVER]
