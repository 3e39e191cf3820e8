"""Plan time for many simulated hosts: the object is loaded and planned, on facts that are there already.

fresh      nothing exists: every step of every node is pending
converged  everything is as it should be: nothing is pending, and everything was compared
"""

from __future__ import annotations

import gc
import json
import math
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from anykube.facts.cluster import Facts
from anykube.facts.record import Record
from anykube.plan.assemble import plan
from anykube.plan.blueprint import Blueprint, MachineBlueprint
from anykube.spec.catalog import DEFAULT_VERSION
from anykube.spec.load import load
from anykube.spec.nodes import nodes
from bench.figures import Row, Say, load_average, spread

SIZES = (5, 50, 500, 1000)
FIRST_ADDRESS = IPv4Address("10.80.0.10")
THOUSAND_SECONDS = 3.0
EXPONENT = 1.1
SMALLEST_FITTED = 50
"""Below this the fixed cost hides how the time grows."""

TESTS = Path(__file__).parents[1] / "tests" / "unit" / "plan"


@dataclass(frozen=True, slots=True)
class PlanTime:
    """Seconds for one kind of world and number of hosts: on the wall, and of a processor."""

    world: str
    hosts: int
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    steps: int
    memory: int
    load: float

    def as_dict(self) -> dict[str, object]:
        """JSON form. `memory` is the most that this process ever had, in MiB."""
        return {
            "world": self.world,
            "hosts": self.hosts,
            "seconds": self.seconds,
            "cpu": self.cpu,
            "steps": self.steps,
            "memory": self.memory,
            "load": self.load,
        }


def measure(sizes: Sequence[int], runs: int, say: Say) -> list[PlanTime]:
    """All sizes, fresh and converged."""
    times = []
    for size in sizes:
        text = object_text(size)
        for name, (facts, record, blueprint) in _worlds(text).items():
            seconds, cpu = [], []
            for _ in range(runs):
                gc.collect()
                started, used = time.perf_counter(), time.process_time()
                cluster = load(text, "bench")
                made = plan(cluster, facts, record, blueprint, cluster)
                seconds.append(time.perf_counter() - started)
                cpu.append(time.process_time() - used)
            if (name == "converged") != (not made.pending):
                raise RuntimeError(f"{name}, {size} hosts: {len(made.pending)} pending steps")
            steps = sum(len(phase.steps) for phase in made.phases)
            times.append(PlanTime(name, size, tuple(seconds), tuple(cpu), steps, _memory(), load_average()))
            say(f"plan, {size} hosts, {name}: {min(seconds):.3f} s, {min(cpu):.3f} s of a processor")
    return times


def object_text(size: int) -> str:
    """A cluster of `size` machines: one control plane, the others workers."""
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"]},
        {"name": "worker", "roles": ["worker"], "count": size - 1},
    ]
    spec = {
        "kubernetes": {"version": DEFAULT_VERSION},
        "machines": {"provider": {"lxc": {"subnet": "10.80.0.0/16"}}, "pools": pools},
        "network": {"pods": "10.128.0.0/12", "services": "10.96.0.0/16"},
    }
    whole = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "bench"}}
    return json.dumps({**whole, "spec": spec}, indent=1)


def report(times: Sequence[PlanTime]) -> list[Row]:
    """Seconds of each size, and how they grow."""
    rows = [
        Row(
            f"plan, {found.hosts} hosts, {found.world}",
            spread(found.seconds),
            " s",
            THOUSAND_SECONDS if found.hosts == max(SIZES) else None,
            f"cpu {spread(found.cpu).median:.2f} s, {found.steps} steps, {found.memory} MiB, "
            f"load {found.load:.1f}",
        )
        for found in times
    ]
    for world in dict.fromkeys(found.world for found in times):
        fitted = [found for found in times if found.world == world and found.hosts >= SMALLEST_FITTED]
        if len(fitted) > 1:
            rows.append(Row(f"plan, growth exponent, {world}", spread([exponent(fitted)]), "", EXPONENT))
    return rows


def exponent(times: Sequence[PlanTime]) -> float:
    """The slope of log(processor seconds) over log(hosts), by least squares: 1 is linear, 2 quadratic."""
    points = [(math.log(found.hosts), math.log(min(found.cpu))) for found in times]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return covariance / sum((x - mean_x) ** 2 for x, _ in points)


def _worlds(text: str) -> dict[str, tuple[Facts, Record, Blueprint]]:
    """Facts of a world in which nothing exists, and of one in which the plan was carried out."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    from world import World  # type: ignore[import-not-found]

    class Large(World):  # type: ignore[misc]
        """A world whose addresses go beyond the last byte."""

        def blueprint(self) -> Blueprint:
            drawn: Blueprint = super().blueprint()
            machines = {
                node.name: MachineBlueprint(str(FIRST_ADDRESS + number))
                for number, node in enumerate(nodes(self.cluster))
            }
            return Blueprint(machines, drawn.choices, drawn.parts, drawn.baked)

    world = Large(load(text, "bench"))
    fresh = (world.facts(), world.record, world.blueprint())
    for _ in range(5):
        made = world.plan(world.cluster)
        for phase in made.phases:
            if phase.pending:
                for step in phase.pending:
                    for effect in step.effects:
                        world.perform(effect)
                break
    return {"fresh": fresh, "converged": (world.facts(), world.record, world.blueprint())}


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
