"""Saved plans: `plan --out` writes one, `apply` reads it back equal and compares it with the world.

A plan holds no secret, but what it says is done as root on every node: a file that others could have
changed is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anykube.errors import StateError
from anykube.plan.model import Plan
from anykube.state import codec
from anykube.state.documents import DocumentType

PLAN_SIZE_LIMIT = 128 * 1024 * 1024
WRITABLE_BY_OTHERS = 0o022

_DOCUMENT = DocumentType(
    kind="plan",
    schema=1,
    remedy="Make a new one: anykube plan --out FILE",
    limit=PLAN_SIZE_LIMIT,
    forbidden=WRITABLE_BY_OTHERS,
)


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan and what it was made from: the text of the cluster object and the file that held it."""

    plan: Plan
    object: str = ""
    source: str = ""


def save_plan(path: Path, saved: SavedPlan) -> None:
    """Write a plan, after a proof that reading it gives the same plan."""
    try:
        content = codec.encode(saved)
        if codec.decode(SavedPlan, content) != saved:
            raise codec.CodecError("it would read back as another plan")
    except codec.CodecError as error:
        raise StateError(
            "The plan cannot be saved; this is a fault in anykube.", evidence=[str(error)]
        ) from error
    _DOCUMENT.save(path, content)


def load_plan(path: Path) -> SavedPlan:
    """Read a plan that `save_plan` wrote."""
    content = _DOCUMENT.load(path)
    if content is None:
        raise StateError(f"There is no plan {path}.", remedy="Make one: anykube plan --out FILE")
    try:
        return codec.decode(SavedPlan, content)
    except codec.CodecError as error:
        raise _DOCUMENT.damaged(path, str(error)) from error
