"""Members of etcd as the nodes see them, and the questions on which every change of members rests. No I/O.

Each running member answers for itself (a View, part of HostFacts); `consensus` makes one picture of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A member as etcd lists it. One that never started has no client URLs; a learner does not vote.

    `id` is the number that etcd gives it, from its peer URLs and the moment of its addition.
    """

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    learner: bool = False

    @property
    def started(self) -> bool:
        """Whether it ever ran: only then could it publish where clients reach it."""
        return bool(self.client_urls)


@dataclass(frozen=True, slots=True)
class View:
    """What one running member answers. `leader` is 0 while it knows none; `errors` are alarms and the like.

    Members are read from its own copy, so a member that is cut off may answer an old list.
    """

    cluster_id: int
    member_id: int
    leader: int
    term: int
    index: int
    applied: int
    members: tuple[Member, ...]
    errors: tuple[str, ...] = ()
    learner: bool = False
    version: str = ""
    db_size: int = 0

    @property
    def healthy(self) -> bool:
        """Whether it takes part: it follows a leader."""
        return self.leader != 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a member says it stands: the leader that it follows (0 if none), and what it has applied."""

    leader: int
    applied: int


@dataclass(frozen=True, slots=True)
class Etcd:
    """etcd as a whole, from the views of all nodes that answered. Without any view it is `Etcd()`.

    `views` maps the name of a node to its view, of the one cluster that most of them are in; `strangers` are
    nodes whose etcd is in another cluster than that.
    """

    views: Mapping[str, View]
    members: tuple[Member, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether any member runs."""
        return bool(self.views)

    @property
    def voters(self) -> tuple[Member, ...]:
        """Members that count for the quorum."""
        return tuple(member for member in self.members if not member.learner)

    @property
    def healthy(self) -> frozenset[int]:
        """Ids of the voters that follow a leader now."""
        alive = {view.member_id for view in self.views.values() if view.healthy}
        return frozenset(member.id for member in self.voters if member.id in alive)

    @property
    def quorate(self) -> bool:
        """Whether it can be written to."""
        return self.exists and len(self.healthy) >= quorum(len(self.voters))

    @property
    def leader(self) -> int:
        """Id of the leader that the newest view knows, 0 if none."""
        newest = max(self.views.values(), key=_newness, default=None)
        return newest.leader if newest else 0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What members complain about, once each."""
        return tuple(sorted({error for view in self.views.values() for error in view.errors}))

    def member(self, name: str, peer_url: str) -> Member | None:
        """The member of a node: by its peer URL, which is unique, else by the name it started with."""
        by_url = next((m for m in self.members if peer_url in m.peer_urls), None)
        return by_url or next((m for m in self.members if m.name == name), None)


def consensus(views: Mapping[str, View]) -> Etcd:
    """One picture: of the cluster that most healthy views are in, what the newest of them knows."""
    if not views:
        return Etcd({})
    clusters: dict[int, list[View]] = {}
    for view in views.values():
        clusters.setdefault(view.cluster_id, []).append(view)
    most = max(clusters.values(), key=lambda found: (sum(view.healthy for view in found), len(found)))
    newest = max(most, key=_newness)
    own = {name: view for name, view in views.items() if view.cluster_id == newest.cluster_id}
    strangers = tuple(sorted(views.keys() - own.keys()))
    return Etcd(own, newest.members, strangers)


def cluster_of_one(peer_url: str, token: str) -> int:
    """The id that etcd gives a cluster which begins with this one member.

    Source: computeMemberID and genID of go.etcd.io/etcd/server (etcdserver/api/membership): the first eight
    bytes of a SHA-1, of the URL and the token for the member, of the ids of all members for the cluster.
    """
    member = hashlib.sha1(f"{peer_url}{token}".encode(), usedforsecurity=False).digest()[:8]
    return int.from_bytes(hashlib.sha1(member, usedforsecurity=False).digest()[:8])


def quorum(voters: int) -> int:
    """How many voters must agree."""
    return voters // 2 + 1


def margin(voters: int, healthy: int) -> int:
    """How many more voters may fail before nothing can be written; negative when that is so already."""
    return healthy - quorum(voters)


def survives(spare: int) -> str:
    """A margin in words: 'survives 1 failure'."""
    return "survives " + {0: "no failure", 1: "1 failure"}.get(spare, f"{spare} failures")


def standing(voters: Sequence[str]) -> str:
    """Voters and quorum for the plan: 'voters a, b, c; quorum 2 of 3, survives 1 failure'."""
    count = len(voters)
    names = ", ".join(voters) or "none"
    return f"voters {names}; quorum {quorum(count)} of {count}, {survives(margin(count, count))}"


def _newness(view: View) -> tuple[bool, int, int]:
    return view.healthy, view.term, view.applied
