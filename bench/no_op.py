"""An apply with nothing to do: the whole command's time, and round trips to each host."""

from __future__ import annotations

import time
from dataclasses import dataclass

from anykube.facts.artifacts import ArtifactLock
from anykube.observe.cluster import observe
from anykube.transports.ssh import SSHTransport
from bench.figures import Row, Say, load_average, spread
from bench.lab import Site, opened, site
from bench.shape import Shape
from bench.sides import apply, ended_children

SHAPES = (Shape(1), Shape(1, 1), Shape(1, 4), Shape(3, 2))
ROUND_TRIPS = 3
FIVE_NODES, FIVE_NODES_SECONDS = 5, 2.0


@dataclass(frozen=True, slots=True)
class NoOp:
    """What was measured on a cluster of this shape."""

    shape: Shape
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    round_trips: tuple[int, ...]
    load: float

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {
            "topology": self.shape.name,
            "nodes": self.shape.size,
            "seconds": self.seconds,
            "cpu": self.cpu,
            "round_trips": self.round_trips,
            "load": self.load,
        }


async def measure(shape: Shape, runs: int, lock: ArtifactLock, say: Say) -> NoOp:
    """Bring a cluster up, then apply again and again."""
    async with site(f"bench-n{shape.label}", shape, lock) as made:
        await apply(made)
        seconds, cpu = [], []
        for _ in range(runs):
            started, used = time.monotonic(), ended_children()
            said = await apply(made)
            seconds.append(time.monotonic() - started)
            cpu.append(ended_children() - used)
            if "0 changes" not in said:
                raise RuntimeError(f"an apply that should change nothing said: {said}")
        trips = await _round_trips(made)
        say(f"no-op, {shape.name}: {spread(seconds).median:.2f} s, round trips {trips}")
        return NoOp(shape, tuple(seconds), tuple(cpu), trips, load_average())


def report(applies: list[NoOp]) -> list[Row]:
    """Time and round trips of each size."""
    rows = []
    for found in applies:
        limit = FIVE_NODES_SECONDS if found.shape.size == FIVE_NODES else None
        what = f"no-op apply, {found.shape.name}"
        beside = f"load {found.load:.1f}, cpu {spread(found.cpu).median:.2f} s"
        rows.append(Row(what, spread(found.seconds), " s", limit, beside))
        rows.append(Row(f"{what}: round trips a host", spread(found.round_trips), "", ROUND_TRIPS))
    return rows


async def _round_trips(made: Site) -> tuple[int, ...]:
    """Commands that one look sends to each host: all that a no-op apply sends."""
    async with opened(made) as session:
        await observe(session.cluster, session.ports(), session.draw(()))
        transports = [session.transport(node.name) for node in made.nodes]
        return tuple(host.round_trips for host in transports if isinstance(host, SSHTransport))
