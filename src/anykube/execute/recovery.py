"""Our hand on an etcd that lost its quorum: what handlers.py calls. plan/recover.py says what may be done."""

from __future__ import annotations

from anykube.errors import EtcdError
from anykube.execute import etcd_scripts, recovery_scripts
from anykube.execute.node import NodeHand
from anykube.facts import etcd_answers
from anykube.plan.effects import BeginAnew, HaltUnits, ReturnEtcd, UnpackSnapshot

BUMP = 1_000_000_000
"""etcd's own advice: more than a cluster writes between a snapshot and its loss, so that no revision that a
client has seen comes again with another content."""
UNPACK_SECONDS = 900.0
BEGIN_SECONDS = 900.0
"""A copy of the data, then a start: systemd itself gives up after five minutes (content/unit.py)."""
LEASES = "/registry/masterleases/"
"""Where API servers say that they live; those of lost ones would be served to pods until they expire."""


async def halt(hand: NodeHand, effect: HaltUnits) -> None:
    """Stop units now."""
    await hand.script(f"stopping {', '.join(effect.units)}", recovery_scripts.HALT, effect.units)


async def unpack(hand: NodeHand, effect: UnpackSnapshot) -> None:
    """Verify a snapshot and unpack it beside the member's data."""
    arguments = (effect.file, effect.node, effect.peer_url, effect.token, str(BUMP))
    await hand.script("unpacking the snapshot", recovery_scripts.UNPACK, arguments, UNPACK_SECONDS)


async def begin_anew(hand: NodeHand, effect: BeginAnew) -> None:
    """Start the member of a node as the only one of its cluster. EtcdError if it is not alone then."""
    source = "snapshot" if effect.unpacked else "survivor"
    await hand.script(
        f"etcd begins anew from the {source}", recovery_scripts.BEGIN_ANEW, (source,), BEGIN_SECONDS
    )
    text = await hand.script("etcdctl member list", etcd_scripts.CONTROL, ("member", "list"))
    try:
        members = etcd_answers.members(text)
    except ValueError as error:
        raise EtcdError("etcd's answer is not understood.", evidence=[str(error)[:300]]) from None
    if [member.name for member in members] != [effect.node]:
        raise EtcdError(
            f"etcd on {effect.node} serves, but not alone.",
            evidence=[f"member {member.id:x} {member.name}" for member in members],
            remedy=f"anykube logs {effect.node} etcd",
        )
    await hand.script("removing leases of API servers", etcd_scripts.CONTROL, ("del", "--prefix", LEASES))


async def give_back(hand: NodeHand, effect: ReturnEtcd) -> None:
    """Put the data of before a restore back into its place."""
    await hand.script("returning etcd's data", recovery_scripts.GIVE_BACK, (str(effect.since),))
