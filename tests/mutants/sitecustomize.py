"""Breaks anykube on purpose, in every Python that has this folder in PYTHONPATH: ANYKUBE_MUTANT says how.

Python imports a module of this name when it starts. tests/e2e/test_mutants.py shows that each is caught.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any


def joins_as_voter() -> None:
    """A new member counts for the quorum at once, before it runs."""
    from anykube.execute.etcd import EtcdHand

    change: Any = EtcdHand._change

    async def broken(self: EtcdHand, what: str, arguments: Sequence[str], *rest: Any) -> None:
        if "promote" not in arguments:
            await change(self, what, [one for one in arguments if one != "--learner"], *rest)

    hand: Any = EtcdHand
    hand._change = broken


def removes_nobody() -> None:
    """Whatever goes wrong when a member is removed is nobody's business."""
    from anykube.execute.etcd import EtcdHand

    async def broken(self: EtcdHand, node: str, member_id: int) -> None:
        return

    EtcdHand.remove = broken  # type: ignore[method-assign]


def removes_another() -> None:
    """The wrong member goes."""
    from anykube.execute.etcd import EtcdHand

    remove = EtcdHand.remove

    async def broken(self: EtcdHand, node: str, member_id: int) -> None:
        others = [member.id for member in await self.members() if member.id != member_id]
        await remove(self, node, others[0])

    EtcdHand.remove = broken  # type: ignore[method-assign]


def starts_anew() -> None:
    """A member whose data is gone founds a cluster of its own (kubespray#13261). With the list of all members
    etcd itself would refuse: the others tell it that it was there before."""
    from anykube.content import etcd

    own = "echo $ETCD_INITIAL_CLUSTER | tr , '\\n' | grep ^$(hostname)="
    etcd._HAS_DATA = "true"
    etcd._SERVES = (
        f"echo {etcd.STATE_NAME}=new >{etcd.BORN}; "
        f"echo ETCD_INITIAL_CLUSTER=$({own}) >>{etcd.BORN}; rm -f {etcd.FIRST_START}"
    )


def counts_no_quorum() -> None:
    """A member is removed whoever else is missing."""
    from anykube.execute import etcd
    from anykube.plan.electorate import Electorate

    Electorate.refusal = lambda self, name: ""  # type: ignore[method-assign]
    etcd._refuse_loss = lambda *_: None


MUTANTS: dict[str, Callable[[], None]] = {
    "joins-as-voter": joins_as_voter,
    "removes-nobody": removes_nobody,
    "removes-another": removes_another,
    "starts-anew": starts_anew,
    "counts-no-quorum": counts_no_quorum,
}

if _chosen := os.environ.get("ANYKUBE_MUTANT"):
    MUTANTS[_chosen]()
