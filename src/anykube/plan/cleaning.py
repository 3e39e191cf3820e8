"""What goes when a machine is cleaned: its ledger, in the words of a plan. For reset, retire and destroy."""

from __future__ import annotations

from collections.abc import Iterator

from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.model import Change, Obstacle

OURS = "anykube put it there"
LEFT = "left by what ran there"
BEFORE = "as it was before"

_WORDS = {
    "data": ("delete", "folder", f"and all that is in it: {LEFT}"),
    "files": ("delete", "files", f"whose path begins so: {LEFT}"),
    "containers": ("delete", "containers", "all pods of this node end"),
    "mounts": ("delete", "mounts", f"below: {LEFT}"),
    "cgroup": ("delete", "cgroup", LEFT),
    "device": ("delete", "device", LEFT),
    "routes": ("delete", "routes", "to the pods of other nodes"),
    "table": ("delete", "nft table", LEFT),
    "builtin": ("delete", "nft table", "if nobody uses it"),
    "chains": ("delete", "chains", f"of iptables, and rules that lead there: {LEFT}"),
    "user": ("delete", "user", OURS),
    "original": ("update", "file", BEFORE),
    "mode": ("update", "folder", BEFORE),
    "sysctl": ("update", "setting", BEFORE),
}
"""Kinds of the ledger (facts/ledger.py): what is done, with what, and why."""


def going(host: HostFacts) -> tuple[Change, ...]:
    """Everything that cleaning takes away or puts back, one change per line of the ledger."""
    return tuple(_changes(host))


def _changes(host: HostFacts) -> Iterator[Change]:
    ledger = host.ledger
    originals = {line.partition(" ")[2] for line in ledger.traces if line.startswith("original ")}
    for unit in sorted(ledger.units):
        yield Change("delete", "unit", unit, OURS)
    for path in sorted(ledger.paths - originals):
        yield Change("delete", "path", path, OURS)
    for line in sorted(ledger.traces):
        kind, _, name = line.partition(" ")
        action, noun, reason = _WORDS[kind]
        yield Change(action, noun, name, reason)


def held_by_others(host: HostFacts | Unreachable | None) -> Obstacle | None:
    """Containers of somebody else in our containerd would lose the ground they stand on."""
    if not isinstance(host, HostFacts) or not host.ledger.others:
        return None
    others = sorted(host.ledger.others)
    noun = "container" if len(others) == 1 else "containers"
    shown = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
    namespace, _, name = others[0].partition("/")
    return Obstacle(
        host.name,
        f"{len(others)} {noun} of others run in its containerd: {shown}",
        f"move them, or end them there: ctr -n {namespace} task kill -s KILL {name}",
    )
