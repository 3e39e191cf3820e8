"""Hostile and random input in every field: a placed problem, or an unchanged and harmless value."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anykube.spec.load import parse
from anykube.spec.problem import Path, Problem
from anykube.spec.schema import json_schema

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGUta2V5LW9mLWNwLTEuLi4uLi4uLi4uLi4u"


def full_object(provider: str) -> dict[str, Any]:
    """An object in which every field is written out."""
    hosts = [
        {"name": "a", "address": "192.168.1.1", "port": 22, "user": "root", "hostKey": KEY, "pool": "cp"},
        {"name": "b", "address": "192.168.1.2", "port": 22, "user": "root", "hostKey": KEY, "pool": "worker"},
    ]
    providers = {
        "lxc": {"lxc": {"subnet": "10.81.0.0/24"}},
        "machines": {"machines": {"key": "/root/.ssh/id", "hosts": hosts}},
    }
    taint = {"key": "example.com/a", "value": "b", "effect": "NoSchedule"}
    size = {"count": 1, "cpus": 2, "memory": 2048, "labels": {"example.com/a": "b"}, "taints": [taint]}
    return {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "machines": {
                "provider": providers[provider],
                "pools": [
                    {"name": "cp", "roles": ["control-plane", "etcd"], **size},
                    {"name": "worker", "roles": ["worker"], **size},
                ],
            },
            "endpoint": {"kind": "single"},
            "network": {
                "pods": "10.244.0.0/16",
                "services": "10.96.0.0/16",
                "domain": "cluster.local",
                "cni": {"flannel": {"backend": "vxlan"}},
            },
            "runtime": {"containerd": {}},
            "artifacts": {"source": "mirror", "mirror": "https://mirror.example.com/a"},
            "security": {"encryptionAtRest": True, "audit": True},
            "addons": {"dns": {"replicas": 2}, "metrics": {}},
            "upgrade": {
                "maxUnavailable": "20%",
                "drainTimeout": 60,
                "window": {"days": ["Mon", "Sun"], "start": "22:00", "hours": 4},
            },
            "backup": {
                "recipients": ["age1" + "q" * 58],
                "every": "6h",
                "keep": 7,
                "to": {"folder": "/srv/backups"}
                if provider == "machines"
                else {
                    "s3": {
                        "bucket": "backups",
                        "prefix": "clusters/demo",
                        "endpoint": "https://s3.example.com",
                        "region": "eu-1",
                        "credentials": "/root/.aws/credentials",
                    }
                },
            },
        },
    }


def walk(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value with its path, containers too."""
    yield path, data
    if isinstance(data, dict):
        for key, value in data.items():
            yield from walk(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from walk(value, (*path, index))


def replaced(data: Any, path: Path, value: Any) -> Any:
    """A copy with another value at a path, or with a new key."""
    if not path:
        return value
    if isinstance(data, list):
        return [
            replaced(item, path[1:], value) if index == path[0] else item for index, item in enumerate(data)
        ]
    return {**data, path[0]: replaced(data.get(path[0]), path[1:], value)}


def without(data: Any, path: Path) -> Any:
    """A copy without the key at a path."""
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    return replaced(data, path[:-1], {key: value for key, value in parent.items() if key != path[-1]})


def as_yaml(data: Any) -> str:
    """Block style, with every value written out."""
    return yaml.dump(json.loads(json.dumps(data)), Dumper=yaml.CSafeDumper, allow_unicode=True)


def got(cluster: Any, path: Path) -> Any:
    """The value that the model has at a path."""
    data = json.loads(cluster.model_dump_json(by_alias=True))
    for step in path:
        data = data[step]
    return data


PROVIDERS = ("lxc", "machines")
OBJECTS = {provider: full_object(provider) for provider in PROVIDERS}


def tried(provider: str, path: Path) -> bool:
    """Each field once: of two alike items the second, of two objects the second only where it differs."""
    first = any(pair in (("pools", 0), ("hosts", 0)) for pair in pairwise(path))
    return not first and (provider == "lxc" or "provider" in path or "folder" in path)


STRING_FIELDS = [
    (provider, path)
    for provider, data in OBJECTS.items()
    for path, value in walk(data)
    if isinstance(value, str) and tried(provider, path)
]
MAPPINGS = [
    (provider, path)
    for provider, data in OBJECTS.items()
    for path, value in walk(data)
    if isinstance(value, dict) and tried(provider, path)
]

HOSTILE = (
    ";id",
    "$(id)",
    "`id`",
    "a b",
    "' \" \\",
    "line\nline",
    "demo\n",
    "nul\x00nul",
    "-oProxyCommand=id",
    "--flag",
    "../../etc/passwd",
    "/../../etc",
    "a" * 300,
    "a" * 5_000,
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\u202eabc",
    "/\u202eabc",
    "\u05d0\u05d1",
    "\u0430dmin",
    "\u0661.\u0662.\u0663",
    "{{ x }}",
    "${x}",
    "%s%n",
    "<script>",
    "UPPER",
    "under_score",
    "localhost",
    "\ud83d\ude00",
    "",
    " ",
    "~",
    "null",
    "&a",
    "*a",
    "!!str a",
)


def checked(text: str, path: Path, value: Any) -> list[Problem]:
    """The promise for one changed field."""
    start = time.process_time()
    cluster, problems = parse(text, "c")
    assert time.process_time() - start < 1
    if cluster is not None:
        assert got(cluster, path) == value
        assert not isinstance(value, str) or value.isprintable()
        return []
    assert problems
    lines = text.split("\n")
    for problem in problems:
        assert str(problem).isprintable(), problem
        assert len(str(problem)) < 500
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    return problems


def test_every_string_field_of_the_schema_is_tried() -> None:
    """A new field must be written into full_object, or it would go untested."""
    names = {path[-1] for _, path in STRING_FIELDS}
    for name, definition in json_schema()["$defs"].items():
        for key, schema in definition.get("properties", {}).items():
            branches = schema.get("anyOf", [schema])
            if any(branch.get("type") == "string" for branch in branches):
                assert key in names, f"{name}.{key}"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_full_object_is_good(provider: str) -> None:
    assert parse(json.dumps(OBJECTS[provider]), "c")[1] == []
    assert parse(as_yaml(OBJECTS[provider]), "c")[1] == []


@pytest.mark.parametrize(("provider", "path"), STRING_FIELDS, ids=str)
def test_hostile_text_in_every_field(provider: str, path: Path) -> None:
    for text in HOSTILE:
        changed = replaced(OBJECTS[provider], path, text)
        checked(json.dumps(changed, indent=1, ensure_ascii=False), path, text)
        checked(as_yaml(changed), path, text)


@pytest.mark.parametrize(("provider", "path"), MAPPINGS, ids=str)
def test_hostile_keys_everywhere(provider: str, path: Path) -> None:
    for key in HOSTILE:
        changed = replaced(OBJECTS[provider], (*path, key), "x")
        text = json.dumps(changed, indent=1, ensure_ascii=False)
        problems = checked(text, (*path, key), "x")
        codes = {problem.code for problem in problems}
        if not codes:
            assert path[-1] == "labels"
        assert codes <= {"SPEC-002", "SPEC-003", "SPEC-007", "SPEC-008", "SPEC-028"}


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 10**40, "x", "", [], {}, [[]], [None], {"a": 1}], ids=repr
)
def test_every_kind_of_value_in_every_place(value: Any) -> None:
    for provider in PROVIDERS:
        for path, _ in walk(OBJECTS[provider]):
            text = json.dumps(replaced(OBJECTS[provider], path, value), indent=1)
            cluster, problems = parse(text, "c")
            assert (cluster is None) == bool(problems)
            assert all(p.line >= 1 and p.column >= 1 and str(p).isprintable() for p in problems)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_missing_key(provider: str) -> None:
    for path, _ in walk(OBJECTS[provider]):
        if path and isinstance(path[-1], str):
            text = json.dumps(without(OBJECTS[provider], path), indent=1)
            cluster, problems = parse(text, "c")
            assert (cluster is None) == bool(problems)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_random_bytes(data: bytes) -> None:
    cluster, problems = parse(data.decode("utf-8", errors="surrogateescape"), "c")
    assert cluster is None
    assert problems
    assert all(str(problem).isprintable() for problem in problems)


YAML_LETTERS = st.sampled_from(
    [*"ab: -[]{}#&*!|>'\"%@`,?\n\t 0123.~", "apiVersion", "spec", "machines", "pools"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(YAML_LETTERS, max_size=60).map("".join))
def test_random_text_that_looks_like_yaml(text: str) -> None:
    cluster, problems = parse(text, "c")
    assert cluster is None
    assert problems
    assert all(str(problem).isprintable() for problem in problems)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STRING_FIELDS), st.text(max_size=80))
def test_random_text_in_any_field(field: tuple[str, Path], text: str) -> None:
    provider, path = field
    changed = replaced(OBJECTS[provider], path, text)
    checked(json.dumps(changed, indent=1, ensure_ascii=False), path, text)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from(PROVIDERS))
def test_truncated_and_cut_objects(seed: int, length: int, provider: str) -> None:
    text = as_yaml(OBJECTS[provider])
    start = seed % len(text)
    cluster, problems = parse(text[:start] + text[start + length :], "c")
    assert (cluster is None) == bool(problems)
