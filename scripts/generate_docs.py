"""Writes the two references that are made from the code: docs/commands.md and docs/cluster-object.md.

    .venv/bin/python scripts/generate_docs.py

A test (tests/unit/docs/test_generated.py) says when they are not current.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main

from anykube.cli.main import app, run
from anykube.spec.patterns import WORDS
from anykube.spec.schema import json_schema
from anykube.spec.template import Answers, render

DOCS = Path(__file__).resolve().parent.parent / "docs"
Schema = Mapping[str, Any]

COMMANDS_HEAD = """# Commands

Made from the program's own help by `scripts/generate_docs.py`; do not edit.

Data goes to standard output, messages and progress to standard error. What changes something asks first
on a terminal; `--yes` answers. `NO_COLOR` turns colours off, `ANYKUBE_STATE_DIR` and `ANYKUBE_CACHE_DIR`
choose where anykube keeps things. Exit statuses: [troubleshooting](troubleshooting.md#exit-statuses).
"""

OBJECT_HEAD = """# The cluster object

Made from `src/anykube/spec/` by `scripts/generate_docs.py`; do not edit. The same as JSON Schema, for
editors: [schema/v1alpha1.json](../schema/v1alpha1.json).

YAML or JSON, one object in a file of at most 1 MiB. Unknown keys, duplicate keys, anchors and tags are
refused; text that YAML would read as something else must be quoted. `anykube validate` tells every problem
at once. This is what `anykube init --yes` writes:

```yaml
{example}```
"""

CHANGES = """## What may change on a cluster that exists

Edit, look with `anykube plan`, do it with `anykube apply`. The plan says what it costs. What may not change:
{fixed}, and the provider; anykube refuses with PLAN-001 and says what would break.
"""

CODES = "Problems and their codes: [errors](errors.md#what-is-wrong-with-a-cluster-object).\n"


def commands() -> str:
    """docs/commands.md."""
    os.environ["COLUMNS"] = "100"
    group: Any = typer.main.get_command(app)
    sections = [COMMANDS_HEAD, _help([])]
    for name, command in group.commands.items():
        sections.append(f"## {name}\n\n{_help([name])}")
        sections += [_help([name, part]) for part in getattr(command, "commands", {})]
    return "\n".join(sections)


def _help(arguments: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        run([*arguments, "--help"])
    return f"```\n{output.getvalue().strip()}\n```\n"


def cluster_object() -> str:
    """docs/cluster-object.md."""
    whole = json_schema()
    sections = [OBJECT_HEAD.format(example=render(Answers()))]
    for path, part in _parts("", whole, whole["$defs"]):
        table = "\n".join(_rows(part, whole["$defs"]))
        about = part.get("description", "").replace("\n", " ")
        if table:
            title = f"`{path}`" if path else "Top"
            sections.append(
                f"## {title}\n\n{about}\n\n| key | value | default | meaning |\n"
                f"| --- | --- | --- | --- |\n{table}\n"
            )
    return "\n".join([*sections, CHANGES.format(fixed=_fixed()), CODES])


def _parts(path: str, part: Schema, defs: Schema) -> Iterator[tuple[str, Schema]]:
    """Every object of the schema with its path, in the order of the schema."""
    yield path, part
    for key, value in part.get("properties", {}).items():
        below = f"{path}.{key}".removeprefix(".")
        target, listed = _target(value, defs)
        if target is not None and "properties" in target:
            yield from _parts(f"{below}[]" if listed else below, target, defs)


def _target(value: Schema, defs: Schema) -> tuple[Schema | None, bool]:
    """The part that a key leads to, and whether as a list of them."""
    if "$ref" in value:
        return defs[value["$ref"].rpartition("/")[2]], False
    if "items" in value:
        return _target(value["items"], defs)[0], True
    for choice in value.get("anyOf", ()):
        if "$ref" in choice:
            return _target(choice, defs)
    return None, False


def _rows(part: Schema, defs: Schema) -> Iterator[str]:
    required = part.get("required", ())
    for key, value in part.get("properties", {}).items():
        default = "**required**" if key in required else _default(value)
        meaning = value.get("description", "").replace("\n", " ")
        target, _ = _target(value, defs)
        if not meaning and target is not None:
            meaning = target.get("description", "").replace("\n", " ")
        yield f"| `{key}` | {_kind(value, defs)} | {default} | {meaning} |".replace("  |", " |")


def _default(value: Schema) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    if default is None:
        return "absent"
    if isinstance(default, dict | list) and not default:
        return "none"
    if isinstance(default, dict):
        return "as below"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"


def _kind(value: Schema, defs: Schema) -> str:
    """What a key takes, in words."""
    target, listed = _target(value, defs)
    if target is not None and "enum" in target:
        words = _choices(target["enum"])
        return f"list of {words}" if listed else words
    if target is not None:
        nullable = any(choice.get("type") == "null" for choice in value.get("anyOf", ()))
        return "list, below" if listed else "object or `null`" if nullable else "object"
    for choice in value.get("anyOf", ()):
        if choice.get("type") != "null":
            return _kind(choice, defs)
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return _choices(value["enum"])
    if value.get("type") == "string":
        return _text(value)
    if value.get("type") in ("integer", "number"):
        return _number(value)
    return {"boolean": "`true` or `false`", "object": "map of text"}.get(value.get("type", ""), "")


def _choices(values: list[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _text(value: Schema) -> str:
    words = WORDS.get(value.get("pattern", ""), "text")
    limit = f"; at most {value['maxLength']}" if "maxLength" in value else ""
    return words + limit


def _number(value: Schema) -> str:
    kind = "whole number" if value["type"] == "integer" else "number"
    low = value.get("minimum")
    bound = f"more than {value['exclusiveMinimum']}" if low is None else f"{low}"
    return (
        f"{kind}, {bound} to {value['maximum']}"
        if low is not None
        else (f"{kind}, {bound}, at most {value['maximum']}")
    )


def _fixed() -> str:
    from anykube.plan.rules import FIXED

    return ", ".join(f"`{path}`" for path in FIXED)


GENERATED = {"commands.md": commands, "cluster-object.md": cluster_object}

if __name__ == "__main__":
    for name, make in GENERATED.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
