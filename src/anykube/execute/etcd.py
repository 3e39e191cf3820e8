"""Our hand on etcd's membership: what handlers.py calls. The order of changes is plan/membership.py's.

Every change goes through the etcdctl of a node whose member runs, behind the node's fence. Each looks at the
members as they are now, so it may be repeated, and refuses what the plan could not foresee.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anykube.content.etcd import initial_cluster
from anykube.errors import AnykubeError, CommandError, EtcdError, QuorumError, TransportError
from anykube.execute import etcd_scripts
from anykube.execute.conditions import wait_for
from anykube.execute.node import NodeHand
from anykube.facts import etcd_answers
from anykube.facts.etcd import Member, Standing, quorum

ASK_SECONDS = 15.0
CHANGE_SECONDS = 60.0
"""etcd itself refuses changes until all voters have been connected for five seconds (its HealthInterval)."""
LATER = (
    *("unhealthy cluster", "too many learner", "no leader", "timed out", "leader changed"),
    *("deadline exceeded", "in sync with leader", "not enough started members"),
)
"""What etcd says of a change that it may accept a little later."""

Hand = Callable[[str], NodeHand]
Done = Callable[[Sequence[Member]], bool]


@dataclass(frozen=True, slots=True)
class EtcdHand:
    """etcd, asked through the first of some nodes that answers."""

    hand: Hand
    through: tuple[str, ...]

    async def add(self, node: str, peer_url: str) -> None:
        """Add a learner, and tell its node which members it will find. One that is listed stays."""
        arguments = ("member", "add", node, "--learner", f"--peer-urls={peer_url}")
        await self._change(
            f"etcd member of {node} added", arguments, lambda members: _at(members, peer_url) is not None
        )
        members = await self.members()
        listed = [(_name(member, node, peer_url), url) for member in members for url in member.peer_urls]
        first = self.hand(node)
        await first.script("writing the list of members", etcd_scripts.FIRST, (initial_cluster(listed),))

    async def promote(self, node: str, peer_url: str, seconds: float) -> None:
        """Make a learner a voter once it has the leader's data. A voter stays one."""
        member = _at(await self.members(), peer_url)
        if member is None:
            raise EtcdError(f"{node} is no etcd member any more.", remedy="anykube apply")

        def done(members: Sequence[Member]) -> bool:
            return any(found.id == member.id and not found.learner for found in members)

        arguments = ("member", "promote", _hex(member.id))
        remedy = f"anykube logs {node} etcd"
        await self._change(f"etcd member of {node} promoted", arguments, done, seconds, remedy)

    async def remove(self, node: str, member_id: int) -> None:
        """Remove a member that the others can do without. QuorumError if they cannot."""
        members = await self.members()
        victim = next((member for member in members if member.id == member_id), None)
        if victim is None:
            return
        standing = await self._standing()
        _refuse_loss(node, victim, members, standing)
        if any(seen.leader == member_id for seen in standing.values()):
            await self._hand_over(node, member_id, members, standing)

        def done(now: Sequence[Member]) -> bool:
            return all(member.id != member_id for member in now)

        await self._change(f"etcd member of {node} removed", ("member", "remove", _hex(member_id)), done)

    async def move(self, node: str, member_id: int, peer_url: str) -> None:
        """Note the new peer URL of a member."""
        arguments = ("member", "update", _hex(member_id), f"--peer-urls={peer_url}")
        await self._change(
            f"etcd member of {node} moved", arguments, lambda members: _at(members, peer_url) is not None
        )

    async def members(self) -> tuple[Member, ...]:
        """The members that a quorum agrees on."""
        try:
            return etcd_answers.members(await self._ask(("member", "list")))
        except ValueError as error:
            raise _not_understood(error) from None

    async def _standing(self) -> Mapping[int, Standing]:
        """What each member that answers says of itself, by its id."""
        text = await self._ask(("endpoint", "status", "--cluster"), tolerant=True)
        try:
            return etcd_answers.standing(text)
        except ValueError as error:
            raise _not_understood(error) from None

    async def _hand_over(
        self, node: str, member_id: int, members: Sequence[Member], standing: Mapping[int, Standing]
    ) -> None:
        """Let the leader name its successor, the voter that is furthest; only the leader itself can."""
        voters = [member.id for member in members if not member.learner and member.id != member_id]
        heir = max(
            (voter for voter in voters if voter in standing), key=lambda voter: standing[voter].applied
        )
        leader = self.hand(node)
        try:
            await leader.script(
                "handing over etcd's leadership",
                etcd_scripts.CONTROL,
                ("move-leader", _hex(heir)),
                ASK_SECONDS,
            )
        except (TransportError, CommandError):
            # It died meanwhile, or leads no more: then the others elect, and the removal waits for that.
            return

    async def _change(
        self,
        what: str,
        arguments: Sequence[str],
        done: Done,
        seconds: float = CHANGE_SECONDS,
        remedy: str = "anykube status",
    ) -> None:
        """One change of members, tried again while etcd says that it is too early for it."""

        async def look() -> str:
            if done(await self.members()):
                return ""
            try:
                await self._ask(arguments)
            except CommandError as error:
                if any(word in error.stderr for word in LATER):
                    return " ".join(error.evidence)[-300:]
                raise
            return ""

        await wait_for(what, look, seconds, remedy=remedy)

    async def _ask(self, arguments: Sequence[str], *, tolerant: bool = False) -> str:
        """What etcdctl prints on the first node that has an answer. `tolerant`: also if not all is well."""
        failure: AnykubeError = EtcdError("There is no etcd member to ask.", remedy="anykube status")
        what = f"etcdctl {' '.join(arguments[:2])}"
        for node in self.through:
            try:
                return await self.hand(node).script(
                    what, etcd_scripts.CONTROL, arguments, ASK_SECONDS, tolerant=tolerant
                )
            except TransportError as error:
                failure = error
            except CommandError as error:
                if not any(word in error.stderr for word in ("connect", "deadline exceeded")):
                    raise
                failure = error
        raise failure


def _refuse_loss(
    node: str, victim: Member, members: Sequence[Member], standing: Mapping[int, Standing]
) -> None:
    if victim.learner:
        return
    left = [member for member in members if not member.learner and member.id != victim.id]
    silent = [member for member in left if member.id not in standing or not standing[member.id].leader]
    if left and len(left) - len(silent) >= quorum(len(left)):
        return
    raise QuorumError(
        f"The etcd member of {node} cannot be removed: of the {len(left)} voters left "
        f"{len(left) - len(silent)} would be healthy, {quorum(len(left))} are needed.",
        evidence=[f"{member.name or _hex(member.id)} does not follow a leader" for member in silent],
        remedy="mend or replace those that do not answer first: anykube status",
    )


def _at(members: Sequence[Member], peer_url: str) -> Member | None:
    return next((member for member in members if peer_url in member.peer_urls), None)


def _name(member: Member, node: str, peer_url: str) -> str:
    """A member that has not started has no name yet; any will do for it but another's."""
    return node if peer_url in member.peer_urls else member.name or _hex(member.id)


def _hex(member_id: int) -> str:
    """An id as etcdctl wants it."""
    return f"{member_id:x}"


def _not_understood(error: ValueError) -> EtcdError:
    return EtcdError("etcd's answer is not understood.", evidence=[str(error)[:300]])
