"""What `anykube doctor` thinks of this machine: facts in, checks with a remedy out. Pure.

observe/machine.py reads the facts, checkup.py gathers, the command line prints. Nodes are in node_checks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from anykube.facts.host import CAP_SYS_RESOURCE
from anykube.facts.local import LocalFacts

HERE = "this machine"
"""The target of a check that is not about a node."""

PYTHON_WANTED = (3, 11)
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
"""Control groups without which the kubelet does not start, or limits would not hold."""
MEMORY_NEEDED = 1024
MEMORY_ADVISED = 2048
DISK_NEEDED = {"state": 50, "cache": 2048, "nodes": 1024}
DISK_ADVISED = {"state": 500, "cache": 6144, "nodes": 4096}
"""Keys of LocalFacts.disk_free. A cold build of all software takes about 5 GiB of the cache."""
CLOCK_AHEAD_DAYS = 3650


class Verdict(StrEnum):
    """How bad it is. A problem stops a cluster from coming up or running well."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `target` is HERE or a node; `remedy` is empty when all is well."""

    target: str
    name: str
    verdict: Verdict
    seen: str
    remedy: str = ""


Judgement = tuple[Verdict, str, str]
"""Verdict, seen, remedy."""


def ok(seen: str) -> Judgement:
    """All is well."""
    return Verdict.OK, seen, ""


def machine_checks(facts: LocalFacts, *, lxc: bool | None) -> tuple[Check, ...]:
    """All checks of this machine. `lxc`: whether nodes are to be containers here; None is not known yet."""
    judges = {**_ALWAYS, **({} if lxc is False else _FOR_CONTAINERS)}
    found = [(name, judge(facts)) for name, judge in judges.items()]
    return tuple(
        Check(HERE, name, Verdict.WARNING if _moot(name, verdict, lxc) else verdict, seen, remedy)
        for name, (verdict, seen, remedy) in found
    )


def _moot(name: str, verdict: Verdict, lxc: bool | None) -> bool:
    """Without an object nobody knows whether containers are wanted: what they need only warns."""
    return lxc is None and verdict is Verdict.PROBLEM and name in _FOR_CONTAINERS


def _python(facts: LocalFacts) -> Judgement:
    version = ".".join(map(str, facts.python))
    if facts.python[:2] >= PYTHON_WANTED:
        return ok(version)
    return Verdict.PROBLEM, version, "install Python 3.11 or newer, then run scripts/setup"


def _go(facts: LocalFacts) -> Judgement:
    if facts.go:
        return ok(facts.go)
    seen = f"no toolchain of {facts.go_wanted} or newer; needed where software must be built from Go modules"
    return Verdict.WARNING, seen, "scripts/setup brings one"


def _memory(facts: LocalFacts) -> Judgement:
    seen = f"{_size(facts.memory_available)} of {_size(facts.memory)} available"
    if facts.memory_available >= MEMORY_ADVISED:
        return ok(seen)
    verdict = Verdict.WARNING if facts.memory_available >= MEMORY_NEEDED else Verdict.PROBLEM
    return verdict, seen, f"free some: a small cluster takes {_size(MEMORY_ADVISED)}"


def _disk(facts: LocalFacts) -> Judgement:
    seen = ", ".join(f"{name} {_size(free)}" for name, free in facts.disk_free.items()) + " free"
    short = [name for name, free in facts.disk_free.items() if free < DISK_ADVISED[name]]
    if not short:
        return ok(seen)
    needed = [name for name in short if facts.disk_free[name] < DISK_NEEDED[name]]
    wanted = ", ".join(f"{_size(DISK_ADVISED[name])} for the {name}" for name in short)
    remedy = f"make room: {wanted}; ANYKUBE_CACHE_DIR and ANYKUBE_STATE_DIR choose other folders"
    return (Verdict.PROBLEM if needed else Verdict.WARNING), seen, remedy


