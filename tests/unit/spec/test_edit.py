"""Counts are edited in place: exactly that number changes, and every comment stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anykube.errors import SpecError, UsageError
from anykube.spec.edit import with_counts, with_version
from anykube.spec.load import load
from anykube.spec.template import Answers, render

ROOT = Path(__file__).parents[3]

BLOCK = """\
# Our cluster.
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {name: demo}   # never change it
spec:
  kubernetes:
    version: "1.36.3"
  machines:
    provider: {lxc: {}}
    pools:
      # the head
      - name: cp    # ünïcode — before the number
        roles: [control-plane, etcd]
      - roles:
        - worker
        # two are enough
        count: 2    # was 3
        name: worker
      - {name: big, roles: [worker], memory: 2048} # flow
      - {
          "name": "huge",
          # who
          "roles": ["worker"]
        }
"""


def test_the_number_changes_where_it_stands() -> None:
    assert with_counts(BLOCK, {"worker": 12}, "c") == BLOCK.replace("count: 2 ", "count: 12 ")


def test_a_count_that_is_not_there_gets_a_line_after_the_name() -> None:
    after = "      - name: cp    # ünïcode — before the number\n"
    assert with_counts(BLOCK, {"cp": 3}, "c") == BLOCK.replace(after, f"{after}        count: 3\n")


def test_flow_style_gets_it_in_its_own_way() -> None:
    edited = with_counts(BLOCK, {"big": 3, "huge": 4}, "c")
    expected = BLOCK.replace("{name: big, roles", "{name: big, count: 3, roles")
    expected = expected.replace('"roles": ["w', '"count": 4,\n          "roles": ["w')
    assert edited == expected


@pytest.mark.parametrize("indent", [None, 2])
def test_json(indent: int | None) -> None:
    text = json.dumps(yaml.safe_load(BLOCK), indent=indent)
    edited = with_counts(text, {"cp": 3, "worker": 1}, "c")
    data = yaml.safe_load(BLOCK)
    data["spec"]["machines"]["pools"][0] = {"name": "cp", "count": 3, "roles": ["control-plane", "etcd"]}
    data["spec"]["machines"]["pools"][1]["count"] = 1
    assert edited == json.dumps(data, indent=indent)


def test_line_ends_and_byte_order_mark_stay() -> None:
    text = "\ufeff" + BLOCK.replace("\n", "\r\n")
    edited = with_counts(text, {"cp": 3, "worker": 5, "huge": 2}, "c")
    assert edited == "\ufeff" + with_counts(BLOCK, {"cp": 3, "worker": 5, "huge": 2}, "c").replace(
        "\n", "\r\n"
    )


def test_a_file_without_a_last_line_end() -> None:
    text = BLOCK.partition("      - {name: big")[0].rstrip("\n").replace("        count: 2    # was 3\n", "")
    assert with_counts(text, {"worker": 3}, "c") == f"{text}\n        count: 3"


def test_the_number_that_is_there_already_changes_nothing() -> None:
    assert with_counts(BLOCK, {"worker": 2, "cp": 1}, "c") == BLOCK


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_can_be_scaled(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cluster = load(text, path.name)
    if cluster.spec.machines.provider.machines is not None:
        with pytest.raises(UsageError, match="listed by hand") as caught:
            with_counts(text, {cluster.spec.machines.pools[0].name: 3}, path.name)
        assert "add or remove hosts" in str(caught.value.remedy)
        return
    name = cluster.spec.machines.pools[-1].name
    edited = with_counts(text, {name: 4}, path.name)
    assert load(edited, path.name).spec.machines.pools[-1].count == 4
    lines = set(edited.splitlines()) - set(text.splitlines())
    assert [line.partition(":")[0].strip() for line in lines] == ["count"]


def test_pools_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="demo has no pool 'wroker'") as caught:
        with_counts(BLOCK, {"wroker": 3}, "c")
    assert caught.value.remedy == "did you mean 'worker'?"


@pytest.mark.parametrize(
    ("pool", "count", "code"), [("cp", 0, "SPEC-023"), ("cp", 9, "SPEC-024"), ("big", 1001, "SPEC-007")]
)
def test_the_object_after_the_edit_is_checked(pool: str, count: int, code: str) -> None:
    with pytest.raises(SpecError, match=code):
        with_counts(BLOCK, {pool: count}, "c")


def test_a_text_that_is_no_object_is_refused_with_its_problems() -> None:
    with pytest.raises(SpecError, match="unknown key 'extra'"):
        with_counts(BLOCK + "extra: 1\n", {"cp": 3}, "c")


def test_a_layout_that_cannot_be_edited_is_left_alone() -> None:
    text = BLOCK.replace("      - name: cp ", '      - name: "c\\\n          p" ')
    assert load(text, "c").spec.machines.pools[0].name == "cp"
    with pytest.raises(UsageError, match="too unusual") as caught:
        with_counts(text, {"cp": 3}, "c")
    assert "by hand" in str(caught.value.remedy)


COMMENT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\ufeff"), max_size=12
)


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Objects with pools in every style, and comments wherever they may be."""
    text = render(Answers(name="demo")).partition("    pools:")[0] + "    pools:\n"
    names = ["cp", *draw(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, max_size=4))]
    names = list(dict.fromkeys(names))
    for name in names:
        roles = "control-plane, etcd, worker" if name == "cp" else "worker"
        given = draw(st.none() | st.integers(0, 5))
        entries = [("name", name), ("roles", f"[{roles}]")]
        entries += [("count", str(given))] if given is not None and name != "cp" else []
        entries += [("cpus", "2.5")] if draw(st.booleans()) else []
        entries = draw(st.permutations(entries))
        quote = '"' if draw(st.booleans()) else ""
        comment = f"  # {draw(COMMENT)}"
        if draw(st.booleans()):
            inner = ", ".join(f"{quote}{key}{quote}: {value}" for key, value in entries)
            text += f"      - {{{inner}}}{comment}\n"
        else:
            lines = "\n        ".join(f"{quote}{key}{quote}: {value}{comment}" for key, value in entries)
            text += f"      - {lines}\n"
    return text, names


