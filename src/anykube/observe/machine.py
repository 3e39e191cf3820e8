"""Reads what this machine offers to a cluster (facts/local.py). Changes nothing that lasts.

Kernel features are tried for real, in a network and a mount namespace that end with the trial.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anykube.artifacts.sources import toolchain
from anykube.errors import AnykubeError
from anykube.facts.local import Leftover, LocalFacts
from anykube.providers.lxc import host
from anykube.providers.lxc.addressing import bridge_name
from anykube.providers.lxc.commands import TOOLS, attempt
from anykube.providers.lxc.network import AT_LEAST, table_name
from anykube.providers.lxc.provider import ROOT
from anykube.transports.local import LocalTransport

CGROUPS = Path("/sys/fs/cgroup")
SETTINGS = "/proc/sys/"
TRIAL_SECONDS = 20
T = TypeVar("T")

_TRIAL = r"""
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
try() {
    name=$1; shift
    if said=$("$@" 2>&1); then echo "$name"; else echo "$name $said" | tr '\n' ' '; echo; fi
}
overlay() {
    mount -t tmpfs none /tmp && mkdir /tmp/lower /tmp/upper /tmp/work /tmp/whole &&
        mount -t overlay -o lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work none /tmp/whole
}
nat() { nft 'add table ip a; add chain ip a c { type nat hook postrouting priority 100; }
    add rule ip a c masquerade'; }
try overlay overlay
try bridge ip link add ak0 type bridge
try veth ip link add ak1 type veth peer name ak2
try vxlan ip link add ak3 type vxlan id 1 dstport 8472
try tun ip tuntap add ak4 mode tun
try nf_tables nft add table ip b
try nat nat
"""


async def local_facts(state: Path, cache: Path, known: Collection[str]) -> LocalFacts:
    """What this machine offers. `state`, `cache`: anykube's folders; `known`: clusters with a record."""
    go, features, leftovers = await asyncio.gather(_go(), _features(), _leftovers(known))
    tried = _Tried(go, features, leftovers)
    return await asyncio.to_thread(_read, state, cache, tried)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What had to be run to be known."""

    go: str
    features: dict[str, str]
    leftovers: tuple[Leftover, ...]


def _read(state: Path, cache: Path, tried: _Tried) -> LocalFacts:
    machine = host.inspect()
    return LocalFacts(
        root=os.geteuid() == 0,
        python=sys.version_info[:3],
        tools={tool: shutil.which(tool) is not None for tool in TOOLS},
        packages=TOOLS,
        go=tried.go,
        go_wanted="go" + ".".join(map(str, toolchain.MINIMUM)),
        cgroup=machine.cgroup if CGROUPS.is_dir() else 0,
        controllers=_controllers(machine.cgroup),
        capabilities=machine.capabilities,
        kernel=machine.kernel,
        features=tried.features,
        disk_free={"state": _free(state), "cache": _free(cache), "nodes": _free(ROOT)},
        memory=machine.memory,
        memory_available=_memory_available(),
        clock=time.time(),
        clock_floor=Path(__file__).stat().st_mtime,
        limits=dict(_limits()),
        limits_wanted={_setting(path): least for path, least in AT_LEAST.items()},
        leftovers=tried.leftovers,
    )


async def _go() -> str:
    try:
        return (await toolchain.find()).text
    except AnykubeError:
        return ""


async def _features() -> dict[str, str]:
    """What each feature said when it was tried; nothing where it cannot be tried."""
    if os.geteuid() != 0:
        return {}
    result = await LocalTransport().run(
        ["unshare", "--net", "--mount", "sh", "-c", _TRIAL], seconds=TRIAL_SECONDS
    )
    pairs = (line.partition(" ") for line in result.stdout.splitlines())
    return {name: said.strip() for name, _, said in pairs} or {"unshare": result.stderr.strip()[:200]}


def _controllers(version: int) -> frozenset[str]:
    """The control group controllers that can be used."""
    if version == 2:
        return frozenset(_text(CGROUPS / "cgroup.controllers").split())
    mounted = [folder.name.split(",") for folder in CGROUPS.glob("*/") if (folder / "tasks").exists()]
    return frozenset(name for names in mounted for name in names)


def _limits() -> Iterator[tuple[str, int]]:
    for path in AT_LEAST:
        if text := _text(Path(path)).strip():
            yield _setting(path), int(text)


def _setting(path: str) -> str:
    return path.removeprefix(SETTINGS).replace("/", ".")


def _memory_available() -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def _free(folder: Path) -> int:
    """MiB where the folder is or will be."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free // 2**20


async def _leftovers(known: Collection[str]) -> tuple[Leftover, ...]:
    """Clusters that have no record here, and bridges and firewall tables that no cluster has."""
    folders = [path.name for path in ROOT.glob("[!.]*/")] if os.access(ROOT, os.R_OK) else []
    _, links, _ = await attempt("ip", "-json", "link", "show", "type", "bridge")
    _, tables, _ = await attempt("nft", "-json", "list", "tables")
    explained = {*known, *folders}
    return (
        *_strange_folders(folders, known),
        *_strange_bridges((entry.get("ifname", "") for entry in _json(links, list)), explained),
        *_strange_tables(_table_names(_json(tables, dict)), explained),
    )


def _strange_folders(names: Iterable[str], known: Collection[str]) -> Iterator[Leftover]:
    for name in sorted(names):
        if name not in known:
            yield Leftover("cluster", name, f"anykube init -y --name {name} | anykube destroy -f - --yes")


def _strange_bridges(names: Iterable[str], known: Collection[str]) -> Iterator[Leftover]:
    ours = {bridge_name(cluster) for cluster in known}
    for name in sorted(names):
        if name.startswith(bridge_name("")) and name not in ours:
            yield Leftover("bridge", name, f"ip link delete {name}")


def _strange_tables(names: Iterable[str], known: Collection[str]) -> Iterator[Leftover]:
    ours = {table_name(cluster) for cluster in known}
    for name in sorted(names):
        if name.startswith(table_name("")) and name not in ours:
            yield Leftover("firewall table", name, f"nft delete table ip {name}")


def _table_names(answer: dict[str, list[dict[str, dict[str, str]]]]) -> Iterator[str]:
    for entry in answer.get("nftables", []):
        if "table" in entry:
            yield entry["table"].get("name", "")


def _json(text: str, kind: type[T]) -> T:
    try:
        value = json.loads(text)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
