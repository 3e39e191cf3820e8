"""Edits of an object's text in place: other lines, comments and layout stay as their writer left them. Pure.

Called by `anykube scale` and `anykube upgrade`. The new text goes through `load.py` like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from anykube.errors import UsageError
from anykube.spec import patterns
from anykube.spec.load import load
from anykube.spec.problem import nearest, shown
from anykube.spec.tree import Place, Scalar, Sequence, Table, Tree, plain, read_tree

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Line breaks as YAML counts them."""
DOUBLE = '"'
MARK = "\ufeff"
"""A byte order mark is not part of the text that is parsed."""


def with_counts(text: str, counts: Mapping[str, int], source: str) -> str:
    """The text with `count` of each named pool changed, and nothing else.

    SpecError if the text is no good object, before or after. UsageError if a pool is not there, if its
    machines are listed by hand, or if the layout is too unusual to be edited.
    """
    cluster = load(text, source)
    names = [pool.name for pool in cluster.spec.machines.pools]
    for name in counts:
        if name not in names:
            brief = f"{cluster.name} has no pool {shown(name)}."
            raise UsageError(brief, remedy=nearest(name, names))
    if cluster.spec.machines.provider.machines is not None:
        brief = f"The machines of {cluster.name} are listed by hand; a number alone does not say which."
        raise UsageError(brief, remedy=f"add or remove hosts in {source}, then: anykube apply")
    now = {pool.name: pool.count for pool in cluster.spec.machines.pools}
    changes = {name: count for name, count in counts.items() if count != now[name]}
    edited = text
    for name, count in changes.items():
        edited = _edited(edited, names.index(name), count)
    if _data(edited) != _expected(text, {names.index(name): count for name, count in changes.items()}):
        brief = f"The layout of {source} is too unusual to be edited by a program."
        raise UsageError(brief, remedy="change count by hand, then: anykube apply")
    load(edited, source)
    return edited


def with_version(text: str, version: str, source: str) -> str:
    """The text with another Kubernetes version, and nothing else. SpecError as `with_counts`, also for a
    version that is not offered."""
    if not re.fullmatch(patterns.VERSION, version):
        raise UsageError(f"{shown(version)} is not {patterns.WORDS[patterns.VERSION]}.")
    load(text, source)
    found = _table(_tree(text), "spec", "kubernetes").entries["version"]
    assert isinstance(found, Scalar)  # noqa: S101  the text was loaded
    start = _offset(text, found.place)
    # As it stands there, with its quotes; what is no plain text was refused when it was loaded.
    written = text[start : start + len(found.text) + 2]
    quote = written[0] if written[0] in "\"'" else ""
    end = start + len(found.text) + 2 * len(quote)
    edited = f"{text[:start]}{quote or DOUBLE}{version}{quote or DOUBLE}{text[end:]}"
    wanted = deepcopy(_data(text))
    wanted["spec"]["kubernetes"]["version"] = version
    if _data(edited) != wanted:
        brief = f"The layout of {source} is too unusual to be edited by a program."
        raise UsageError(brief, remedy="change kubernetes.version by hand, then: anykube apply")
    load(edited, source)
    return edited


def _table(tree: Tree, *keys: str) -> Table:
    for key in keys:
        assert isinstance(tree, Table)  # noqa: S101  the text was loaded
        tree = tree.entries[key]
    assert isinstance(tree, Table)  # noqa: S101  the text was loaded
    return tree


def _edited(text: str, index: int, count: int) -> str:
    pool = _pools(_tree(text)).items[index]
    assert isinstance(pool, Table)  # noqa: S101  the text was loaded
    found = pool.entries.get("count")
    if isinstance(found, Scalar):
        start = _offset(text, found.place)
        return f"{text[:start]}{count}{text[start + len(found.text) :]}"
    if text[_offset(text, pool.place)] == "{":
        return _into_flow(text, pool, count)
    return _into_block(text, pool, count)


def _into_flow(text: str, pool: Table, count: int) -> str:
    """{name: worker, roles: [worker]} gets its count before the first key that is not the name."""
    start = _offset(text, next(place for key, place in pool.keys.items() if key != "name"))
    key = '"count"' if text[start] == '"' else "count"
    before = _line_before(text, start)
    # A key on a line of its own gets a line of its own before it.
    gap = _break_before(text, start) + before if before.isspace() else " "
    return f"{text[:start]}{key}: {count},{gap}{text[start:]}"


def _into_block(text: str, pool: Table, count: int) -> str:
    """A line after the one with the name, as far to the right as its key."""
    name = pool.entries["name"]
    indent = " " * (pool.keys["name"].column - 1)
    start = _offset(text, name.place)
    end = BREAK.search(text, start)
    if end is None:
        return f"{text}{_break_before(text, start)}{indent}count: {count}"
    return f"{text[: end.end()]}{indent}count: {count}{end.group()}{text[end.end() :]}"


def _tree(text: str) -> Tree:
    tree = read_tree(text, "").tree
    assert tree is not None  # noqa: S101  the text was loaded
    return tree


def _pools(tree: Tree) -> Sequence:
    found = _table(tree, "spec", "machines").entries["pools"]
    assert isinstance(found, Sequence)  # noqa: S101  the text was loaded
    return found


def _data(text: str) -> Any:
    reading = read_tree(text, "")
    return None if reading.tree is None or reading.problems else plain(reading.tree)


def _expected(text: str, counts: Mapping[int, int]) -> Any:
    data = deepcopy(_data(text))
    for index, count in counts.items():
        data["spec"]["machines"]["pools"][index]["count"] = count
    return data


def _offset(text: str, place: Place) -> int:
    """The index of a place that the parser told."""
    start = len(MARK) if text.startswith(MARK) else 0
    for _ in range(place.line - 1):
        found = BREAK.search(text, start)
        assert found is not None  # noqa: S101  the parser counted it
        start = found.end()
    return start + place.column - 1


def _line_before(text: str, index: int) -> str:
    """What stands before an index on its line."""
    start = max((found.end() for found in BREAK.finditer(text, 0, index)), default=0)
    return text[start:index]


def _break_before(text: str, index: int) -> str:
    """The kind of line break that this text has."""
    found = BREAK.search(text, 0, index)
    return found.group() if found else "\n"
