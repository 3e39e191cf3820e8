"""Writes docs/errors.md from the error classes and from the codes of problems in a cluster object.

    .venv/bin/python scripts/generate_errors.py

A test (tests/unit/docs/test_errors.py) says when it is not current.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import anykube.artifacts.sources.base  # noqa: F401  it defines an error of its own
from anykube.errors import AnykubeError
from anykube.spec import problem

TARGET = Path(__file__).resolve().parent.parent / "docs" / "errors.md"

HEAD = """# Errors

Made from `src/anykube/errors.py` and `src/anykube/spec/problem.py` by `scripts/generate_errors.py`; do not
edit.

An error says what happened, the evidence (command, host, what it wrote), what to do, and its code, which
never changes its meaning. In the library that is the attribute `code` of the exception.

## What went wrong

| code | exit status | tried again | exception | meaning |
| --- | --- | --- | --- | --- |
"""

PROBLEMS = """
## What is wrong with a cluster object

All problems are told at once (exit status 1, exception `SpecError`), each as `file:line:column`, and nothing
is touched.

| code | meaning |
| --- | --- |
"""

STATUSES = """
## Exit statuses

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | an error; `doctor`: there is a problem |
| 2 | changes are pending (`plan --detailed-exitcode`) |
| 3 | partly done; `status --check`: not all is well |
| 4 | another run holds the lock, or has changed the cluster since |
| 64 | the command line was used wrongly |
| 130 | interrupted; nothing is half-written |

`exec` ends with the status of its command.
"""


def error_classes() -> list[type[AnykubeError]]:
    """Every kind of deliberate error, by its code."""
    found: list[type[AnykubeError]] = [AnykubeError, *_below(AnykubeError)]
    return sorted((error for error in found if error.__module__.startswith("anykube.")), key=lambda e: e.code)


def _below(kind: type[AnykubeError]) -> Iterator[type[AnykubeError]]:
    for error in kind.__subclasses__():
        yield error
        yield from _below(error)


def problem_codes() -> dict[str, str]:
    """Codes and meanings of problems in the object, as the docstring of spec/problem.py lists them."""
    return dict(re.findall(r"^ {4}([A-Z]+-\d{3}) +(.+)$", problem.__doc__ or "", re.MULTILINE))


def text() -> str:
    """The whole page."""
    rows = [
        f"| {error.code} | {error.exit_status} | {'yes' if error.retryable else 'no'} "
        f"| `{error.__name__}` | {_meaning(error)} |\n"
        for error in error_classes()
    ]
    problems = [f"| {code} | {meaning} |\n" for code, meaning in problem_codes().items()]
    return HEAD + "".join(rows) + PROBLEMS + "".join(problems) + STATUSES


def _meaning(error: type[AnykubeError]) -> str:
    if error is AnykubeError:
        return "An error without a kind of its own."
    return (inspect.getdoc(error) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
