"""The published JSON Schema is the model's, and both say the same about the examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from anykube.objectfile import load_file
from anykube.spec import patterns
from anykube.spec.load import parse
from anykube.spec.schema import json_schema

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_published_schema_is_the_one_of_the_model() -> None:
    published = (ROOT / "schema" / "v1alpha1.json").read_text(encoding="utf-8")
    expected = json.dumps(json_schema(), indent=2) + "\n"
    assert published == expected, "write schema/v1alpha1.json anew from anykube.spec.schema.json_schema()"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def _properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    definitions = [("Cluster", schema), *schema["$defs"].items()]
    return [
        (f"{name}.{key}", field)
        for name, definition in definitions
        for key, field in definition.get("properties", {}).items()
    ]


def test_every_part_is_described() -> None:
    for name, definition in json_schema()["$defs"].items():
        assert definition.get("description"), name


def test_every_pattern_has_words_and_means_the_same_in_python() -> None:
    found = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(json_schema())))
    used = {json.loads(text) for text in found}
    assert used == set(patterns.WORDS)
    assert all(re.compile(pattern) for pattern in used)


def test_examples_are_there() -> None:
    assert [path.name for path in EXAMPLES] == [
        "demo.yaml",
        "ha.yaml",
        "machines.yaml",
        "separate-etcd.yaml",
        "single.yaml",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_good(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    VALIDATOR.validate(yaml.safe_load(text))
    assert load_file(path).name == path.stem
    first, *_ = text.splitlines()
    assert first == "# yaml-language-server: $schema=../schema/v1alpha1.json"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Node"},
        {"metadata": {"name": "A"}},
        {"metadata": {"name": "a", "nmae": "b"}},
        {"metadata": {}},
        {"metadata": {"name": 1}},
        {"spec": {}},
        {"extra": 1},
    ],
    ids=str,
)
def test_the_schema_and_the_loader_refuse_the_same(change: dict[str, Any]) -> None:
    good = yaml.safe_load((ROOT / "examples" / "demo.yaml").read_text(encoding="utf-8"))
    bad = {**good, **change}
    assert not VALIDATOR.is_valid(bad)
    assert parse(json.dumps(bad), "c")[0] is None
