"""A patch upgrade of a whole cluster: anykube beside kubeadm, in turn, each on a new cluster.

anykube            `upgrade --to`, with what it does besides: etcd's snapshot, new software sent to all nodes
kubeadm            its documented steps; the new software is on the nodes before (bench/kubeadm_upgrade.py)
kubeadm, no drain  the same, and pods stay where they are, as they do with anykube in a patch upgrade

all      seconds from the command until every Node is Ready with the new version and takes pods, and the
         cluster's DNS answers a worker
outage   the longest time without an answer of the API, at the address that each side gave to the workers:
         of anykube the balancer of the node, or the only server; of kubeadm the first server
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.e2e.names import resolve
from tests.e2e.prober import probing

from anykube.errors import KubeError, TransportError
from anykube.facts.artifacts import ArtifactLock
from anykube.kube.client import KubeClient
from anykube.pki.store import SecretStore
from anykube.spec.catalog import ARTIFACTS
from anykube.spec.endpoint import API_PORT
from anykube.state.clusters import SECRETS, folder
from bench.contest import Contest, Run, Ways
from bench.failover import process
from bench.figures import Row, Say, by_name, spread
from bench.images import software
from bench.kubeadm import Kubeadm
from bench.kubeadm_config import PKI
from bench.kubeadm_upgrade import upgrade, with_next
from bench.lab import Site, addresses, make_machines, opened, site
from bench.shape import Shape
from bench.sides import PROGRAM, apply, must_be_right, noted_addresses, ours, theirs

OLD, NEW = "1.36.1", "1.36.3"
SHAPES = (Shape(1, 2), Shape(3, 2))
OURS, THEIRS, STAYING = "anykube", "kubeadm", "kubeadm, no drain"
TARGET = 0.8
GAP_TARGET = 5.0
"""With three control planes; a single one restarts its only server."""
POLL = 0.1
DEADLINE = 240.0
VERSION = {"version": OLD}


async def measure(shapes: Sequence[Shape], runs: int, say: Say) -> list[Contest]:
    """One contest a topology."""
    old = await software(OLD)
    # anykube looks for the next version of all that is locked, so images that only kubeadm needs are not.
    plain = replace(old, artifacts={name: old.artifacts[name] for name in ARTIFACTS if name in old.artifacts})
    rival = with_next(old, await software(NEW))
    contests = []
    for shape in shapes:
        contest = Contest(f"upgrade {shape.name}")
        await contest.hold(_ways(shape, plain, rival), runs, say)
        contests.append(contest)
    return contests


def report(contests: Sequence[Contest]) -> list[Row]:
    """Ratios to kubeadm, and the longest time without an answer of the API."""
    return [row for contest in contests if contest.rounds for row in _rows(contest)]


def _rows(contest: Contest) -> list[Row]:
    mine, other = (spread(by_name(contest.runs[way], "outage")) for way in (OURS, THEIRS))
    target = GAP_TARGET if contest.name != f"upgrade {SHAPES[0].name}" else None
    return [
        contest.compared(OURS, THEIRS, "all", TARGET),
        contest.compared(OURS, STAYING, "all"),
        Row(f"{contest.name}: API away", mine, " s", target, f"kubeadm {other.median:.1f} s"),
    ]


def _ways(shape: Shape, plain: ArtifactLock, rival: ArtifactLock) -> Ways:
    return {
        OURS: lambda: _anykube(shape, plain),
        THEIRS: lambda: _kubeadm(shape, rival, drain=True),
        STAYING: lambda: _kubeadm(shape, rival, drain=False),
    }


async def _anykube(shape: Shape, lock: ArtifactLock) -> Run:
    async with site(f"bench-u{shape.label}", shape, lock, kubernetes=VERSION) as made:
        await apply(made)
        known = await noted_addresses(made)
        await must_be_right(made, lambda: ours(made, known))
        ca = made.folder / "ca.crt"
        store = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
        ca.write_bytes(store.part("ca/cluster", "certificate").reveal())
        async with opened(made) as session:
            endpoint = session.endpoint()
        client = ours(made, known)
        assert client is not None
        run = await _timed(made, client, (endpoint.host, endpoint.port), ca, lambda: _command(made))
        await must_be_right(made, lambda: ours(made, known))
        return run


async def _kubeadm(shape: Shape, lock: ArtifactLock, *, drain: bool) -> Run:
    async with site(f"bench-v{shape.label}", shape, lock, kubernetes=VERSION) as made:
        await make_machines(made)
        async with opened(made) as session:
            rival = Kubeadm(made, session, fair=False)
            await rival.prepare()
            await rival.run()
            await must_be_right(made, lambda: theirs(made))
            workers = [node.name for node in made.nodes if not node.control_plane]
            server = addresses(session)[made.planes[0]], API_PORT
            client = theirs(made)
            assert client is not None
            run = await _timed(
                made,
                client,
                server,
                made.on_disk(made.planes[0], f"{PKI}/ca.crt"),
                lambda: upgrade(rival, made.planes, workers, NEW, drain=drain),
            )
            await must_be_right(made, lambda: theirs(made))
            return run


async def _timed(
    made: Site, client: KubeClient, server: tuple[str, int], ca: Path, work: Callable[[], Awaitable[None]]
) -> Run:
    """Upgrade, and wait until it is seen. `server`: where the workers reach the API."""
    watcher = process(made, made.nodes[-1].name)
    with probing(watcher, *server, ca) as seen:
        started = time.time()
        await work()
        command = time.time() - started
        async with client, asyncio.timeout(DEADLINE):
            await _until(lambda: _upgraded(client, {node.name for node in made.nodes}))
            await _until(lambda: _answers(watcher))
        done = time.time() - started
    return {"all": done, "command": command, "outage": seen.outage(started)}


async def _command(made: Site) -> None:
    environment = {**os.environ, **made.environment}
    argv = (str(PROGRAM), "upgrade", "--to", NEW, "-f", str(made.file), "--yes")
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    begun = await asyncio.create_subprocess_exec(*argv, env=environment, stdin=null, stdout=null, stderr=pipe)
    _, said = await begun.communicate()
    if begun.returncode:
        raise RuntimeError(f"anykube upgrade ended with {begun.returncode}: {said.decode()}")


async def _upgraded(client: KubeClient, wanted: set[str]) -> bool:
    try:
        found = await client.nodes()
    except (KubeError, TransportError):
        return False
    done = {name for name, node in found.items() if node.ready and not node.unschedulable}
    return wanted <= done and all(found[name].version.lstrip("v") == NEW for name in wanted)


async def _answers(watcher: int) -> bool:
    with suppress(OSError, AssertionError):
        await asyncio.to_thread(resolve, watcher)
        return True
    return False


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():
        await asyncio.sleep(POLL)
