"""A restore with a real etcd on simulated hosts: killed at every point, finished or taken back.

What was written before the archive is there afterwards, what was written later is not; taken back, all of it
is. `make e2e` takes a sample of the points, `make soak` all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.kills import Case, sample
from tests.simulated.members import MemberSite, why_no_etcd
from tests.simulated.operations import LAYOUTS, MEMBERS, MOMENTS, keep_states, logs
from tests.simulated.site import NAME, VERSION, DryRun, Ended, opened_as
from tests.simulated.watchers import settled

from anykube.backup import age, archive, manifest, state
from anykube.spec.catalog import release
from anykube.state import restoring
from anykube.state.clusters import SECRETS
from anykube.state.record import RecordStore

pytestmark = pytest.mark.skipif(bool(why_no_etcd()), reason=why_no_etcd() or "available")
KEYS = "/test/"
BEFORE, LATER = f"{KEYS}before", f"{KEYS}later"
USAGE = 64
SHAPES = ("one", "three")


class Restores:
    """A site with clusters to go back, and an archive of each."""

    def __init__(self, site: MemberSite) -> None:
        self.site = site
        self.identity = site.folder / "identity"
        key = age.new_identity()
        self.identity.write_bytes(key.reveal())
        self._recipient = age.recipient_of(key)
        for shape in SHAPES:
            site.restore(shape)
            site.client.forget()
            settled(site, MEMBERS[shape])
            site.client.put("node-1", BEFORE, "1", 5)
            self._archive(shape)
            site.client.put("node-1", LATER, "1", 5)
            site.save(f"{shape} later")

    def file(self, shape: str) -> Path:
        return self.site.folder / f"{shape}.age"

    def _archive(self, shape: str) -> None:
        snapshot = self.site.folder / "snapshot.db"
        snapshot.unlink(missing_ok=True)
        self.site.snapshot("node-1", snapshot)
        folder = self.site.state / NAME
        record = RecordStore(folder).load()
        assert record
        sealed = state.seal(state.gather(folder, record), [self._recipient])
        content = snapshot.read_bytes()
        made = manifest.Manifest(
            format=1,
            cluster=NAME,
            lineage=record.lineage,
            anykube="0",
            kubernetes=VERSION,
            etcd=release(VERSION).etcd,
            node="node-1",
            taken=int(time.time()),
            snapshot=manifest.Snapshot(
                sha256=hashlib.sha256(content).hexdigest(),
                size=len(content),
                revision=9,
                compacted=0,
                keys=9,
                hash=9,
            ),
            state=manifest.State(sha256=hashlib.sha256(sealed).hexdigest(), size=len(sealed)),
        )
        archive.write_archive(self.file(shape), made, snapshot, sealed, [self._recipient])

    def begin(self, shape: str) -> None:
        """The cluster as it was when more had been written after the archive."""
        self.site.restore(f"{shape} later")
        self.site.client.forget()
        settled(self.site, MEMBERS[shape])

    def restore(self, shape: str, target: str = "", case: Case | None = None) -> Ended:
        """Restore the archive of a shape, onto a shape, perhaps killed at a point."""
        text = self.site.object_text(LAYOUTS[target or shape])
        job: dict[str, Any] = {"text": text, "archive": self.file(shape), "identity": self.identity}
        match case.point if case else None:
            case (str(event), str(step)):
                return self.site.run("restore", **job, kill_at=(event, step))
            case (int(number), float(seconds)):
                return self.site.run("restore", **job, kill_after=(number, seconds))
        return self.site.run("restore", **job)

    def finish(self, shape: str, target: str = "") -> None:
        """The same again: with the archive as long as nothing was begun, else without."""
        text = self.site.object_text(LAYOUTS[target or shape])
        ended = self.site.run("go on", text=text)
        if ended.status == USAGE:
            ended = self.restore(shape, target)
        ended.check()

    def must_be_restored(self, target: str) -> None:
        """What the archive knows is there, nothing else, and there is nothing to do."""
        self.site.client.forget()
        settled(self.site, MEMBERS[target])
        assert set(self.site.client.values(MEMBERS[target][0], KEYS)) == {BEFORE}
        self._must_be_at_rest(target)

    def must_be_as_before(self, shape: str) -> None:
        self.site.client.forget()
        settled(self.site, MEMBERS[shape])
        assert set(self.site.client.values(MEMBERS[shape][0], KEYS)) == {BEFORE, LATER}
        self._must_be_at_rest(shape)

    def _must_be_at_rest(self, shape: str) -> None:
        plan = self.site.plan(text=self.site.object_text(LAYOUTS[shape])).check()
        assert plan.empty, "\n".join(plan.plan)
        folder = self.site.state / NAME
        left = {path.name for path in folder.iterdir()} & {
            restoring.JOURNAL,
            restoring.SNAPSHOT,
            restoring.NEW,
        }
        assert not left

    def undisturbed(self, shape: str) -> DryRun:
        """How it goes when nothing happens."""
        self.begin(shape)
        ended = self.restore(shape).check()
        commands = {name: len(host.commands) for name, host in self.site.hosts.items()}
        self.must_be_restored(shape)
        return DryRun(ended.events, commands)

    def cases(self, dry: DryRun) -> list[Case]:
        """Before and after every step, and in every command."""
        numbers = range(1, sum(dry.commands.values()) + 1)
        commands = [Case("command", (number, MOMENTS[number % len(MOMENTS)])) for number in numbers]
        return [*(Case("step", event) for event in dry.events), *commands]


@pytest.fixture(scope="module")
def restores() -> Iterator[Restores]:
    with opened_as(MemberSite, 3) as site:
        keep_states(site, *SHAPES)
        yield Restores(site)


@pytest.mark.e2e
def test_three_members_go_back(restores: Restores) -> None:
    restores.undisturbed("three")
    kept = [path for path in (restores.site.state / NAME).iterdir() if path.name.startswith(restoring.OLD)]
    assert [path for path in kept if (path / SECRETS).is_dir()]


@pytest.mark.e2e
def test_killed_at_some_points_and_run_again(restores: Restores) -> None:
    for case in sample(restores.cases(restores.undisturbed("three")), 3):
        restores.begin("three")
        ended = restores.restore("three", case=case)
        assert ended.killed or ended.status == 0, ended.error
        if ended.killed:
            restores.finish("three")
        restores.must_be_restored("three")


@pytest.mark.e2e
@pytest.mark.parametrize("event", ["StepStarted", "StepDone"])
def test_taken_back_before_an_api_server_started(restores: Restores, event: str) -> None:
    restores.begin("three")
    ended = restores.restore("three", case=Case("step", (event, "node-1/recover")))
    assert ended.killed, ended.error
    text = restores.site.object_text(LAYOUTS["three"])
    said = restores.site.apply(text=text).check(1).error
    assert "A restore of demo is under way" in said
    assert "--abort" in said
    restores.site.run("abort", text=text).check()
    restores.must_be_as_before("three")
    assert restores.site.run("abort", text=text).status == USAGE


@pytest.mark.e2e
def test_one_member_becomes_three(restores: Restores) -> None:
    restores.begin("one")
    restores.restore("one", "three").check()
    restores.must_be_restored("three")


@pytest.mark.e2e
def test_nothing_is_left_but_the_archive(restores: Restores) -> None:
    """All machines are new, and the state is gone."""
    restores.site.restore("fresh")
    (restores.site.state / NAME).rename(restores.site.folder / f"lost-{time.monotonic_ns()}")
    restores.restore("three").check()
    restores.must_be_restored("three")


@pytest.mark.soak
@pytest.mark.parametrize("back", [False, True])
def test_killed_at_every_point(restores: Restores, back: bool) -> None:
    failures = []
    for case in restores.cases(restores.undisturbed("three")):
        try:
            _survives(restores, case, back=back)
        except AssertionError as error:
            failures.append(f"{case}: {error}\n{logs(restores.site)}")
    assert not failures, "\n\n".join(failures)


def _survives(restores: Restores, case: Case, *, back: bool) -> None:
    restores.begin("three")
    ended = restores.restore("three", case=case)
    text = restores.site.object_text(LAYOUTS["three"])
    if ended.killed and back:
        taken = restores.site.run("abort", text=text)
        if taken.status == 0:
            restores.must_be_as_before("three")
            return
        if taken.status == USAGE:
            return  # nothing had begun, or all was done
        assert "cannot be taken back" in taken.error
    if ended.killed:
        restores.finish("three")
    restores.must_be_restored("three")
