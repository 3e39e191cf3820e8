"""Seconds without a working API when a control plane loses its power, by kind of endpoint.

node-local   seen through 127.0.0.1 of a worker, while the control planes are cut one after another
virtual-ip   seen from this machine through the address, while its holder is cut
A single control plane has no figure: its API is away until the machine is back.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time

from tests.e2e.prober import Probes, probing

from anykube.facts.artifacts import ArtifactLock
from anykube.pki.store import SecretStore
from anykube.spec.endpoint import LOOPBACK
from anykube.state.clusters import SECRETS, folder
from bench.contest import Run
from bench.figures import Row, Say, by_name, load_average, spread
from bench.lab import Site, opened, site
from bench.shape import Shape
from bench.sides import apply, must_be_right, noted_addresses, ours

SHAPE = Shape(3, 1)
KINDS = ("node-local", "virtual-ip")
WATCHED_SECONDS = 15.0
"""After the cut: longer than anything that happens because of it."""
TARGETS = {"virtual-ip": 3.0}
Cuts = dict[str, list[Run]]


async def measure(runs: int, lock: ArtifactLock, say: Say) -> Cuts:
    """Cut `runs` times with each kind; one cluster goes from kind to kind."""
    found: Cuts = {}
    async with site("bench-f", SHAPE, lock) as made:
        for kind in KINDS:
            edited = made.edited(SHAPE, endpoint={"kind": kind})
            found[kind] = []
            for number in range(runs):
                await _settle(edited)
                cut = await _cut(edited, number)
                say(f"failover, {kind} {number + 1}/{runs}: {cut}")
                found[kind].append(cut)
    return found


def report(cuts: Cuts) -> list[Row]:
    """The longest time without an answer, of each kind."""
    rows = []
    for kind, runs in cuts.items():
        last = spread(by_name(runs, "last_failure")).median
        beside = f"last failed attempt after {last:.1f} s, load {spread(by_name(runs, 'load')).median:.1f}"
        what = f"failover, {kind}: longest time without an answer"
        rows.append(Row(what, spread(by_name(runs, "outage")), " s", TARGETS.get(kind), beside))
    return rows


def figures(seen: Probes, cut: float) -> Run:
    """What attempts since the cut say: the longest time without an answer, and until when any failed."""
    failed = [at - cut for at, served in seen.attempts if at >= cut and not served]
    attempts = sum(at >= cut for at, _ in seen.attempts)
    return {
        "outage": seen.outage(cut),
        "last_failure": max(failed, default=0.0),
        "failed": len(failed),
        "attempts": attempts,
    }


async def _settle(made: Site) -> None:
    """Everything as the object says: machines that were cut are back."""
    await apply(made)
    known = await noted_addresses(made)
    await must_be_right(made, lambda: ours(made, known))


async def _cut(made: Site, number: int) -> Run:
    async with opened(made) as session:
        endpoint = session.endpoint()
        victim = made.planes[number % len(made.planes)]
        watcher = os.getpid()
        if endpoint.host == LOOPBACK:
            watcher = process(made, next(node.name for node in made.nodes if not node.control_plane))
        else:
            argv = ["ip", "-o", "address"]
            said = await asyncio.gather(*(session.transport(name).run(argv) for name in made.planes))
            held = [f" {endpoint.host}/" in result.stdout for result in said]
            (victim,) = [name for name, holds in zip(made.planes, held, strict=True) if holds]
    ca = made.folder / "ca.crt"
    store = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
    ca.write_bytes(store.part("ca/cluster", "certificate").reveal())
    load = load_average()
    with probing(watcher, endpoint.host, endpoint.port, ca) as seen:
        cut = time.time()
        subprocess.run([*_lxc(made, "lxc-stop", victim), "-k"], check=True, timeout=60)
        time.sleep(WATCHED_SECONDS)
    return {**figures(seen, cut), "load": load}


def process(made: Site, node: str) -> int:
    """The first process of a machine, as this one numbers it."""
    argv = [*_lxc(made, "lxc-info", node), "-p", "-H"]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout)


def _lxc(made: Site, program: str, node: str) -> tuple[str, ...]:
    return (program, "-P", str(made.machine(node).parent), "-n", node)
