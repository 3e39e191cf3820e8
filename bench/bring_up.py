"""Bring-up of one node and of one control plane with two workers: anykube against kubeadm, run in turn.

Both clocks start with a command on fresh machines that run. The machines are made before and removed after;
`whole` is one command more: anykube from nothing, machines included.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from anykube.facts.artifacts import ArtifactLock
from anykube.kube.client import KubeClient
from anykube.pki.store import SecretStore
from anykube.ports import SUPER_ADMIN
from anykube.secret import Secret
from anykube.spec.endpoint import api_endpoint
from anykube.state.clusters import SECRETS, folder
from bench.figures import Row, Say, by_name, load_average, ratios, spread
from bench.finish import unhealthy, watch
from bench.kubeadm import ADMIN, Kubeadm
from bench.lab import Site, addresses, make_machines, opened, site

PROGRAM = Path(sys.executable).with_name("anykube")
MEASURES = ("api", "nodes", "dns", "cpu")
"""The finish lines, and the processor seconds that were used until the last of them."""
TARGETS = {"dns": 0.7}
WHOLE_SECONDS = 30.0
"""From the command to the DNS answer, machines included, everything cached."""


Run = dict[str, float]
"""Seconds to each line, by its name; `cpu` and `load` beside them."""


@dataclass
class Contest:
    """All runs of one topology. A run maps a line to its seconds."""

    workers: int
    anykube: list[Run] = field(default_factory=list)
    kubeadm: list[Run] = field(default_factory=list)
    kubeadm_fair: list[Run] = field(default_factory=list)
    whole: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Such as '1+2'."""
        return f"1+{self.workers}" if self.workers else "1 node"

    def rows(self) -> list[Row]:
        """What is reported of it."""
        if not self.anykube:
            return []
        rivals = {"kubeadm": self.kubeadm, "kubeadm, fair": self.kubeadm_fair}
        rows = [
            Row(
                f"{self.name}: {line}, anykube / {rival}",
                ratios(by_name(self.anykube, line), by_name(runs, line)),
                "",
                TARGETS.get(line),
                f"{spread(by_name(self.anykube, line)).median:.1f} s / "
                f"{spread(by_name(runs, line)).median:.1f} s",
            )
            for rival, runs in rivals.items()
            for line in MEASURES
        ]
        whole = spread(by_name(self.whole, "dns"))
        return [*rows, Row(f"{self.name}: from nothing to dns", whole, " s", WHOLE_SECONDS)]

    def as_dict(self) -> dict[str, object]:
        """JSON form: every run."""
        return {
            "workers": self.workers,
            "anykube": self.anykube,
            "kubeadm": self.kubeadm,
            "kubeadm_fair": self.kubeadm_fair,
            "whole": self.whole,
            "failures": self.failures,
        }


async def measure(workers: int, runs: int, lock: ArtifactLock, say: Say) -> Contest:
    """Every way `runs` times, in turn; the first way changes from round to round."""
    contest = Contest(workers)
    ways: list[tuple[list[Run], str, Callable[[], Awaitable[Run]]]] = [
        (contest.anykube, "anykube", lambda: _anykube(workers, lock, fresh=True)),
        (contest.kubeadm, "kubeadm", lambda: _kubeadm(workers, lock, fair=False)),
        (contest.kubeadm_fair, "kubeadm, fair", lambda: _kubeadm(workers, lock, fair=True)),
        (contest.whole, "anykube from nothing", lambda: _anykube(workers, lock, fresh=False)),
    ]
    for number in range(runs):
        turn, found = number % len(ways), dict[str, Run]()
        try:
            for _, name, bring_up in ways[turn:] + ways[:turn]:
                load = load_average()
                found[name] = {**await bring_up(), "load": load}
                say(f"{contest.name} {number + 1}/{runs} {name}: {_shown(found[name])}")
        except (RuntimeError, TimeoutError) as error:
            # The round counts for nobody, the others do.
            contest.failures.append(repr(error))
            say(f"{contest.name} {number + 1}/{runs} failed: {error!r}")
            continue
        for results, name, _ in ways:
            results.append(found[name])
    return contest


