"""The judge must see a lost write, an invented one and a revision that goes back. Without a cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.e2e.checker import check
from tests.e2e.history import Event, History, Outcome, Write, longest_gap, read, writes


def write(client: str, number: int, outcome: Outcome = "ok", revision: int = 0, at: float = 0.0) -> Write:
    """A write that takes half a second."""
    at = at or float(number)
    ended = None if outcome == "begun" else at + 0.5
    kept = "unknown" if outcome == "begun" else outcome
    return Write("etcd", client, number, at, ended, kept, revision)


GOOD = [
    write("a", 1, revision=10),
    write("b", 1, revision=11),
    write("a", 2, "fail"),
    write("a", 3, "unknown"),
    write("b", 2, "unknown"),
    write("b", 3, revision=15),
    write("b", 4, "begun"),
]
PRESENT = {"seq-a-1": 10, "seq-b-1": 11, "seq-b-2": 13, "seq-b-3": 15}


def test_unknown_writes_may_be_there_or_not() -> None:
    assert check(GOOD, PRESENT, GOOD) == []
    assert check(GOOD, {**PRESENT, "seq-a-3": 14, "seq-b-4": 16}, GOOD) == []


def test_a_lost_write_is_seen() -> None:
    without = {name: revision for name, revision in PRESENT.items() if name != "seq-a-1"}
    assert check(GOOD, without, GOOD) == ["lost: seq-a-1, acknowledged at revision 10"]


def test_a_write_acknowledged_while_the_cluster_was_read_need_not_be_there() -> None:
    later = [*GOOD, write("b", 5, revision=20)]
    assert check(GOOD, PRESENT, later) == []
    assert check(later, PRESENT, later) == ["lost: seq-b-5, acknowledged at revision 20"]


def test_an_invented_write_is_seen() -> None:
    assert check(GOOD, {**PRESENT, "seq-c-1": 17}, GOOD) == [
        "invented: seq-c-1 at revision 17, which nobody wrote"
    ]
    assert check(GOOD, {**PRESENT, "seq-a-2": 12}, GOOD) == [
        "invented: seq-a-2 at revision 12, whose writer was told that it failed"
    ]


def test_a_revision_that_goes_back_is_seen_across_clients() -> None:
    back = [*GOOD, write("c", 5, revision=14)]
    assert check(back, {**PRESENT, "seq-c-5": 14}, back) == [
        "disorder: seq-c-5 got revision 14 though it began after seq-b-3 was acknowledged at 15"
    ]


def test_writes_that_overlap_may_have_either_order() -> None:
    overlapping = [write("a", 1, revision=12, at=1.0), write("b", 1, revision=11, at=1.2)]
    assert check(overlapping, {"seq-a-1": 12, "seq-b-1": 11}, overlapping) == []


def test_two_clusters_that_both_take_writes_are_seen() -> None:
    split = [write("a", 1, revision=12, at=1.0), write("b", 1, revision=12, at=1.2)]
    (found,) = check(split, {"seq-a-1": 12, "seq-b-1": 12}, split)
    assert found == "disorder: seq-a-1 and seq-b-1 both got revision 12"


def test_a_write_at_another_revision_is_seen() -> None:
    assert check(GOOD, {**PRESENT, "seq-b-3": 16}, GOOD) == [
        "moved: seq-b-3, acknowledged at revision 15, is at 16"
    ]


def test_many_findings_of_one_sort_are_told_in_a_few_lines() -> None:
    many = [write("a", number, revision=number) for number in range(1, 101)]
    found = check(many, {}, many)
    assert len(found) == 6
    assert found[-1] == "... and 95 more like these"


@given(st.lists(st.sampled_from(["ok", "unknown", "fail"]), min_size=1, max_size=30), st.data())
def test_any_single_damage_to_a_good_history_is_seen(outcomes: list[Outcome], data: st.DataObject) -> None:
    good = [
        write("a", number, outcome, revision=100 + number if outcome == "ok" else 0)
        for number, outcome in enumerate(outcomes, 1)
    ]
    present = {w.key: 100 + w.number for w in good if w.outcome != "fail"}
    assert check(good, present, good) == []
    victim = data.draw(st.sampled_from(good))
    if victim.outcome == "fail":
        assert check(good, {**present, victim.key: 5}, good)
    elif victim.outcome == "ok":
        assert check(good, {name: at for name, at in present.items() if name != victim.key}, good)
        assert check(good, {**present, victim.key: 1}, good)
        back = [dataclasses.replace(w, revision=50) if w is victim else w for w in good]
        assert check(back, present, back)
    else:
        assert check([w for w in good if w is not victim], present, [w for w in good if w is not victim])


@pytest.mark.parametrize(
    ("begin", "end", "gap"),
    [(0.0, 4.0, 1.5), (0.0, 20.0, 13.5), (1.0, 6.6, 3.0), (50.0, 60.0, 10.0)],
    ids=["at the beginning", "at the end", "between", "nothing at all"],
)
def test_the_longest_gap(begin: float, end: float, gap: float) -> None:
    done = [write("a", 1), write("b", 2), write("a", 3), write("a", 4, "fail"), write("b", 5, "unknown")]
    done += [write("b", 6), dataclasses.replace(write("c", 5), kind="api")]
    assert longest_gap(done, "etcd", begin, end) == pytest.approx(gap)


def test_a_history_is_on_disk_as_it_happens(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    history.add("etcd", "a", 1, "begun")
    history.add("etcd", "a", 1, "ok", 7)
    history.add("etcd", "a", 2, "begun")
    told = read(tmp_path / "history")
    assert [event.outcome for event in told] == ["begun", "ok", "begun"]
    assert writes(told) == history.writes()
    assert [(w.key, w.outcome, w.revision) for w in history.writes()] == [
        ("seq-a-1", "ok", 7),
        ("seq-a-2", "unknown", 0),
    ]
    history.close()

    later = History(tmp_path / "history")
    assert (later.last_number("a"), later.last_number("b")) == (2, 0)
    later.add("etcd", "a", 3, "begun")
    assert [w.number for w in later.writes()] == [1, 2, 3]
    later.close()


def test_a_number_is_used_once() -> None:
    with pytest.raises(AssertionError, match="begun twice"):
        writes([Event(1.0, "etcd", "a", 1, "begun"), Event(2.0, "etcd", "a", 1, "begun")])
