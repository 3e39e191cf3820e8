"""Which fields differ, named so that a person finds them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.facts.differences import LIMIT, differences


def thing(**fields: Any) -> dict[str, Any]:
    return {"kind": "Any", "metadata": {"name": "a"}, **fields}


CASES: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ({"spec": {"a": 1}}, {"spec": {"a": 1}}, ()),
    ({"spec": {"a": 1, "b": 2}}, {"spec": {"a": 2, "b": 2}}, ("spec.a",)),
    ({"spec": {}}, {"spec": {"a": 1}}, ("spec.a",)),
    ({"spec": {"a": 1}}, {}, ("spec",)),
    ({"spec": {"args": ["a"]}}, {"spec": {"args": ["a", "b"]}}, ("spec.args",)),
    (
        {"spec": {"ports": [{"name": "x", "port": 1}, {"name": "y", "port": 2}]}},
        {"spec": {"ports": [{"name": "y", "port": 3}, {"name": "x", "port": 1}]}},
        ("spec.ports[y].port",),
    ),
    ({"c": [{"name": "x"}]}, {"c": [{"name": "x"}, {"name": "y"}]}, ("c[y]",)),
    ({"c": [{"name": "x"}, {"name": "y"}]}, {"c": [{"name": "y"}, {"name": "x"}]}, ("c",)),
    ({"c": [{"other": 1}]}, {"c": [{"other": 2}]}, ("c",)),
    ({"c": [{"name": "x"}, {"name": "x"}]}, {"c": [{"name": "x"}]}, ("c",)),
    (
        {"c": [{"name": "x", "v": 1}, {"name": "x", "v": 2}]},
        {"c": [{"name": "x", "v": 1}, {"name": "x", "v": 3}]},
        ("c",),
    ),
    ({"labels": {"a.b/c": "1"}}, {"labels": {"a.b/c": "2"}}, ("labels[a.b/c]",)),
    ({"data": {"1": True}}, {"data": {"1": False}}, ("data.1",)),
    ({"status": {"ready": 1}}, {"status": {"ready": 2}}, ()),
]


@pytest.mark.parametrize(("live", "applied", "paths"), CASES)
def test_paths(live: dict[str, Any], applied: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert differences(thing(**live), thing(**applied)) == paths


def test_what_belongs_to_the_api_server_does_not_count() -> None:
    server = {"managedFields": [], "resourceVersion": "2", "generation": 2, "uid": "x"}
    live = {"kind": "Any", "metadata": {"name": "a", **server}}
    assert differences(live, thing()) == ()
    assert differences({"kind": "Any", "metadata": {"name": "b"}}, thing()) == ("metadata.name",)


def test_there_is_an_end() -> None:
    assert len(differences(thing(data={str(n): 0 for n in range(500)}), thing(data={}))) == LIMIT


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(values, values)
def test_equal_means_no_differences_and_nothing_else_does(left: Any, right: Any) -> None:
    assert differences(thing(spec=left), thing(spec=left)) == ()
    assert bool(differences(thing(spec=[left]), thing(spec=[right]))) == (left != right)
