"""YAML or JSON text to a tree that knows where everything stands. The first step of `load.py`.

Built from parser events, not with a YAML constructor: nothing is expanded, no tag is obeyed, depth and
size are bounded, and each scalar keeps its source text. Scalars are read by the YAML 1.2 core rules; where
YAML 1.1 would read something else ('no', 010, 1:30, 2026-01-01) the scalar stays text, marked as a `trap`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamStartEvent,
)

from anykube.spec.problem import Problem, escaped, shown

MAX_TEXT = 1_048_576
MAX_DEPTH = 32
MAX_NODES = 30_000
MAX_NUMBER = 30

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRAPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i:yes|on)"), "true"),
    (re.compile(r"(?i:no|off)"), "false"),
    (re.compile(r"[-+]?0o?[0-9_]+"), "an octal number"),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), "a hexadecimal number"),
    (re.compile(r"[-+]?0b[01_]+"), "a binary number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "a number to the base 60"),
    (re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?"), "a number"),
    (re.compile(r"[-+]?\.(?i:inf)"), "infinity"),
    (re.compile(r"\.(?i:nan)"), "not a number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"), "a date"),
    (re.compile(r"<<|="), "a command"),
)


class Place(NamedTuple):
    """Line and column, counted from 1 as editors do."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `trap` says what other YAML readers take the text for, when they do not agree."""

    place: Place
    value: str | int | float | bool | None
    text: str
    quoted: bool = False
    trap: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; `keys` holds the place of each key."""

    place: Place
    entries: dict[str, Tree]
    keys: dict[str, Place]


Tree = Scalar | Sequence | Table


class Unreadable(Exception):
    """The text cannot be turned into a tree; the problem is already noted."""


@dataclass(slots=True)
class Reading:
    """The outcome: the tree if there is one, and what was wrong on the way."""

    tree: Tree | None = None
    problems: list[Problem] = field(default_factory=list)


def read_tree(text: str, source: str) -> Reading:
    """Read the one document in `text`. Never raises for what the text holds."""
    builder = _Builder(source)
    try:
        tree: Tree | None = builder.read(text)
    except Unreadable:
        tree = None
    return Reading(tree, builder.problems)


def plain(tree: Tree) -> Any:
    """The tree as plain data, ready for JSON."""
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return {key: plain(value) for key, value in tree.entries.items()}


def resolve(text: str) -> tuple[str | int | float | bool | None, str]:
    """Value of an unquoted scalar, and what makes it a trap ('' for none)."""
    if text in _NULL:
        return None, ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE, ""
    if len(text) > MAX_NUMBER:
        return text, ""
    if _INT.fullmatch(text):
        return int(text), ""
    if _FLOAT.fullmatch(text):
        value = float(text)
        return (value, "") if abs(value) != float("inf") else (text, "infinity")
    return text, next((meaning for form, meaning in _TRAPS if form.fullmatch(text)), "")


class _Builder:
    """Turns parser events into a tree, noting problems; stops at the first that makes the rest unreliable."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.nodes = 0

    def read(self, text: str) -> Tree:
        text = text.removeprefix("\ufeff")
        self._check_text(text)
        events = self._events(text)
        if not isinstance(event := next(events), DocumentStartEvent):
            raise self._stop(Place(1, 1), "SPEC-011", "the file is empty", "write one with: anykube init")
        tree = self._node(next(events), events, 0)
        while not isinstance(event, DocumentEndEvent):
            event = next(events)
        if isinstance(event := next(events), DocumentStartEvent):
            raise self._stop(
                _place(event), "SPEC-002", "a second document begins", "one file holds one cluster"
            )
        return tree

    def _check_text(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise self._stop(Place(1, 1), "SPEC-001", "larger than 1 MiB; this is not a cluster object")
        if found := _FORBIDDEN.search(text):
            before = text[: found.start()]
            place = Place(before.count("\n") + 1, found.start() - before.rfind("\n"))
            letter = escaped(found.group())
            raise self._stop(place, "SPEC-002", f"the character {letter} is not allowed in YAML")

    def _events(self, text: str) -> Iterator[Event]:
        """Parser events without the stream's start; syntax errors become problems."""
        try:
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                if not isinstance(event, StreamStartEvent):
                    yield event
        except yaml.MarkedYAMLError as error:
            place = _within(_marked(error.problem_mark), text)
            raise self._stop(place, "SPEC-002", *_syntax(error, text, place)) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise self._stop(Place(1, 1), "SPEC-002", f"not YAML: {escaped(str(error))}") from error

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Tree:
        place = _place(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._stop(place, "SPEC-002", f"more than {MAX_NODES} values; this is not a cluster object")
        if depth > MAX_DEPTH:
            raise self._stop(place, "SPEC-002", f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            raise self._stop(place, "SPEC-009", "an alias (*name) is not accepted", "write the value out")
        if getattr(event, "anchor", None):
            self._note(place, "SPEC-009", "an anchor (&name) is not accepted", "write the value out")
        if tag := getattr(event, "tag", None):
            name = shown(tag.replace("tag:yaml.org,2002:", "!!"))
            self._note(place, "SPEC-009", f"the tag {name} is not accepted", "leave it out; text is quoted")
        if isinstance(event, MappingStartEvent):
            return self._table(place, events, depth)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(place, events, depth)
        assert isinstance(event, ScalarEvent)  # noqa: S101 - the only kind of node that is left
        return _scalar(place, event)

    def _sequence(self, place: Place, events: Iterator[Event], depth: int) -> Sequence:
        items: list[Tree] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, events, depth + 1))
        return Sequence(place, tuple(items))

    def _table(self, place: Place, events: Iterator[Event], depth: int) -> Table:
        table = Table(place, {}, {})
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            self._enter(table, key, value)
        return table

    def _enter(self, table: Table, key: Tree, value: Tree) -> None:
        if not isinstance(key, Scalar):
            self._note(key.place, "SPEC-010", "a key must be text, not a list or a mapping")
            return
        if not isinstance(key.value, str) or key.trap:
            message = f'a key must be text: write "{escaped(key.text)}"' if key.text else "a key is empty"
            self._note(key.place, "SPEC-010", message)
        if key.text in table.entries:
            first = table.keys[key.text]
            self._note(
                key.place,
                "SPEC-004",
                f"the key {shown(key.text)} is here twice",
                f"the first is at {first.line}:{first.column}",
            )
            return
        table.entries[key.text] = value
        table.keys[key.text] = key.place

    def _note(self, place: Place, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.source, place.line, place.column, code, message, hint))

    def _stop(self, place: Place, code: str, message: str, hint: str = "") -> Unreadable:
        self._note(place, code, message, hint)
        return Unreadable()


