"""Versioned JSON documents in private files: one envelope for records, locks and plans.

A document says what it is and in which schema. A newer schema, another kind or a damaged file is refused
with a remedy and never overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anykube.errors import StateError
from anykube.state.files import OTHERS, SIZE_LIMIT, Guard, read_file, unguarded, write_file


@dataclass(frozen=True, slots=True)
class DocumentType:
    """A kind of document. `remedy` tells what to do about one that cannot be read."""

    kind: str
    schema: int
    remedy: str
    limit: int = SIZE_LIMIT
    forbidden: int = OTHERS

    def load(self, path: Path) -> Any:
        """The content of a document, or None if there is no file."""
        try:
            text = read_file(path, limit=self.limit, forbidden=self.forbidden)
        except FileNotFoundError:
            return None
        try:
            document = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self.damaged(path, str(error)) from error
        return self._content(path, document)

    def save(self, path: Path, content: Any, guard: Guard = unguarded) -> None:
        """Write a document in one atomic move; see files.write_file for the guard."""
        document = {"kind": self.kind, "schema": self.schema, "content": content}
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        write_file(path, text.encode() + b"\n", guard=guard)

    def damaged(self, path: Path, why: str) -> StateError:
        """The error for a document whose content is not as it should be."""
        return StateError(f"{path} is damaged and was left as it is.", evidence=[why], remedy=self.remedy)

    def _content(self, path: Path, document: Any) -> Any:
        if not isinstance(document, Mapping) or document.keys() != {"kind", "schema", "content"}:
            raise self.damaged(path, "it has not the form of an anykube document")
        if document["kind"] != self.kind:
            raise self.damaged(path, f"it is a {str(document['kind'])[:40]!r}, not a {self.kind!r}")
        schema = document["schema"]
        if type(schema) is int and schema > self.schema:
            raise StateError(
                f"{path} was written by a newer anykube.",
                evidence=[f"schema {schema}, this anykube knows up to {self.schema}"],
                remedy="Use that newer version of anykube.",
            )
        if type(schema) is not int or schema != self.schema:
            raise self.damaged(path, f"unknown schema {str(schema)[:40]!r}")
        return document["content"]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A hook for `json.loads`: the pairs as a mapping, ValueError if a key appears twice."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return mapping


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
