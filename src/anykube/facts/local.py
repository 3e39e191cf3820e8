"""What this machine offers to a cluster: read by observe/machine.py, judged by checks.py. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Leftover:
    """What anykube made here for a cluster that is not known here. `removal` is a command."""

    kind: str
    name: str
    removal: str


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """This machine. Sizes in MiB.

    tools: each tool that providers run, and whether it is there.  packages: the Debian package of each.
    features: what the kernel did when it was tried: '' works, else what it said; empty when not tried.
    go: the version of the toolchain, '' without one; `go_wanted` the least that is good enough.
    clock, clock_floor: now, and a moment that is certainly past.
    limits, limits_wanted: kernel settings by their path under /proc/sys.
    """

    root: bool
    python: tuple[int, int, int]
    tools: Mapping[str, bool]
    packages: Mapping[str, str]
    go: str
    go_wanted: str
    cgroup: int
    controllers: frozenset[str]
    capabilities: int
    kernel: str
    features: Mapping[str, str]
    disk_free: Mapping[str, int]
    memory: int
    memory_available: int
    clock: float
    clock_floor: float
    limits: Mapping[str, int] = field(default_factory=dict)
    limits_wanted: Mapping[str, int] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