@given(objects(), st.data())
@settings(deadline=None, max_examples=60)
def test_exactly_that_count_and_nothing_else(made: tuple[str, list[str]], data: st.DataObject) -> None:
    text, names = made
    before = yaml.safe_load(text)
    counts: dict[str, int] = data.draw(st.dictionaries(st.sampled_from(names), st.integers(1, 7)))
    edited = with_counts(text, counts, "c")
    expected: list[dict[str, Any]] = before["spec"]["machines"]["pools"]
    for pool in expected:
        if counts.get(pool["name"], pool.get("count", 1)) != pool.get("count", 1):
            pool["count"] = counts[pool["name"]]
    assert yaml.safe_load(edited) == before
    assert comments(edited) == comments(text)
    assert with_counts(edited, counts, "c") == edited


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("written", ['"1.36.3"', "'1.36.3'", "1.36.3"])
def test_the_version_changes_where_it_stands(written: str) -> None:
    """A version that stands without quotes is text too, with two dots; it gets quotes then."""
    text = BLOCK.replace('"1.36.3"', written)
    after = {"'": "'1.36.1'"}.get(written[0], '"1.36.1"')
    assert with_version(text, "1.36.1", "c") == text.replace(f"version: {written}", f"version: {after}")


def test_a_version_in_flow_style_and_in_json() -> None:
    document = json.dumps(yaml.safe_load(BLOCK))
    assert json.loads(with_version(document, "1.35.4", "c"))["spec"]["kubernetes"]["version"] == "1.35.4"
    flow = BLOCK.replace('kubernetes:\n    version: "1.36.3"', 'kubernetes: {version: "1.36.3"} # here')
    assert 'kubernetes: {version: "1.35.4"} # here' in with_version(flow, "1.35.4", "c")


def test_a_version_that_is_not_offered_is_refused() -> None:
    with pytest.raises(SpecError, match="not offered"):
        with_version(BLOCK, "1.99.0", "c")
    with pytest.raises(UsageError, match="three numbers"):
        with_version(BLOCK, '1.36.1", x: "', "c")