def _clock(facts: LocalFacts) -> Judgement:
    seen = f"{datetime.fromtimestamp(facts.clock, UTC):%Y-%m-%d %H:%M} UTC"
    ahead = facts.clock - facts.clock_floor > CLOCK_AHEAD_DAYS * 86400
    if facts.clock >= facts.clock_floor and not ahead:
        return ok(seen)
    seen += ", which cannot be: " + ("years ahead" if ahead else "older than anykube's own files")
    return Verdict.PROBLEM, seen, "set the clock (timedatectl set-ntp true): certificates depend on it"


def _root(facts: LocalFacts) -> Judgement:
    if facts.root:
        return ok("yes")
    return Verdict.PROBLEM, "no; LXC nodes need it", "run the same command with sudo"


def _tools(facts: LocalFacts) -> Judgement:
    missing = [tool for tool, present in facts.tools.items() if not present]
    if not missing:
        return ok(", ".join(facts.tools))
    packages = sorted({facts.packages[tool] for tool in missing})
    return Verdict.PROBLEM, f"missing: {', '.join(missing)}", f"apt-get install {' '.join(packages)}"


def _cgroup(facts: LocalFacts) -> Judgement:
    missing = [name for name in CONTROLLERS if name not in facts.controllers]
    if facts.cgroup == 0 or missing:
        seen = f"version {facts.cgroup}, without {', '.join(missing)}" if facts.cgroup else "not mounted"
        return Verdict.PROBLEM, seen, "mount them, or boot with systemd.unified_cgroup_hierarchy=1"
    if facts.cgroup == 1:
        remedy = (
            "nothing to do now: nodes are made for it; Kubernetes will drop it, move to version 2 in time"
        )
        return Verdict.WARNING, "version 1", remedy
    return ok("version 2")


def _capabilities(facts: LocalFacts) -> Judgement:
    if facts.capabilities >> CAP_SYS_RESOURCE & 1:
        return ok("CAP_SYS_RESOURCE is there")
    remedy = "nothing to do: oom scores are left alone; under memory pressure pods do not go first"
    return Verdict.WARNING, "CAP_SYS_RESOURCE is missing", remedy


def _kernel(facts: LocalFacts) -> Judgement:
    if not facts.features:
        return Verdict.WARNING, f"{facts.kernel}; features not tried, that needs root", "run it with sudo"
    broken = {name: said for name, said in facts.features.items() if said}
    if not broken:
        return ok(f"{facts.kernel}; tried: {', '.join(facts.features)}")
    seen = "; ".join(f"{name}: {said}" for name, said in broken.items())
    return Verdict.PROBLEM, seen, f"load or build what is missing: modprobe {' '.join(_modules(broken))}"


def _modules(broken: Mapping[str, str]) -> list[str]:
    return [_MODULE.get(name, name) for name in broken]


_MODULE = {"nat": "nft_masq"}


def _limits(facts: LocalFacts) -> Judgement:
    low = {name: found for name, found in facts.limits.items() if found < facts.limits_wanted[name]}
    if not low:
        return ok(", ".join(f"{name} {found}" for name, found in facts.limits.items()))
    seen = ", ".join(f"{name} is {found}" for name, found in low.items())
    settings = " ".join(f"{name}={facts.limits_wanted[name]}" for name in low)
    return Verdict.WARNING, seen, f"nothing to do for LXC nodes: apply raises them; else sysctl -w {settings}"


def _leftovers(facts: LocalFacts) -> Judgement:
    if not facts.leftovers:
        return ok("none")
    seen = ", ".join(f"{left.kind} {left.name}" for left in facts.leftovers)
    removals = "; ".join(left.removal for left in facts.leftovers)
    remedy = f"nothing if another user or ANYKUBE_STATE_DIR has a record of them; else: {removals}"
    return Verdict.WARNING, f"not known here: {seen}", remedy


def _size(mebibytes: int) -> str:
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes} MiB"


_ALWAYS: Mapping[str, Callable[[LocalFacts], Judgement]] = {
    "python": _python,
    "go": _go,
    "memory": _memory,
    "disk": _disk,
    "clock": _clock,
}
_FOR_CONTAINERS: Mapping[str, Callable[[LocalFacts], Judgement]] = {
    "root": _root,
    "tools": _tools,
    "cgroup": _cgroup,
    "capabilities": _capabilities,
    "kernel": _kernel,
    "limits": _limits,
    "leftovers": _leftovers,
}
