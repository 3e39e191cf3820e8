"""Which fields of an API object differ from what an apply would make of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

VOLATILE = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"})
"""Metadata that belongs to the API server."""
LIMIT = 50
KEYS = ("name", "type", "key", "port")
"""Fields that name an item of a list, so that it is shown by its name and not by its place."""


def differences(live: Mapping[str, Any], applied: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths such as 'spec.template.spec.containers[coredns].image', sorted, at most fifty."""
    return tuple(islice(_mapping("", _comparable(live), _comparable(applied)), LIMIT))


def _comparable(thing: Mapping[str, Any]) -> dict[str, Any]:
    # `status` is what controllers see, not what we want; an apply does not touch it.
    kept = {key: value for key, value in thing.items() if key not in ("apiVersion", "kind", "status")}
    kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in VOLATILE}
    return kept


def _compare(path: str, left: Any, right: Any) -> Iterator[str]:
    if left == right:
        return
    if isinstance(left, dict) and isinstance(right, dict):
        yield from _mapping(path, left, right)
    elif isinstance(left, list) and isinstance(right, list):
        yield from _list(path, left, right)
    else:
        yield path


def _mapping(path: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(left.keys() | right.keys()):
        yield from _compare(_joined(path, key), left.get(key), right.get(key))


def _list(path: str, left: Sequence[Any], right: Sequence[Any]) -> Iterator[str]:
    key = next((key for key in KEYS if _names(left, key) and _names(right, key)), None)
    if key is None:
        yield path
        return
    ours, theirs = ({str(item[key]): item for item in items} for items in (left, right))
    before = list(islice(_keyed(path, ours, theirs), LIMIT))
    # Every item is the same: then it is their order that differs.
    yield from before or [path]


def _keyed(path: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(left.keys() | right.keys()):
        yield from _compare(f"{path}[{name}]", left.get(name), right.get(name))


def _names(items: Sequence[Any], key: str) -> bool:
    """Whether this field tells all items apart."""
    names = [item.get(key) if isinstance(item, dict) else None for item in items]
    return None not in names and len(set(map(str, names))) == len(names)


def _joined(path: str, key: str) -> str:
    # Label and annotation keys hold dots and slashes.
    if not key.replace("_", "").replace("-", "").isalnum():
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