async def _anykube(workers: int, lock: ArtifactLock, *, fresh: bool) -> Run:
    async with site(f"bench-a{workers}", workers, lock) as made:
        if fresh:
            await make_machines(made)
            async with opened(made) as session:
                address = api_endpoint(made.cluster, addresses(session), {}).servers[0][1]
            known = asyncio.ensure_future(asyncio.sleep(0, address))
        else:
            known = asyncio.ensure_future(_address(made))
        used = made.processor_seconds()
        used_here = ended_children()
        started = time.time()
        process = await _begin(made)
        try:
            lines = await watch(made, await known, lambda: _ours(made, known.result()), started)
            status = await process.wait()
        finally:
            known.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status:
            raise RuntimeError(f"anykube apply ended with {status}: {(made.folder / 'log').read_text()}")
        cpu = made.processor_seconds() - used + ended_children() - used_here
        await _must_be_right(made, lambda: _ours(made, known.result()))
        again = await _begin(made)
        await again.wait()
        if "0 changes" not in (text := (made.folder / "log").read_text()):
            raise RuntimeError(f"the second apply changed something: {text}")
        return {**lines.as_dict(), "cpu": cpu}


async def _kubeadm(workers: int, lock: ArtifactLock, *, fair: bool) -> Run:
    async with site(f"bench-k{workers}", workers, lock) as made:
        await make_machines(made)
        async with opened(made) as session:
            rival = Kubeadm(made, session, fair=fair)
            await rival.prepare()
            address = api_endpoint(made.cluster, addresses(session), {}).servers[0][1]
            used = made.processor_seconds()
            started = time.time()
            running = asyncio.ensure_future(rival.run())
            watching = asyncio.ensure_future(watch(made, address, lambda: _theirs(made), started))
            # Whichever ends first: if it is an error of kubeadm, waiting for the lines is pointless.
            await asyncio.wait((running, watching), return_when=asyncio.FIRST_EXCEPTION)
            for task in (running, watching):
                if task.done() and task.exception():
                    watching.cancel()
                    running.cancel()
            await running
            lines = await watching
            cpu = made.processor_seconds() - used
            await _must_be_right(made, lambda: _theirs(made))
            return {**lines.as_dict(), "cpu": cpu}


async def _begin(made: Site) -> asyncio.subprocess.Process:
    with (made.folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            str(PROGRAM),
            *("apply", "-f", str(made.file), "--yes"),
            env={**os.environ, **made.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def _address(made: Site) -> str:
    """The address of the control plane, as soon as the machine is there."""
    head = next(node.name for node in made.nodes if node.control_plane)
    note = made.on_disk(head, "/").parent / "machine.json"
    while not note.exists():
        await asyncio.sleep(0.05)
    return str(json.loads(note.read_text())["address"])


def _ours(made: Site, address: str) -> KubeClient | None:
    secrets = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
    if SUPER_ADMIN not in secrets.names():
        return None
    return KubeClient(
        f"https://{address}:6443",
        secrets.part("ca/cluster", "certificate").reveal(),
        secrets.part(SUPER_ADMIN, "certificate").reveal(),
        secrets.part(SUPER_ADMIN, "key"),
    )


def _theirs(made: Site) -> KubeClient | None:
    head = next(node.name for node in made.nodes if node.control_plane)
    file = made.on_disk(head, ADMIN)
    if not file.exists():
        return None
    config = yaml.safe_load(file.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    return KubeClient(
        server["server"],
        base64.b64decode(server["certificate-authority-data"]),
        base64.b64decode(user["client-certificate-data"]),
        Secret(base64.b64decode(user["client-key-data"])),
    )


async def _must_be_right(made: Site, client: Callable[[], KubeClient | None]) -> None:
    if wrong := await unhealthy(made, client):
        raise RuntimeError(f"{made.cluster.name} came up wrong: {wrong}")


def ended_children() -> float:
    """Processor seconds of the commands that this process started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _shown(run: Run) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in run.items())


def report(contests: Sequence[Contest]) -> list[Row]:
    """All rows of all topologies."""
    return [row for contest in contests for row in contest.rows()]
