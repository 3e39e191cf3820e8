"""The judge: what writers were told, beside what the cluster holds. No I/O; each finding is a sentence.

Every write has a key of its own and is tried once, so sets are enough:
nothing acknowledged is lost, nothing is there that nobody wrote, and revisions follow real time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.e2e.history import Write

SHOWN = 5
"""Findings of one sort that are told one by one."""


def check(before: Sequence[Write], present: Mapping[str, int], after: Sequence[Write]) -> list[str]:
    """All that is wrong.

    present: the revision at which each key was created.  before, after: the writes as they were known before
    and after `present` was read, which are not the same while writers run.
    """
    found = (lost(before, present), invented(after, present), moved(after, present), disorder(after))
    return [finding for findings in found for finding in _few(list(findings))]


def lost(done: Sequence[Write], present: Mapping[str, int]) -> Iterator[str]:
    """Acknowledged writes that are not there."""
    for write in done:
        if write.acknowledged and write.key not in present:
            yield f"lost: {write.key}, acknowledged at revision {write.revision}"


def invented(done: Sequence[Write], present: Mapping[str, int]) -> Iterator[str]:
    """Keys that nobody wrote, or whose writer was told that it was not done."""
    outcomes = {write.key: write.outcome for write in done}
    for name, revision in present.items():
        outcome = outcomes.get(name)
        if outcome is None:
            yield f"invented: {name} at revision {revision}, which nobody wrote"
        elif outcome == "fail":
            yield f"invented: {name} at revision {revision}, whose writer was told that it failed"


def moved(done: Sequence[Write], present: Mapping[str, int]) -> Iterator[str]:
    """Acknowledged writes that are there at another revision: written again, or a history of its own."""
    for write in done:
        revision = present.get(write.key)
        if write.acknowledged and revision is not None and revision != write.revision:
            yield f"moved: {write.key}, acknowledged at revision {write.revision}, is at {revision}"


def disorder(done: Sequence[Write]) -> Iterator[str]:
    """Writes that began after others were acknowledged and got no higher revision; revisions given twice.

    It looks at all clients together: two halves of a cluster that both take writes are seen.
    """
    acknowledged = [write for write in done if write.acknowledged and write.ended is not None]
    owners: dict[int, Write] = {}
    for write in acknowledged:
        other = owners.setdefault(write.revision, write)
        if other is not write:
            yield f"disorder: {other.key} and {write.key} both got revision {write.revision}"
    ends = sorted(acknowledged, key=lambda write: write.ended or 0.0)
    highest, next_end = None, 0
    for write in sorted(acknowledged, key=lambda write: write.begun):
        while next_end < len(ends) and (ends[next_end].ended or 0.0) < write.begun:
            ended = ends[next_end]
            highest = ended if highest is None or ended.revision > highest.revision else highest
            next_end += 1
        if highest is not None and write.revision <= highest.revision:
            yield (
                f"disorder: {write.key} got revision {write.revision} though it began after "
                f"{highest.key} was acknowledged at {highest.revision}"
            )


def _few(findings: list[str]) -> list[str]:
    more = len(findings) - SHOWN
    return findings if more <= 0 else [*findings[:SHOWN], f"... and {more} more like these"]
