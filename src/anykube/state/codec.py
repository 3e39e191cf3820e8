"""Frozen dataclasses to JSON values and back, equal to what they were, and strict.

Every dataclass carries its class name under 'type', so that unions come back as the right class. The type
hints are the schema: what they do not allow is refused, in both directions.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

ValueT = TypeVar("ValueT")
TAG = "type"
_SCALARS: tuple[type, ...] = (str, int, bool, type(None))


class CodecError(ValueError):
    """A value does not have the form that its type demands. Callers name the file."""


def encode(value: Any) -> Any:
    """The JSON form of a frozen dataclass and all that it holds."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        return {TAG: type(value).__name__, **content}
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise CodecError("A key of a mapping is not text.")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if type(value) in _SCALARS or (type(value) is float and math.isfinite(value)):
        return value
    raise CodecError(f"A {type(value).__name__} cannot be written as JSON.")


def decode(hint: type[ValueT], data: Any) -> ValueT:
    """The dataclass `hint` from its JSON form."""
    return cast(ValueT, _decode(hint, data, hint.__name__))


def _decode(hint: Any, data: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _decode_dataclass(cast(type, hint), data, where)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(hint), data, where)
    if origin is Literal:
        return _decode_literal(get_args(hint), data, where)
    if origin is tuple:
        return _decode_tuple(get_args(hint), data, where)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(get_args(hint)[1], data, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_enum(hint, data, where)
    if hint is Any:
        return data
    if hint is float and type(data) is int:
        return data
    if type(data) is not hint:
        raise _refused(where, hint, data)
    return data


def _decode_dataclass(hint: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping) or data.get(TAG) != hint.__name__:
        raise _refused(where, hint, data)
    hints = _field_hints(hint)
    # Written by an earlier anykube it lacks fields that came later: those have defaults.
    odd = {str(key)[:40] for key in data.keys() - {TAG, *hints}} | (_required(hint) - data.keys())
    if odd:
        raise CodecError(f"{where}: missing or unknown fields: {', '.join(sorted(odd))}.")
    found = {name: kind for name, kind in hints.items() if name in data}
    return hint(**{name: _decode(kind, data[name], f"{where}.{name}") for name, kind in found.items()})


def _decode_union(members: tuple[Any, ...], data: Any, where: str) -> Any:
    if isinstance(data, Mapping):
        matching = [member for member in members if getattr(member, "__name__", "") == data.get(TAG)]
    else:
        matching = [member for member in members if member is type(data)]
    if len(matching) != 1:
        raise _refused(
            where, " or ".join(getattr(member, "__name__", str(member)) for member in members), data
        )
    return data if data is None else _decode(matching[0], data, where)


def _decode_tuple(members: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _refused(where, "a list", data)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(data)
    if len(members) != len(data):
        raise _refused(where, f"{len(members)} items", data)
    pairs = zip(members, data, strict=True)
    return tuple(_decode(member, item, f"{where}[{index}]") for index, (member, item) in enumerate(pairs))


def _decode_mapping(member: Any, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise _refused(where, "a mapping", data)
    return {key: _decode(member, item, f"{where}.{key[:40]}") for key, item in data.items()}


def _decode_literal(members: tuple[Any, ...], data: Any, where: str) -> Any:
    if not any(data == member and type(data) is type(member) for member in members):
        raise _refused(where, f"one of {members}", data)
    return data


def _decode_enum(hint: type[Enum], data: Any, where: str) -> Enum:
    try:
        return hint(data)
    except ValueError as error:
        raise _refused(where, hint, data) from error


@cache
def _field_hints(hint: type) -> dict[str, Any]:
    hints = get_type_hints(hint)
    if TAG in hints:
        raise CodecError(f"{hint.__name__} has a field of its own that is called {TAG!r}.")
    return {field.name: hints[field.name] for field in fields(hint)}


@cache
def _required(hint: type) -> frozenset[str]:
    """Names of the fields without a default."""
    return frozenset(
        field.name for field in fields(hint) if field.default is MISSING and field.default_factory is MISSING
    )


def _refused(where: str, wanted: Any, data: Any) -> CodecError:
    name = wanted if isinstance(wanted, str) else getattr(wanted, "__name__", str(wanted))
    return CodecError(f"{where}: expected {name}, found {str(data)[:60]!r}.")
