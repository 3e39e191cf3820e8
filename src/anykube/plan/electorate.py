"""Who votes in etcd while nodes leave, and whether one more may go: the rule of every removal. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from anykube.facts.etcd import Etcd, quorum, standing


@dataclass(frozen=True, slots=True)
class Electorate:
    """Voters by the name of their node, and whether each follows a leader."""

    voters: Mapping[str, bool]

    @property
    def healthy(self) -> int:
        """How many of them follow a leader."""
        return sum(self.voters.values())

    @property
    def quorate(self) -> bool:
        """Whether etcd can be written to, and so whether members can be changed."""
        return bool(self.voters) and self.healthy >= quorum(len(self.voters))

    @property
    def shown(self) -> str:
        """For the plan: voters, quorum, and how many failures that survives."""
        return standing(sorted(self.voters))

    def without(self, name: str) -> Electorate:
        """The voters after one has gone; a learner, or one that is no member, changes nothing."""
        return Electorate({voter: well for voter, well in self.voters.items() if voter != name})

    def refusal(self, name: str) -> str:
        """Why this node's member may not be removed now; '' if it may."""
        after = self.without(name)
        if not self.quorate:
            return f"etcd has no quorum: {self.healthy} of {len(self.voters)} voters are healthy"
        if not after.voters:
            return "it is the last voter of etcd: all data would be gone"
        if not after.quorate:
            ill = ", ".join(sorted(voter for voter, well in after.voters.items() if not well))
            return (
                f"without it {after.healthy} of {len(after.voters)} voters of etcd would be healthy, and "
                f"{quorum(len(after.voters))} are needed; not healthy: {ill}"
            )
        return ""


def electorate(etcd: Etcd, names: Mapping[int, str]) -> Electorate:
    """The voters as they are. `names` maps the id of a member to the name of its node."""
    return Electorate(
        {names[voter.id]: voter.id in etcd.healthy for voter in etcd.voters if voter.id in names}
        | {f"member {voter.id:x}": voter.id in etcd.healthy for voter in etcd.voters if voter.id not in names}
    )


def expected(now: Electorate, wanted: Collection[str], leaving: Collection[str]) -> Electorate:
    """The voters as the phases before will leave them: new members have joined, what was off runs."""
    leavers = {name: well for name, well in now.voters.items() if name in leaving}
    return Electorate(leavers | dict.fromkeys(wanted, True))
