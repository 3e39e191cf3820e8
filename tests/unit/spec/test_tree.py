"""YAML and JSON as text: what is refused outright, where, and how long hostile text may take."""

from __future__ import annotations

import time

import pytest
import yaml

from anykube.spec.load import parse
from anykube.spec.tree import MAX_TEXT, Scalar, plain, read_tree, resolve

SECOND = 1.0

YAML_1_1 = [
    "no",
    "off",
    "yes",
    "on",
    "010",
    "0x1f",
    "0b11",
    "1_000",
    "12:30",
    ".nan",
    ".inf",
    "2026-01-02",
    "<<",
    "=",
]
TRAPS = [*YAML_1_1, "NO", "On", "0o10", "1:2:3.5", ".NaN", "-.INF", "1e999"]


def told(text: str) -> list[str]:
    """Problems of the text itself, without those of a shape that is not an object."""
    return [f"{p.line}:{p.column} {p.code}" for p in read_tree(text, "c").problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1 SPEC-011"]),
        ("# only a comment\n", ["1:1 SPEC-011"]),
        ("a: b: c", ["1:5 SPEC-002"]),
        ("a:\n\tb: 1", ["2:1 SPEC-002"]),
        ("a: [1", ["1:6 SPEC-002"]),
        ('a: "x', ["1:6 SPEC-002"]),
        ("a: &x 1\nb: *x", ["1:4 SPEC-009", "2:4 SPEC-009"]),
        ("*x", ["1:1 SPEC-009"]),
        ("a: !!python/object:os.system x", ["1:4 SPEC-009"]),
        ("a: !!str 1.30", ["1:4 SPEC-009"]),
        ("!x {a: 1}", ["1:1 SPEC-009"]),
        ("a: 1\n---\nb: 2", ["2:1 SPEC-002"]),
        ("%YAML 9.1\n---\n", ["1:1 SPEC-002"]),
        ("? [a]\n: b", ["1:3 SPEC-010"]),
        ("1: b", ["1:1 SPEC-010"]),
        ("true: b", ["1:1 SPEC-010"]),
        ("on: b", ["1:1 SPEC-010"]),
        ("<<: {a: 1}", ["1:1 SPEC-010"]),
        ("a: 1\nb: 2\na: 3", ["3:1 SPEC-004"]),
        ('a: 1\n"a": 3', ["2:1 SPEC-004"]),
        ('{"a": 1,\n "a": 2}', ["2:2 SPEC-004"]),
        ("a\x00: 1", ["1:2 SPEC-002"]),
        ("x: 1\na: \x1b[31m", ["2:4 SPEC-002"]),
        ("a: \ud800", ["1:4 SPEC-002"]),
        ('{"a": "\\ud83d\\ude00"}', ["1:10 SPEC-002"]),
        ("\ufeffa: 1", []),
        ('{"a":\t[1, {"b": "c"}]}', []),
    ],
)
def test_what_is_not_one_plain_document(text: str, expected: list[str]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize("text", ["---\n", "[1]", "hello", "null", "- a\n- b"])
def test_what_is_not_an_object(text: str) -> None:
    cluster, problems = parse(text, "c")
    assert cluster is None
    assert [p.code for p in problems] == ["SPEC-011"]


def test_the_first_of_two_equal_keys_is_named() -> None:
    assert "the first is at 1:1" in str(read_tree("abc: 1\nabc: 2", "c").problems[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("1.30", 1.3),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.36.3", "1.36.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("y", "y"),
        ("9" * 31, "9" * 31),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    read, trap = resolve(text)
    assert (read, type(read), trap) == (value, type(value), "")


@pytest.mark.parametrize("text", TRAPS)
def test_scalars_that_readers_do_not_agree_on_stay_text(text: str) -> None:
    value, trap = resolve(text)
    assert value == text
    assert trap


@pytest.mark.parametrize("text", [*YAML_1_1, "1.5", "7", "true"])
def test_everything_that_yaml_1_1_does_not_take_for_text_is_known(text: str) -> None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    assert node.tag != "tag:yaml.org,2002:str"
    value, trap = resolve(text)
    assert trap or not isinstance(value, str)


def test_source_text_and_place_of_a_scalar() -> None:
    tree = read_tree("a:\n  b: 1.30", "c").tree
    assert tree is not None
    assert plain(tree) == {"a": {"b": 1.3}}
    scalar = tree.entries["a"].entries["b"]  # type: ignore[union-attr]
    assert isinstance(scalar, Scalar)
    assert (scalar.text, scalar.place, scalar.quoted) == ("1.30", (2, 6), False)


def _laughs() -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


BOMBS = {
    "billion laughs": _laughs(),
    "deep lists": "[" * (MAX_TEXT - 1),
    "deep mappings": "{a: " * 200_000,
    "deep indentation": "".join(f"{' ' * depth}a:\n" for depth in range(1400)),
    "deep dashes": "- " * 500_000,
    "question marks": "? " * 500_000,
    "many values": f"[{'[],' * 300_000}]",
    "many keys": "".join(f"k{number}: 1\n" for number in range(90_000)),
    "one key many times": "k: 1\n" * 200_000,
    "many anchors": "&a " * 300_000,
    "many tags": f"[{'!!str a,' * 120_000}]",
    "many documents": "--- a\n" * 150_000,
    "one long number": "a: " + "1" * 1_000_000,
    "one long quoted text": '"' + "\\x41" * 250_000 + '"',
    "one long key": '"' + "k" * 1_000_000 + '": 1',
    "many lines": "a:\n" + " b\n" * 300_000,
    "only NUL": "\0" * MAX_TEXT,
    "too large": "a" * (MAX_TEXT + 1),
    "far too large": "a: 1\n" * 20_000_000,
    "empty lines": "\n" * MAX_TEXT,
    "traps": f"a: [{'0x1_,' * 35_000}]",
    "bad directives": "%FOO\n" * 100_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_text_is_refused_within_a_second(name: str) -> None:
    start = time.process_time()
    cluster, problems = parse(BOMBS[name], "c")
    assert time.process_time() - start < SECOND
    assert cluster is None
    assert problems
    assert sum(len(str(problem)) for problem in problems) < 50_000


HEAD = """\
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {name: a}
spec:
  kubernetes: {version: "1.36.3"}
"""
LXC = f"{HEAD}  machines:\n    provider: {{lxc: {{}}}}\n    pools:\n"

HUGE = {
    "pools that are empty": LXC + "    - {}\n" * 30_000,
    "pools of a thousand": LXC
    + "".join(f"    - {{name: p{n}, roles: [worker], count: 1000}}\n" for n in range(100)),
    "labels that are traps": LXC
    + "    - name: a\n      roles: [worker]\n      labels:\n"
    + "".join(f"        k{n}: no\n" for n in range(19_000)),
    "labels that are wrong": LXC
    + "    - name: a\n      roles: [worker]\n      labels:\n"
    + "".join(f'        "k {n}": 1\n' for n in range(19_000)),
    "hosts without pools": HEAD
    + "  machines:\n    provider:\n      machines:\n        key: /k\n        hosts:\n"
    + "".join(
        f'        - {{name: h{n}, address: h{n}, pool: p{n}, hostKey: "ssh-ed25519 AAAA"}}\n'
        for n in range(2000)
    )
    + "    pools:\n"
    + "".join(f"    - {{name: qqp{n}, roles: [worker]}}\n" for n in range(100)),
}


@pytest.mark.parametrize("name", HUGE)
def test_large_objects_with_a_mistake_everywhere_are_refused_within_a_second(name: str) -> None:
    start = time.process_time()
    cluster, problems = parse(HUGE[name], "c")
    assert time.process_time() - start < SECOND
    assert cluster is None
    assert 0 < len(problems) <= 101
