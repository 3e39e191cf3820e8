"""Looks at the members of etcd through their own gateways: one look that must find nothing, and a census.

The census looks several times a second while anykube works: a member must be a learner until it runs, and
there is one cluster only, at every moment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.e2e.story import Story
from tests.e2e.wire import ETCD_PORT, Keys, ask

LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Members:
    """The members of a story."""

    story: Story
    keys: Keys

    def call(self, machine: str, call: str, **body: Any) -> Any:
        """A call of one member's gateway. OSError or AssertionError if it is refused."""
        return ask(self.story.address(machine), ETCD_PORT, self.keys.etcd, f"/v3/{call}", body)

    def status(self, machine: str) -> dict[str, Any]:
        """What a member says of itself; {} if it does not answer."""
        try:
            found = self.call(machine, "maintenance/status")
        except (OSError, AssertionError):
            return {}
        assert isinstance(found, dict)
        return found

    def listed(self, machine: str = "") -> set[tuple[str, str]]:
        """The members as one knows them: id and name."""
        machine = machine or next(name for name in self.story.nodes if self.status(name))
        return {(member["ID"], member.get("name", "")) for member in self._list(machine)["members"]}

    def clusters(self) -> set[str]:
        """The ids of all clusters that any machine is in."""
        found = [self.status(machine) for machine in self.story.nodes]
        return {str(status["header"]["cluster_id"]) for status in found if status}

    def leader(self) -> str:
        """The machine whose member leads, '' if none does."""
        for machine in self.story.nodes:
            status = self.status(machine)
            if status and status.get("leader") == status["header"]["member_id"]:
                return machine
        return ""

    def amiss(self, wanted: Sequence[str]) -> Iterator[str]:
        """C5: all that is wrong. Between two moments of a busy cluster that may be nothing but haste."""
        revision = self.call(wanted[0], "maintenance/status")["header"]["revision"]
        clusters, hashes = set(), set()
        for machine in wanted:
            found = self._list(machine)
            clusters.add(found["header"]["cluster_id"])
            names = sorted(member.get("name", "(not started)") for member in found["members"])
            if names != sorted(wanted):
                yield f"{machine} knows the members {names}, the object has {sorted(wanted)}"
            yield from (f"{member['name']} is a learner" for member in found["members"] if _learner(member))
            alarms = self.call(machine, "maintenance/alarm", action="GET").get("alarms", ())
            yield from (f"{machine} has the alarm {alarm}" for alarm in alarms)
            hashed = self.call(machine, "maintenance/hashkv", revision=revision)
            hashes.add((hashed["hash"], hashed["compact_revision"]))
        if len(clusters) > 1:
            yield f"members are of several clusters: {clusters}"
        if len(hashes) > 1:
            yield f"members differ at revision {revision}: {hashes}"

    def voters(self, machine: str) -> dict[str, bool]:
        """The voters as one member knows them, and whether each ever started."""
        members = self._list(machine)["members"]
        return {m["ID"]: bool(m.get("clientURLs")) for m in members if not _learner(m)}

    def _list(self, machine: str) -> Any:
        return self.call(machine, "cluster/member/list", linearizable=False)


def _learner(member: dict[str, Any]) -> bool:
    return bool(member.get("isLearner"))


class Census:
    """What was seen of the members from `with` to its end."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="census", daemon=True)
        self.clusters: set[str] = set()
        self.findings: list[str] = []

    def __enter__(self) -> Census:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for machine in self._members.story.nodes:
                try:
                    self._look(machine)
                except (OSError, AssertionError, LookupError):
                    continue  # it does not run, or not yet

    def _look(self, machine: str) -> None:
        status = self._members.call(machine, "maintenance/status")
        self.clusters.add(status["header"]["cluster_id"])
        if len(self.clusters) > 1:
            self._find(f"there is a second etcd cluster: {sorted(self.clusters)}")
        unborn = [member for member, started in self._members.voters(machine).items() if not started]
        if unborn:
            self._find(f"{machine} counts {', '.join(unborn)} as a voter, which has not started")

    def _find(self, finding: str) -> None:
        if finding not in self.findings:
            self.findings.append(finding)
