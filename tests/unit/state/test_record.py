"""The record: serial and epoch only grow, damage is refused and left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.errors import StateError
from anykube.facts.record import Record
from anykube.state import codec
from anykube.state.record import RecordStore, new_record


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "demo")


def edit(store: RecordStore, **changes: Any) -> bytes:
    document = json.loads(store.path.read_bytes())
    document.update({name: value for name, value in changes.items() if name in document})
    document["content"].update({name: value for name, value in changes.items() if name not in document})
    store.path.write_text(json.dumps(document))
    return store.path.read_bytes()


def test_no_record_is_none(store: RecordStore) -> None:
    assert store.load() is None
    assert not store.folder.exists()
    with pytest.raises(StateError, match="no record"):
        store.next_epoch()


def test_each_save_raises_the_serial_and_reads_back_equal(store: RecordStore) -> None:
    record = replace(
        new_record("demo"),
        site={"subnet": "10.81.0.0/24"},
        addresses={"demo-cp-1": "10.81.0.11"},
        object="ä\n",
    )
    first = store.save(record)
    second = store.save(first)
    assert (record.serial, first.serial, second.serial) == (0, 1, 2)
    assert store.load() == second == replace(record, serial=2)
    assert (store.path.stat().st_mode & 0o777) == 0o600


def test_lineages_differ() -> None:
    assert new_record("demo").lineage != new_record("demo").lineage


def test_each_run_has_a_higher_epoch(store: RecordStore) -> None:
    store.save(new_record("demo"))
    assert [store.next_epoch().epoch for _ in range(3)] == [1, 2, 3]


def test_a_lost_update_is_refused(store: RecordStore) -> None:
    ours = store.save(new_record("demo"))
    store.save(ours)
    with pytest.raises(StateError, match="changed by another run"):
        store.save(ours)
    with pytest.raises(StateError, match="changed by another run"):
        store.save(new_record("demo"))


def test_the_record_before_is_kept_and_can_be_restored(store: RecordStore) -> None:
    first = store.save(new_record("demo"))
    store.save(replace(first, source="cluster.yaml"))
    store.path.write_text("{")
    with pytest.raises(StateError, match="damaged") as caught:
        store.load()
    assert "record.json.previous" in str(caught.value.remedy)
    store.path.with_name("record.json.previous").replace(store.path)
    assert store.load() == first


def test_a_newer_schema_is_refused_and_left(store: RecordStore) -> None:
    record = store.save(new_record("demo"))
    left = edit(store, schema=2)
    for attempt in (store.load, store.next_epoch, lambda: store.save(record)):
        with pytest.raises(StateError, match="newer anykube"):
            attempt()
    assert store.path.read_bytes() == left


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"schema": True},
        {"schema": "1"},
        {"kind": "plan"},
        {"serial": "1"},
        {"serial": True},
        {"serial": -1},
        {"epoch": None},
        {"epoch": 1.5},
        {"lineage": ""},
        {"site": []},
        {"site": {"a": 1}},
        {"addresses": "x"},
        {"surprise": 1},
    ],
)
def test_a_wrong_value_is_refused(store: RecordStore, change: dict[str, Any]) -> None:
    store.save(new_record("demo"))
    edit(store, **change)
    with pytest.raises(StateError, match="damaged"):
        store.load()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"kind": 1, "kind": 1}', b"<html>"]
)
def test_a_corrupt_file_is_refused_and_never_overwritten(store: RecordStore, content: bytes) -> None:
    record = store.save(new_record("demo"))
    store.path.write_bytes(content)
    for attempt in (store.load, store.next_epoch, lambda: store.save(record)):
        with pytest.raises(StateError, match="damaged"):
            attempt()
    assert store.path.read_bytes() == content


@given(st.from_type(Record))
def test_any_record_survives_its_json_form(record: Record) -> None:
    assert codec.decode(Record, json.loads(json.dumps(codec.encode(record)))) == record


def test_a_record_of_an_earlier_anykube_lacks_what_came_later(store: RecordStore) -> None:
    store.save(replace(new_record("demo"), born=True, departing={"a": "{}"}))
    document = json.loads(store.path.read_text())
    del document["content"]["born"], document["content"]["departing"]
    store.path.write_text(json.dumps(document))
    loaded = store.load()
    assert loaded is not None
    assert (loaded.born, loaded.departing) == (False, {})


def test_what_it_never_lacked_must_be_there(store: RecordStore) -> None:
    store.save(new_record("demo"))
    document = json.loads(store.path.read_text())
    del document["content"]["lineage"]
    store.path.write_text(json.dumps(document))
    with pytest.raises(StateError, match="lineage"):
        store.load()
