"""Who looks at etcd while anykube changes its members: a writer, and a sampler that counts healthy voters.

with watched(site) as watch:
    site.apply().check()
watch.check(["node-1", "node-2", "node-3"])
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from tests.simulated.members import ETCD, Member, MemberSite, Standing, quorum
from tests.simulated.site import address_of

LOOK_SECONDS = 0.1
LOOKS = 3
"""A look asks one member after the other, so a change may fall into it; a real shortage is seen so often."""
SETTLE_SECONDS = 60
WRITE_SECONDS = 0.05


@dataclass(slots=True)
class Writer:
    """Writes numbered keys, each through the next host in turn, and notes which were acknowledged."""

    site: MemberSite
    keys: str = field(default_factory=lambda: f"/check/{uuid.uuid4()}/")
    """Of its own: an earlier writer's may be in a state that was kept."""
    acknowledged: set[int] = field(default_factory=set)
    tried: int = 0
    longest_gap: float = 0.0

    def run(self, stop: threading.Event) -> None:
        hosts = list(self.site.hosts)
        last = time.monotonic()
        while not stop.is_set():
            self.tried += 1
            with contextlib.suppress(OSError, ValueError):
                host = hosts[self.tried % len(hosts)]
                self.site.client.put(host, f"{self.keys}{self.tried}", str(self.tried))
                self.acknowledged.add(self.tried)
                self.longest_gap = max(self.longest_gap, time.monotonic() - last)
                last = time.monotonic()
            stop.wait(WRITE_SECONDS)

    def check(self, host: str) -> None:
        """Every acknowledged write is there, and nothing that was never written."""
        found = self.site.client.values(host, self.keys)
        lost = [number for number in sorted(self.acknowledged) if f"{self.keys}{number}" not in found]
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged writes are lost: {lost[:20]}"
        strange = [
            key for key, value in found.items() if key != f"{self.keys}{value}" or int(value) > self.tried
        ]
        assert not strange, f"never written: {strange[:20]}"


@dataclass(slots=True)
class Sampler:
    """Looks at all members again and again: healthy voters must never be fewer than a quorum."""

    site: MemberSite
    shortages: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    """Every list of members seen, in order: voters, and learners in brackets."""
    clusters: set[int] = field(default_factory=set)
    _members: tuple[Member, ...] = ()
    _row: int = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        answers = [found for host in self.site.hosts if (found := self.site.client.standing(host))]
        self.clusters |= {found.cluster for found in answers}
        if answers:
            newest = max(answers, key=lambda found: (found.term, found.applied))
            self._members = tuple(sorted(newest.members, key=lambda member: member.peer_urls))
        voters = [member for member in self._members if not member.learner]
        healthy = [member for member in voters if self._serves(member)]
        names = " ".join(f"[{one.name or '?'}]" if one.learner else one.name for one in self._members)
        if names and (not self.lists or self.lists[-1] != names):
            self.lists.append(names)
        short = len(healthy) < quorum(voters) if voters else False
        self._row = self._row + 1 if short else 0
        if self._row == LOOKS:
            self.shortages.append(f"{len(healthy)} healthy of {len(voters)} voters ({names})")

    def _serves(self, member: Member) -> bool:
        """Whether its process serves. On a busy machine it may answer late."""
        at = {f"https://{address_of(name)}:2380": host for name, host in self.site.hosts.items()}
        host = next((at[url] for url in member.peer_urls if url in at), None)
        return host is not None and host.units.serves(ETCD)

    def check(self) -> None:
        assert not self.shortages, f"fewer healthy voters than a quorum: {self.shortages}; saw {self.lists}"
        assert len(self.clusters) <= 1, f"more than one cluster: {self.clusters}"


@dataclass(slots=True)
class Watch:
    """A writer and a sampler, at work while the block of `watched` is entered."""

    site: MemberSite
    writer: Writer
    sampler: Sampler

    def check(self, members: Collection[str], *, healthy: bool = True) -> None:
        """Fail unless etcd is whole and nothing is lost. healthy: whether no shortage may have been seen."""
        settled(self.site, members)
        self.writer.check(next(iter(members)))
        if healthy:
            self.sampler.check()
        else:
            assert len(self.sampler.clusters) <= 1, f"more than one cluster: {self.sampler.clusters}"


@contextlib.contextmanager
def watched(site: MemberSite, *, write: bool = True) -> Iterator[Watch]:
    watch = Watch(site, Writer(site), Sampler(site))
    stop = threading.Event()
    work: list[Callable[[threading.Event], None]] = [
        watch.sampler.run,
        *([watch.writer.run] if write else []),
    ]
    threads = [threading.Thread(target=each, args=(stop,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(condition: Callable[[], object], problem: Callable[[], str] = lambda: "it did not happen") -> None:
    """Wait until a condition holds, and fail with the problem if it does not."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, problem()
        time.sleep(LOOK_SECONDS)


def recovered(site: MemberSite) -> None:
    """Wait until every etcd that was ever started, and not stopped, follows a leader."""
    begun = [
        name
        for name, host in site.hosts.items()
        if any(host.path(f"/run/simulated/{state}/{ETCD}").exists() for state in ("active", "activating"))
    ]

    def leaderless() -> list[str]:
        return [name for name in begun if not ((found := site.client.standing(name)) and found.leader)]

    until(lambda: not leaderless(), lambda: f"no leader, or no answer: {leaderless()}")


def settled(site: MemberSite, members: Collection[str]) -> None:
    """Wait until etcd is whole, and fail with what is wrong if it does not become so."""
    problem = ""

    def whole() -> bool:
        nonlocal problem
        problem = _problem(site, members)
        return not problem

    until(whole, lambda: problem)
    host = next(iter(members))
    revision = site.client.revision(host)
    hashes = {name: site.client.hash(name, revision)[0] for name in members}
    assert len(set(hashes.values())) == 1, f"members hold different data: {hashes}"


def _problem(site: MemberSite, members: Collection[str]) -> str:
    running = [name for name, host in site.hosts.items() if host.units.pid(ETCD) is not None]
    if set(running) != set(members):
        return f"etcd runs on {running}, should run on {sorted(members)}"
    found = {name: site.client.standing(name) for name in members}
    if silent := [name for name, standing in found.items() if standing is None or not standing.leader]:
        return f"no leader, or no answer: {silent}"
    answers: dict[str, Standing] = {name: each for name, each in found.items() if each is not None}
    wanted = {(name, (f"https://{address_of(name)}:2380",), False) for name in members}
    for name, standing in answers.items():
        listed = {(member.name, member.peer_urls, member.learner) for member in standing.members}
        if listed != wanted:
            return f"{name} lists {sorted(listed)}, should list {sorted(wanted)}"
    if len({each.cluster for each in answers.values()}) > 1:
        return "members of several clusters"
    if len({each.leader for each in answers.values()}) > 1:
        return "several leaders"
    return ""
