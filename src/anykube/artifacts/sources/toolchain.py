"""Finds the Go toolchain for gomod.py: on PATH, in /usr/local/go, or as a wheel beside this Python."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anykube.artifacts import process
from anykube.errors import ArtifactError

MINIMUM = (1, 26, 0)
REMEDY = "run scripts/setup, which brings a Go toolchain"
VERSION_TIMEOUT = 10.0
_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A `go` command and what it says of itself, such as 'go1.26.8'."""

    path: Path
    text: str

    @property
    def version(self) -> Version:
        """The version as numbers."""
        return parse(self.text)


def parse(text: str) -> Version:
    """'go1.26.8' or a go.mod's '1.26' as numbers; (0, 0, 0) for anything else."""
    match = _VERSION.search(text if text.startswith("go") else f"go{text}")
    if match is None:
        return (0, 0, 0)
    return (int(match[1]), int(match[2]), int(match[3] or 0))


def candidates() -> tuple[Path, ...]:
    """Where Go may be, in the order in which we look."""
    on_path = shutil.which("go")
    places = [Path(on_path)] if on_path else []
    places += [Path("/usr/local/go/bin/go"), Path(sys.prefix) / "bin" / "go"]
    return tuple(place for place in dict.fromkeys(places) if os.access(place, os.X_OK))


async def find(places: Sequence[Path] | None = None, minimum: Version = MINIMUM) -> Toolchain:
    """The first toolchain that is new enough. ArtifactError if there is none."""
    too_old = []
    for place in candidates() if places is None else places:
        try:
            answer = await process.run(
                [str(place), "env", "GOVERSION"],
                env={**os.environ, "GOTOOLCHAIN": "local"},
                seconds=VERSION_TIMEOUT,
            )
        except (ArtifactError, OSError) as error:
            too_old.append(f"{place}: {error}")
            continue
        found = Toolchain(place, answer.strip())
        if found.version >= minimum:
            return found
        too_old.append(f"{place}: {found.text}")
    wanted = ".".join(map(str, minimum))
    if too_old:
        raise ArtifactError(f"No Go toolchain of {wanted} or newer.", evidence=too_old, remedy=REMEDY)
    raise ArtifactError(f"Building software needs Go {wanted} or newer; there is none.", remedy=REMEDY)