def _place(event: Event) -> Place:
    return _marked(event.start_mark)


def _marked(mark: Any) -> Place:
    """The parser's mark, which counts from 0 and may be missing."""
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _scalar(place: Place, event: ScalarEvent) -> Scalar:
    if event.style:
        return Scalar(place, event.value, event.value, quoted=True)
    value, trap = resolve(event.value)
    return Scalar(place, value, event.value, trap=trap)


def _syntax(error: yaml.MarkedYAMLError, text: str, place: Place) -> tuple[str, str]:
    """The parser's complaint in words, with a hint for the mistakes that people make most."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    message = f"not YAML: {escaped(error.problem or 'cannot be read')}"
    if "\t" in line[: place.column]:
        return message, "indent with spaces, not with tabs"
    if line.count(": ") > 1:
        return message, "text that holds ': ' must be quoted"
    if "escape" in message:
        return message, "write the character itself"
    begin = _marked(error.context_mark)
    if error.context and begin != place:
        return message, f"{escaped(error.context)} that begins at {begin.line}:{begin.column}"
    return message, ""


def _within(place: Place, text: str) -> Place:
    """The end of the text for a mark that lies behind it."""
    lines = text.splitlines() or [""]
    return place if place.line <= len(lines) else Place(len(lines), len(lines[-1]) + 1)
