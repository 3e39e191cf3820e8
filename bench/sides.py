"""One bring-up by each side, from a command on fresh machines that run, to the finish lines.

The machines are made before the clock starts, unless anykube is to make them too, and removed afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml

from anykube.facts.artifacts import ArtifactLock
from anykube.kube.client import KubeClient
from anykube.pki.store import SecretStore
from anykube.ports import SUPER_ADMIN
from anykube.secret import Secret
from anykube.spec.endpoint import API_PORT, url
from anykube.state.clusters import SECRETS, folder
from bench.contest import Run
from bench.finish import Lines, unhealthy, watch
from bench.kubeadm import ADMIN, Kubeadm
from bench.lab import Site, addresses, make_machines, opened, site
from bench.shape import Shape

PROGRAM = Path(sys.executable).with_name("anykube")


async def anykube(shape: Shape, lock: ArtifactLock, *, fresh: bool = True) -> Run:
    """By one apply. `fresh`: on machines that are there already; else it makes them too."""
    async with site(f"bench-a{shape.label}", shape, lock) as made:
        if fresh:
            await make_machines(made)
        known = asyncio.ensure_future(noted_addresses(made))
        if fresh:
            await known
        used, used_here = made.processor_seconds(), ended_children()
        started = time.time()
        process = await begin(made)
        try:
            lines = await watch(made, await known, lambda: ours(made, known.result()), started)
            status = await process.wait()
        finally:
            known.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status:
            raise RuntimeError(f"anykube apply ended with {status}: {(made.folder / 'log').read_text()}")
        cpu = made.processor_seconds() - used + ended_children() - used_here
        await must_be_right(made, lambda: ours(made, known.result()))
        if "0 changes" not in (text := await apply(made)):
            raise RuntimeError(f"the second apply changed something: {text}")
        return {**lines.as_dict(), "cpu": cpu}


async def kubeadm(shape: Shape, lock: ArtifactLock, *, fair: bool = False) -> Run:
    """By kubeadm, on machines that are there already and prepared as its documentation asks for."""
    async with site(f"bench-k{shape.label}", shape, lock) as made:
        await make_machines(made)
        async with opened(made) as session:
            rival = Kubeadm(made, session, fair=fair)
            await rival.prepare()
            known = [addresses(session)[name] for name in made.planes]
            used = made.processor_seconds()
            started = time.time()
            lines = await _both(rival.run(), watch(made, known, lambda: theirs(made), started))
            cpu = made.processor_seconds() - used
            await must_be_right(made, lambda: theirs(made))
            return {**lines.as_dict(), "cpu": cpu}


async def _both(running: Awaitable[None], watching: Awaitable[Lines]) -> Lines:
    """What is watched, once that which runs has ended too. If either fails, the other is not waited for."""
    run, watched = asyncio.ensure_future(running), asyncio.ensure_future(watching)
    await asyncio.wait((run, watched), return_when=asyncio.FIRST_EXCEPTION)
    for task in (run, watched):
        if task.done() and task.exception():
            watched.cancel()
            run.cancel()
    await run
    return await watched


async def begin(made: Site) -> asyncio.subprocess.Process:
    """Start anykube apply; what it says goes to the file `log`."""
    with (made.folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            str(PROGRAM),
            *("apply", "-f", str(made.file), "--yes"),
            env={**os.environ, **made.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def apply(made: Site) -> str:
    """Run anykube apply to its end; what it said. RuntimeError if it failed."""
    process = await begin(made)
    status = await process.wait()
    text = (made.folder / "log").read_text(errors="replace")
    if status:
        raise RuntimeError(f"anykube apply ended with {status}: {text}")
    return text


async def noted_addresses(made: Site) -> list[str]:
    """The addresses of the control planes, as soon as these machines are there."""
    notes = [made.machine(name) / "machine.json" for name in made.planes]
    while not all(note.exists() for note in notes):
        await asyncio.sleep(0.05)
    return [str(json.loads(note.read_text())["address"]) for note in notes]


def ours(made: Site, known: list[str]) -> KubeClient | None:
    """The API of a cluster that anykube brings up; None until there are credentials."""
    secrets = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
    if SUPER_ADMIN not in secrets.names():
        return None
    return KubeClient(
        (url(known[0], API_PORT),),
        secrets.part("ca/cluster", "certificate").reveal(),
        secrets.part(SUPER_ADMIN, "certificate").reveal(),
        secrets.part(SUPER_ADMIN, "key"),
    )


def theirs(made: Site) -> KubeClient | None:
    """The API of a cluster that kubeadm brings up; None until there are credentials."""
    file = made.on_disk(made.planes[0], ADMIN)
    if not file.exists():
        return None
    config = yaml.safe_load(file.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    return KubeClient(
        (server["server"],),
        base64.b64decode(server["certificate-authority-data"]),
        base64.b64decode(user["client-certificate-data"]),
        Secret(base64.b64decode(user["client-key-data"])),
    )


async def must_be_right(made: Site, client: Callable[[], KubeClient | None]) -> None:
    """RuntimeError unless all nodes are Ready and all pods run."""
    if wrong := await unhealthy(made, client):
        raise RuntimeError(f"{made.cluster.name} came up wrong: {wrong}")


def ended_children() -> float:
    """Processor seconds of the commands that this process started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
