"""One worker more: seconds from the command to its Node being Ready, and which hosts were changed for it.

prepared      on a machine that runs already; beside it kubeadm join on a machine prepared for it
from nothing  anykube makes the machine too
Only the new host may be changed: the others are compared before and after, files and units.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress

from anykube.content.node import managed_units
from anykube.errors import KubeError, TransportError
from anykube.facts.artifacts import ArtifactLock
from anykube.kube.client import KubeClient
from anykube.state.clusters import RUNS, folder
from anykube.state.journal import JOURNAL
from bench.contest import Run
from bench.figures import Row, Say, by_name, load_average, ratios, spread
from bench.kubeadm import Kubeadm
from bench.lab import Site, make_machines, opened, site
from bench.shape import Shape
from bench.sides import apply, must_be_right, noted_addresses, ours, theirs

BEFORE, AFTER = Shape(3, 1), Shape(3, 2)
POLL = 0.1
DEADLINE = 120.0
JOIN_TARGET = 1.1
WATCHED_FOLDERS = ("etc", "usr", "opt", "var/lib")
"""What a host keeps on its disk; folders of data (of containerd, kubelet, etcd) are disks of their own."""
UNSTEADY = ("var/lib/systemd", "var/lib/dbus", "var/lib/apt")
Found = dict[str, list[Run]]


async def measure(rounds: int, lock: ArtifactLock, say: Say) -> Found:
    """All rounds of anykube, then as many joins by kubeadm: both clusters at once would be too busy here."""
    found: Found = {"anykube": [], "from nothing": [], "kubeadm": []}
    async with site("bench-w", BEFORE, lock) as made:
        for number in range(rounds):
            for way in ("anykube", "from nothing"):
                await _shrink(made)
                if way == "anykube":
                    await make_machines(made.edited(AFTER))
                found[way].append(await _add(made.edited(AFTER)))
                say(f"add worker {number + 1}/{rounds} {way}: {found[way][-1]}")
    async with site("bench-j", Shape(3, 1 + rounds), lock) as made:
        found["kubeadm"] = await _joins(made, say)
    return found


def report(found: Found) -> list[Row]:
    """Seconds, their ratio, and how many hosts were changed."""
    ours_, theirs_ = by_name(found["anykube"], "ready"), by_name(found["kubeadm"], "ready")
    load = spread(by_name([run for runs in found.values() for run in runs], "load")).median
    beside = f"{spread(ours_).median:.1f} s / {spread(theirs_).median:.1f} s, load {load:.1f}"
    changed = by_name(found["anykube"] + found["from nothing"], "changed")
    return [
        Row(
            "one worker to 3+1: Ready, anykube / kubeadm join",
            ratios(ours_, theirs_),
            "",
            JOIN_TARGET,
            beside,
        ),
        Row(
            "one worker to 3+1: from nothing to Ready", spread(by_name(found["from nothing"], "ready")), " s"
        ),
        Row("one worker to 3+1: hosts changed", spread(changed), "", 1, "the new one must be the only one"),
    ]


async def _shrink(made: Site) -> None:
    small = made.edited(BEFORE)
    await apply(small)
    known = await noted_addresses(small)
    await must_be_right(small, lambda: ours(small, known))


async def _add(made: Site) -> Run:
    """Apply an object with one worker more. RuntimeError unless the new host was changed."""
    new = made.nodes[-1].name
    others = [node.name for node in made.nodes if node.name != new]
    before = await _states(made, others)
    load = load_average()
    started = time.time()
    client = ours(made, await noted_addresses(made))
    assert client is not None
    ready, ended = await asyncio.gather(_ready(client, new), _ended(apply(made)))
    after = await _states(made, others)
    with_steps = steps(made)
    if new not in with_steps:
        raise RuntimeError(f"{new} had no step: {with_steps}")
    changed = {new} | {name for name in others if before[name] != after[name] or name in with_steps}
    run = {"ready": ready - started, "command": ended - started, "changed": len(changed), "load": load}
    if changed != {new}:
        print("changed besides:", {name: differences(before[name], after[name]) for name in changed - {new}})
    return run


async def _joins(made: Site, say: Say) -> list[Run]:
    later = [node.name for node in made.nodes if not node.control_plane][1:]
    await make_machines(made)
    async with opened(made) as session:
        rival = Kubeadm(made, session, fair=False)
        await rival.prepare()
        await rival.run(without=later)
        runs: list[Run] = []
        for name in later:
            await asyncio.sleep(5)
            client = theirs(made)
            assert client is not None
            load = load_average()
            started = time.time()
            ready, ended = await asyncio.gather(_ready(client, name), _ended(rival.join(name)))
            runs.append({"ready": ready - started, "command": ended - started, "load": load})
            say(f"add worker {len(runs)}/{len(later)} kubeadm: {runs[-1]}")
        await must_be_right(made, lambda: theirs(made))
    return runs


async def _ready(client: KubeClient, node: str) -> float:
    """When a Node was first seen Ready."""
    async with client, asyncio.timeout(DEADLINE):
        while True:
            with suppress(KubeError, TransportError):
                if await client.node_ready(node):
                    return time.time()
            await asyncio.sleep(POLL)


async def _ended(work: Awaitable[object]) -> float:
    await work
    return time.time()


def steps(made: Site) -> Mapping[str, int]:
    """How many steps the last run had on each node, from its journal."""
    runs = folder(made.folders.state, made.cluster.name) / RUNS
    lines = (max(runs.iterdir()) / JOURNAL).read_text().splitlines()
    targets = [event["target"] for event in map(json.loads, lines) if event["type"] == "StepStarted"]
    names = {node.name for node in made.nodes}
    return {name: targets.count(name) for name in names & set(targets)}


State = Mapping[str, str]


async def _states(made: Site, names: list[str]) -> Mapping[str, State]:
    """What would differ on a host if it were changed: when files changed, when units started."""
    async with opened(made) as session:
        show = ["systemctl", "show", "-p", "Id", "-p", "ActiveEnterTimestampMonotonic", *managed_units()]
        shown = await asyncio.gather(*(session.transport(name).run(show) for name in names))
    found = {}
    for name, said in zip(names, shown, strict=True):
        units = dict(_unit(block) for block in said.stdout.strip().split("\n\n"))
        found[name] = {**units, **_files(made, name)}
    return found


def _unit(block: str) -> tuple[str, str]:
    values = dict(line.split("=", 1) for line in block.splitlines())
    return values["Id"], values["ActiveEnterTimestampMonotonic"]


def _files(made: Site, node: str) -> State:
    """When each file of a host last changed, as this machine sees its disk."""
    root = made.on_disk(node, "/")
    unsteady = tuple(str(root / path) for path in UNSTEADY)
    return {
        path: str(os.lstat(path).st_ctime_ns)
        for start in WATCHED_FOLDERS
        for folder_, _, files in os.walk(root / start)
        if not folder_.startswith(unsteady)
        for path in (folder_, *(f"{folder_}/{file}" for file in files))
    }


def differences(before: State, after: State) -> list[str]:
    """The files and units that differ."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
