"""pydantic's errors in our own words, each with the path it belongs to. Called by `load.py`.

The words come from the JSON Schema of the model: keys that exist, choices, bounds, examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from anykube.spec import patterns
from anykube.spec.problem import Finding, Path, dotted, escaped, nearest, shown
from anykube.spec.schema import json_schema
from anykube.spec.tree import Scalar, Sequence, Tree

Schema = Mapping[str, Any]

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "tuple_type": "a list (- item)",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
}


def explain(error: ErrorDetails, tree: Tree) -> Finding | None:
    """One error of pydantic as a finding; None for one that only repeats another."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    key = "[key]" in error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return _missing_key(path)
    if kind in _KINDS:
        return _wrong_kind(path, _KINDS[kind], error, at(tree, path))
    if kind == "too_long":
        limit = error["ctx"]["max_length"]
        return Finding(path, "SPEC-007", f"{dotted(path)}: must hold at most {limit} items")
    if kind == "too_short":
        return _too_few(path, at(tree, path))
    name = f"{dotted(path[:-1])}: a key" if key else f"{dotted(path)}:"
    return Finding(path, *_wrong_value(name, error, path), key=key)


def _unknown_key(path: Path) -> Finding:
    key = str(path[-1])
    known = list(schema_at(path[:-1]).get("properties", {}))
    return Finding(path, "SPEC-003", f"unknown key {shown(key)}", nearest(key, known), key=True)


def _missing_key(path: Path) -> Finding:
    key = str(path[-1])
    where = dotted(path[:-1]) or "the object"
    example = example_of(path)
    hint = f"for example {key}: {example}" if example else ""
    return Finding(path[:-1], "SPEC-005", f"{where} needs the key '{key}'", hint, key=True)


def _wrong_kind(path: Path, wanted: str, error: ErrorDetails, node: Tree | None) -> Finding:
    name = dotted(path)
    if isinstance(node, Scalar):
        if node.value is None:
            return Finding(path, "SPEC-006", f"{name}: is empty, must be {wanted}", _filling(path))
        if wanted == "text":
            return Finding(path, "SPEC-012", f"{name}: {quoting(node)}", _form_too(path, node.text))
        what = f"the text {shown(node.text)}" if isinstance(node.value, str) else shown(node.value)
        hint = "remove the quotes" if node.quoted and _would_be(wanted, node.text) else ""
        return Finding(path, "SPEC-006", f"{name}: must be {wanted}, not {what}", hint)
    what = "a list" if isinstance(node, Sequence) else "a mapping"
    return Finding(path, "SPEC-006", f"{name}: must be {wanted}, not {what}")


def quoting(node: Scalar) -> str:
    """Why a scalar must be quoted: what YAML makes of it."""
    text = escaped(node.text)
    if node.trap:
        return f'must be quoted: "{text}" (some YAML readers take {text} for {node.trap})'
    meaning = shown(node.value)
    return f'must be quoted: "{text}" (YAML reads {text} as {"a number" if meaning == text else meaning})'


def _form_too(path: Path, text: str) -> str:
    """What else is wrong with a text that lacks its quotes."""
    schema = schema_at(path)
    pattern = schema.get("pattern", "")
    if len(text) <= schema.get("maxLength", 0) and re.search(pattern, text):
        return ""
    return f"and it must be {patterns.WORDS[pattern]}" if pattern in patterns.WORDS else ""


def _filling(path: Path) -> str:
    """What to write for a key that was left empty."""
    if path and path[-1] in schema_at(path[:-1]).get("required", []):
        example = example_of(path)
        return f"for example {path[-1]}: {example}" if example else ""
    return "leave the key out for the default"


def _would_be(wanted: str, text: str) -> bool:
    if wanted == "true or false":
        return text in ("true", "false")
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _too_few(path: Path, node: Tree | None) -> Finding | None:
    if isinstance(node, Sequence) and node.items:
        return None
    return Finding(path, "SPEC-007", f"{dotted(path)}: must hold at least one item")


def _wrong_value(name: str, error: ErrorDetails, path: Path) -> tuple[str, str, str]:
    """Code, message and hint for a value of the right kind that is not allowed."""
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        words = patterns.WORDS.get(limits["pattern"], "of another form")
        return "SPEC-008", f"{name} must be {words}, not {shown(value)}", ""
    if kind == "string_too_long":
        return "SPEC-007", f"{name} {shown(value)} is longer than {limits['max_length']} characters", ""
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return "SPEC-007", f"{name} must be {words} {limits[limit]:g}, not {shown(value)}", ""
    if kind in ("enum", "literal_error"):
        choices = choices_at(path)
        hint = nearest(value, choices) if isinstance(value, str) and len(choices) > 1 else ""
        wanted = f"one of {', '.join(choices)}" if len(choices) > 1 else f"'{choices[0]}'"
        return "SPEC-008", f"{name} must be {wanted}, not {shown(value)}", hint if "did" in hint else ""
    return "SPEC-006", f"{name} {escaped(error['msg'], 200)}", ""


def at(tree: Tree, path: Path) -> Tree | None:
    """The part of the tree that a path names, None when the text has none."""
    node: Tree | None = tree
    for part in path:
        if isinstance(part, int):
            node = node.items[part] if isinstance(node, Sequence) and part < len(node.items) else None
        else:
            node = None if isinstance(node, Scalar | Sequence | None) else node.entries.get(part)
    return node


def schema_at(path: Path) -> Schema:
    """The part of the schema that describes the value at a path; empty when there is none."""
    schema: Schema = json_schema()
    for part in path:
        inner = _resolved(schema)
        if isinstance(part, int):
            schema = inner.get("items", {})
        else:
            schema = inner.get("properties", {}).get(part, {})
    return {**_resolved(schema), **{key: schema[key] for key in ("description", "examples") if key in schema}}


def choices_at(path: Path) -> list[str]:
    """The values that a field of choices accepts."""
    schema = schema_at(path)
    return [str(choice) for choice in schema.get("enum", [schema.get("const")])]


def example_of(path: Path) -> str:
    """An example of the value at a path, as YAML on one line; '' when the schema has none."""
    schema = schema_at(path)
    if "examples" in schema:
        return _flow(schema["examples"][0])
    needed = {key: example_of((*path, key)) for key in schema.get("required", [])}
    if not needed or not all(needed.values()):
        return ""
    return f"{{{', '.join(f'{key}: {example}' for key, example in needed.items())}}}"


def _flow(example: Any) -> str:
    if isinstance(example, list):
        return f"[{', '.join(_flow(item) for item in example)}]"
    if isinstance(example, dict):
        return f"{{{', '.join(f'{key}: {_flow(value)}' for key, value in example.items())}}}"
    if isinstance(example, int):
        return str(example)
    return f'"{example}"' if str(example)[:1].isdigit() and "/" not in example else example


def _resolved(schema: Schema) -> Schema:
    """Follow references and take the branch of an optional field that is not null."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = json_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        else:
            schema = next(branch for branch in schema["anyOf"] if branch.get("type") != "null")
    return schema
