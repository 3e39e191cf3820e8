"""An apply with nothing to do: the whole command's time, and round trips to each host."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from anykube.facts.artifacts import ArtifactLock
from anykube.observe.cluster import observe
from anykube.transports.ssh import SSHTransport
from bench.bring_up import PROGRAM, ended_children
from bench.figures import Row, Say, load_average, spread
from bench.lab import Site, opened, site

SIZES = (1, 2, 5)
ROUND_TRIPS = 3
FIVE_NODES_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NoOp:
    """What was measured on a cluster of `nodes` nodes."""

    nodes: int
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    round_trips: tuple[int, ...]
    load: float

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "nodes": self.nodes,
            "seconds": self.seconds,
            "cpu": self.cpu,
            "round_trips": self.round_trips,
            "load": self.load,
        }


async def measure(size: int, runs: int, lock: ArtifactLock, say: Say) -> NoOp:
    """Bring a cluster up, then apply again and again."""
    async with site(f"bench-n{size}", size - 1, lock) as made:
        await _apply(made)
        seconds, cpu = [], []
        for _ in range(runs):
            started, used = time.monotonic(), ended_children()
            said = await _apply(made)
            seconds.append(time.monotonic() - started)
            cpu.append(ended_children() - used)
            if "0 changes" not in said:
                raise RuntimeError(f"an apply that should change nothing said: {said}")
        trips = await _round_trips(made)
        say(f"no-op, {size} nodes: {spread(seconds).median:.2f} s, round trips {trips}")
        return NoOp(size, tuple(seconds), tuple(cpu), trips, load_average())


def report(applies: list[NoOp]) -> list[Row]:
    """Time and round trips of each size."""
    rows = []
    for apply in applies:
        limit = FIVE_NODES_SECONDS if apply.nodes == max(SIZES) else None
        what, load = (
            f"no-op apply, {apply.nodes} nodes",
            f"load {apply.load:.1f}, cpu {spread(apply.cpu).median:.2f} s",
        )
        rows.append(Row(what, spread(apply.seconds), " s", limit, load))
        rows.append(Row(f"{what}: round trips a host", spread(apply.round_trips), "", ROUND_TRIPS))
    return rows


async def _round_trips(made: Site) -> tuple[int, ...]:
    """Commands that one look sends to each host: all that a no-op apply sends."""
    async with opened(made) as session:
        await observe(session.cluster, session.ports(), session.draw(()))
        transports = [session.transport(node.name) for node in made.nodes]
        return tuple(host.round_trips for host in transports if isinstance(host, SSHTransport))


async def _apply(made: Site) -> str:
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *("apply", "-f", str(made.file), "--yes"),
        env={**os.environ, **made.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"anykube apply ended with {process.returncode}: {text}")
    return text
