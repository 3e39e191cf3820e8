"""Changes of etcd's members, as test cases: from a kept state of the hosts to what must be true then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.simulated.kills import Case
from tests.simulated.members import ETCD, Layout, MemberSite
from tests.simulated.site import DryRun, Ended
from tests.simulated.watchers import Watch, settled, watched

MOMENTS = (0.0, 0.05, 0.3)
"""Seconds after a command has reached its host."""


def everything(*names: str) -> Layout:
    return dict.fromkeys(names, "all")


ONE = everything("node-1")
THREE = everything("node-1", "node-2", "node-3")
SEPARATE = {
    **dict.fromkeys(("node-1", "node-2", "node-3"), "plane"),
    **dict.fromkeys(("node-4", "node-5", "node-6"), "etcd"),
}
MEMBERS = {
    "one": ("node-1",),
    "three": ("node-1", "node-2", "node-3"),
    "separate": ("node-4", "node-5", "node-6"),
}
LAYOUTS = {"one": ONE, "three": THREE, "separate": SEPARATE}


@dataclass(frozen=True, slots=True)
class Operation:
    """From one state to another. replace: node to be replaced. empty: its machine was made again before, with
    nothing on it."""

    name: str
    before: str
    after: str
    replace: str = ""
    empty: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def hosts(self) -> int:
        return 6 if "separate" in (self.before, self.after) else 3

    @property
    def born(self) -> bool:
        """Whether there is an etcd to watch before it begins."""
        return self.before != "fresh"

    def begin(self, site: MemberSite) -> None:
        """Put the site into the state before."""
        site.restore(self.before)
        site.client.forget()
        if self.born:
            settled(site, MEMBERS[self.before])
        if self.empty:
            host = site.hosts[self.replace]
            site.do(host.power_off())
            site.put_back("fresh", self.replace)
            site.do(host.start())

    def run(self, site: MemberSite, case: Case | None = None) -> Ended:
        """Do it, perhaps killed at a point."""
        text = site.object_text(LAYOUTS[self.after])
        command, node = ("replace", self.replace) if self.replace else ("apply", "")
        match case.point if case else None:
            case (str(event), str(step)):
                return site.run(command, text=text, node=node, kill_at=(event, step))
            case (int(number), float(seconds)):
                return site.run(command, text=text, node=node, kill_after=(number, seconds))
        return site.run(command, text=text, node=node)

    def finish(self, site: MemberSite) -> None:
        """A plain apply finishes whatever was begun, and then there is nothing left to do."""
        text = site.object_text(LAYOUTS[self.after])
        site.apply(text=text).check()
        plan = site.plan(text=text).check()
        assert plan.empty, "\n".join(plan.plan)

    def check(self, site: MemberSite, watch: Watch, *, healthy: bool = True) -> None:
        """healthy: whether healthy voters were never to be too few; at a birth they are, until it is done."""
        watch.check(MEMBERS[self.after], healthy=healthy and self.born)

    def undisturbed(self, site: MemberSite) -> DryRun:
        """How it goes when nothing happens: its events, and the commands that hosts got."""
        self.begin(site)
        counts = {name: len(host.commands) for name, host in site.hosts.items()}
        with watched(site, write=self.born) as watch:
            ended = self.run(site).check()
        commands = {name: len(host.commands) - counts[name] for name, host in site.hosts.items()}
        self.finish(site)
        self.check(site, watch)
        return DryRun(ended.events, commands)

    def cases(self, dry: DryRun) -> list[Case]:
        """Before and after every step, and in every command, at one of the moments each."""
        numbers = range(1, sum(dry.commands.values()) + 1)
        commands = [Case("command", (number, MOMENTS[number % len(MOMENTS)])) for number in numbers]
        return [*(Case("step", event) for event in dry.events), *commands]

    def survives(self, site: MemberSite, case: Case) -> None:
        """Killed there, the next apply finishes; nothing that was acknowledged is lost on the way."""
        self.begin(site)
        with watched(site, write=self.born) as watch:
            ended = self.run(site, case)
            assert ended.killed or (case.kind == "command" and ended.status == 0), ended.error
            self.finish(site)
        self.check(site, watch)


BIRTH = Operation("birth of three", "fresh", "three")
GROW = Operation("one to three", "one", "three")
SHRINK = Operation("three to one", "three", "one")
REPLACE_ALIVE = Operation("replace a node that runs", "three", "three", "node-1")
REPLACE_EMPTY = Operation("replace a node that was made again", "three", "three", "node-2", empty=True)
SEPARATE_ETCD = Operation("stacked to separate etcd", "three", "separate")
OPERATIONS = (BIRTH, GROW, SHRINK, REPLACE_ALIVE, REPLACE_EMPTY, SEPARATE_ETCD)


def keep_states(site: MemberSite, *names: str) -> None:
    """Bring up and keep states that operations begin with."""
    for name in names:
        site.restore("fresh")
        site.client.forget()
        site.apply(text=site.object_text(LAYOUTS[name])).check()
        settled(site, MEMBERS[name])
        site.save(name)


def logs(site: MemberSite) -> str:
    """The end of every etcd's log, for a failure."""
    texts = []
    for name, host in site.hosts.items():
        log: Path = host.path(f"/var/log/simulated/{ETCD}")
        if log.exists():
            texts.append(f"--- {name}\n" + "\n".join(log.read_text().splitlines()[-15:]))
    return "\n".join(texts)
