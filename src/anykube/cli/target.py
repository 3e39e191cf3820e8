"""Which cluster a command is about: a file (-f, default cluster.yaml) or a name known here (-c)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.plan.model import Plan
    from anykube.spec.model import Cluster

DEFAULT_FILE = Path("cluster.yaml")


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster object, its text, and the file it came from ('' for standard input)."""

    cluster: Cluster
    text: str
    source: str


def target(file: Path | None, name: str | None) -> Target:
    """The object to work on. UsageError if none is named, or both."""
    if file is not None and name is not None:
        raise UsageError("-f and -c name a cluster twice.", remedy="give one of them")
    if name is not None:
        return _recorded(name)
    if file is None and not DEFAULT_FILE.exists():
        raise UsageError("There is no cluster.yaml here.", remedy=_hint())
    return _from_file(file or DEFAULT_FILE)


def saved_target(path: Path) -> tuple[Target, Plan]:
    """The object that a saved plan was made from, and the plan."""
    from anykube.spec.load import load
    from anykube.state.planfile import load_plan

    saved = load_plan(path)
    return Target(load(saved.object, str(path)), saved.object, saved.source), saved.plan


def _from_file(path: Path) -> Target:
    from anykube.objectfile import read
    from anykube.spec.load import load

    text, source = read(path)
    return Target(load(text, source), text, str(path.absolute()) if str(path) != "-" else "")


def _recorded(name: str) -> Target:
    from anykube.paths import state_dir
    from anykube.spec.load import load
    from anykube.state.clusters import clusters, folder
    from anykube.state.record import RecordStore

    if name not in clusters(state_dir()):
        raise UsageError(f"No cluster {name[:60]!r} is known here.", remedy=_hint())
    record = RecordStore(folder(state_dir(), name)).load()
    if record is None or not record.object:
        raise UsageError(f"The record of {name} holds no object yet.", remedy="name its file with -f")
    return Target(load(record.object, f"record of {name}"), record.object, record.source)


def _hint() -> str:
    from anykube.paths import state_dir
    from anykube.state.clusters import clusters

    known = clusters(state_dir())
    if known:
        return f"give -f FILE, or -c NAME (known here: {', '.join(known)})"
    return "write one with: anykube init > cluster.yaml, or give -f FILE"
