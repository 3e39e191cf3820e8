"""What is wrong with a cluster object, as values. Made by `load.py` and `validate.py`, printed by anyone.

Codes never change their meaning:

    SPEC-001  the file cannot be read: missing, not a regular file, too large, not UTF-8
    SPEC-002  the text is not one well-formed YAML or JSON document, or is nested too deep
    SPEC-003  unknown key
    SPEC-004  the same key twice
    SPEC-005  a key is missing
    SPEC-006  wrong kind of value (text where a number is needed, ...)
    SPEC-007  too small, too large, too long, too few
    SPEC-008  wrong form, or not one of the choices
    SPEC-009  anchors, aliases and tags are not accepted
    SPEC-010  a key is not text
    SPEC-011  there is no object
    SPEC-012  text must be quoted, YAML reads it as something else
    SPEC-013  more problems than are shown
    SPEC-020  exactly one of several keys must be there
    SPEC-021  two pools have the same name, or a role is named twice
    SPEC-022  a node name is too long or used twice
    SPEC-023  number of control planes
    SPEC-024  where etcd runs
    SPEC-025  no machine accepts ordinary pods
    SPEC-026  Kubernetes version not in the catalog
    SPEC-027  source of software and mirror do not fit
    SPEC-028  label or taint that Kubernetes refuses
    SPEC-029  listed hosts and pools do not fit
    SPEC-030  host address or host key
    SPEC-031  the endpoint does not fit the machines
    NET-010   not a network, or host bits are set
    NET-011   IPv6 is not there yet
    NET-012   a range that cannot be used (loopback, multicast, public, ...)
    NET-013   network too small or too large
    NET-014   networks of the object overlap
    NET-015   a network of the object overlaps one that this machine uses
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

SHOWN = 60

Path = tuple[str | int, ...]
"""Where a value is in the object: keys and list indices from the top."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place in the text. Lines and columns count from 1."""

    source: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}".ljust(len(self.source) + len(":99:99"))
        return f"{place}  {_line(self)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a value, which `load.py` gives a place. `key`: point at the key."""

    path: Path
    code: str
    message: str
    hint: str = ""
    key: bool = False

    def __str__(self) -> str:
        return _line(self)


def _line(problem: Problem | Finding) -> str:
    return f"{problem.code:8}  {problem.message}{'; ' if problem.hint else ''}{problem.hint}"


def escaped(text: str, limit: int = SHOWN) -> str:
    """Text for a message: bounded, and without characters that could change a terminal or a log."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in cut
    )


def shown(value: object) -> str:
    """A value of the object as a message quotes it."""
    if isinstance(value, str):
        return f"'{escaped(value)}'"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "empty"
    return escaped(str(value))


def dotted(path: Path) -> str:
    """The path as people write it: 'machines.pools[0].name', without the outer 'spec'."""
    parts = path[1:] if len(path) > 1 and path[0] == "spec" else path
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{escaped(part)}" for part in parts)
    return text.removeprefix(".")


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint: the choice that was probably meant, or all of them when none is near."""
    known = list(choices)
    match = get_close_matches(word[:SHOWN].lower(), known, n=1, cutoff=0.6)
    if match:
        return f"did you mean '{match[0]}'?"
    return f"known here: {', '.join(known)}" if known else ""
