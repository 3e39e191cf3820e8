"""The documents as data: their code blocks, commands, links. Shared by tests of docs and of the tutorial."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = tuple(sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]))
PROGRAMS = {"anykube", ".venv/bin/anykube"}

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `note` is the comment just before it; `line` is where its text begins."""

    document: Path
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(REPOSITORY)}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(document, line, match["language"], match["note"] or "", match["text"])


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return _BLOCK.sub("", document.read_text(encoding="utf-8"))


def inline_code(document: Path) -> Iterator[str]:
    """What stands between single backticks."""
    yield from _INLINE.findall(prose(document))


def commands(script: str) -> Iterator[list[str]]:
    """The arguments of every call of anykube in a shell script, without what a shell does to them."""
    for line in script.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.wordchars += "$@{}[]%!:,"
        found: list[str] | None = None
        previous = ";"
        for word in words:
            separates = set(word) <= set("();<>|&")
            if found is not None and separates:
                yield found
                found = None
            elif found is not None:
                found.append(word)
            elif word in PROGRAMS and (set(previous) <= set("();|&") or previous in ("sudo", "$")):
                found = []
            previous = word
        if found is not None:
            yield found
