"""What etcdctl prints as JSON, read strictly. Its callers: the probe, and execute/etcd.py. Pure.

Unknown keys are let be: a newer etcd may say more. Ids are numbers of 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from anykube.facts.etcd import Member, Standing, View


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Header(_Answer):
    cluster_id: int
    member_id: int


class _Member(_Answer):
    id: int = Field(alias="ID")
    name: str = Field(default="", max_length=253)
    peer_urls: list[str] = Field(default=[], alias="peerURLs", max_length=8)
    client_urls: list[str] = Field(default=[], alias="clientURLs", max_length=8)
    learner: bool = Field(default=False, alias="isLearner")


class _Members(_Answer):
    header: _Header
    members: list[_Member] = Field(max_length=64)


class _Status(_Answer):
    header: _Header
    version: str = ""
    leader: int = 0
    term: int = Field(default=0, alias="raftTerm")
    index: int = Field(default=0, alias="raftIndex")
    applied: int = Field(default=0, alias="raftAppliedIndex")
    errors: list[str] = []
    learner: bool = Field(default=False, alias="isLearner")
    db_size: int = Field(default=0, alias="dbSize")


class _Endpoint(_Answer):
    status: _Status = Field(alias="Status")


_STATUSES = TypeAdapter(list[_Endpoint])
NO_STATUS = "null"
"""Printed by `endpoint status` when the member refuses it, such as for a certificate that has ended."""


def members(text: str) -> tuple[Member, ...]:
    """The answer of `etcdctl member list`, or of a change of members. ValueError if it is none."""
    return _members(_Members.model_validate_json(text))


def standing(text: str) -> dict[int, Standing]:
    """The answer of `endpoint status --cluster`: members that answered, by id. ValueError if it is none."""
    found = (entry.status for entry in _STATUSES.validate_json(text))
    return {status.header.member_id: Standing(status.leader, status.applied) for status in found}


def view(lines: Sequence[str]) -> View | None:
    """The view of one member from the lines of `member list` and `endpoint status`, in any order.

    None when one of them is missing: such a member does not answer. ValueError for anything else.
    """
    lines = [line for line in lines if line != NO_STATUS]
    listed = [line for line in lines if line.startswith("{")]
    statuses = [line for line in lines if line.startswith("[")]
    if len(listed) > 1 or len(statuses) > 1 or len(listed) + len(statuses) != len(lines):
        raise ValueError("neither a list of members nor a status")
    if not listed or not statuses:
        return None
    try:
        known = _Members.model_validate_json(listed[0])
        found = _STATUSES.validate_json(statuses[0])
    except ValidationError as error:
        raise ValueError(str(error.errors(include_url=False)[:2])) from None
    if len(found) != 1:
        raise ValueError(f"{len(found)} statuses")
    status = found[0].status
    return View(
        cluster_id=status.header.cluster_id,
        member_id=status.header.member_id,
        leader=status.leader,
        term=status.term,
        index=status.index,
        applied=status.applied,
        members=_members(known),
        errors=tuple(status.errors),
        learner=status.learner,
        version=status.version,
        db_size=status.db_size,
    )


def _members(answer: _Members) -> tuple[Member, ...]:
    return tuple(
        Member(item.id, item.name, tuple(item.peer_urls), tuple(item.client_urls), item.learner)
        for item in sorted(answer.members, key=lambda item: item.id)
    )
