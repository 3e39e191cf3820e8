"""All certificates of a control plane made anew: seconds until they are served, and without an answer.

anykube  `certs renew --all`, which ends when the new ones are seen on the wire
kubeadm  `kubeadm certs renew all`, then the four static pods restarted as its documentation has it: their
         manifests moved away, and back once the processes are gone; without the waits of twenty seconds that
         it advises, so as fast as its kubelet can

Both end when API server and etcd serve new certificates and /readyz answers, which is asked ten times a
second.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.e2e.prober import probing

from anykube.content.etcd import CLIENT_PORT
from anykube.errors import TransportError
from anykube.facts.artifacts import ArtifactLock
from anykube.pki.store import SecretStore
from anykube.spec.endpoint import API_PORT
from anykube.state.clusters import SECRETS, folder
from anykube.transports.base import Transport
from anykube.transports.served import shown_certificate
from bench.contest import Run
from bench.figures import Row, Say, by_name, load_average, ratios, spread
from bench.kubeadm import CONFIG, Kubeadm
from bench.kubeadm_config import MANIFESTS, PKI
from bench.lab import Site, addresses, make_machines, opened, site
from bench.shape import Shape
from bench.sides import PROGRAM, apply, must_be_right, noted_addresses, ours, theirs

SHAPE = Shape(1)
TARGET = 0.5
POLL = 0.05
DEADLINE = 180.0
PORTS = (API_PORT, CLIENT_PORT)
RENEW = f"kubeadm certs renew all --config={CONFIG} >/dev/null"
RESTART = rf"""
names='etcd kube-apiserver kube-controller kube-scheduler'
running() {{ for name in $names; do grep -lxs "$name" /proc/[0-9]*/comm; done | wc -l; }}
mkdir -p /root/aside && mv {MANIFESTS}/*.yaml /root/aside/
while [ "$(running)" -gt 0 ]; do sleep 0.05; done
mv /root/aside/*.yaml {MANIFESTS}/
while [ "$(running)" -lt 4 ]; do sleep 0.05; done
"""
Found = dict[str, list[Run]]


async def measure(runs: int, lock: ArtifactLock, say: Say) -> Found:
    """As many renewals by each, one cluster after the other."""
    found: Found = {"anykube": [], "kubeadm": []}
    async with site("bench-c", SHAPE, lock) as made:
        await apply(made)
        known = await noted_addresses(made)
        await must_be_right(made, lambda: ours(made, known))
        ca = made.folder / "ca.crt"
        store = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
        ca.write_bytes(store.part("ca/cluster", "certificate").reveal())
        async with opened(made) as session:
            transport = session.transport(made.planes[0])
            for number in range(runs):
                found["anykube"].append(await _renewal(transport, known[0], ca, partial(_ours, made)))
                say(f"certificates {number + 1}/{runs} anykube: {found['anykube'][-1]}")
                await must_be_right(made, lambda: ours(made, known))
    async with site("bench-d", SHAPE, lock) as made:
        await make_machines(made)
        async with opened(made) as session:
            rival = Kubeadm(made, session, fair=False)
            await rival.prepare()
            await rival.run()
            await must_be_right(made, lambda: theirs(made))
            transport, address = session.transport(made.planes[0]), addresses(session)[made.planes[0]]
            ca = made.on_disk(made.planes[0], f"{PKI}/ca.crt")
            for number in range(runs):
                found["kubeadm"].append(await _renewal(transport, address, ca, partial(_theirs, transport)))
                say(f"certificates {number + 1}/{runs} kubeadm: {found['kubeadm'][-1]}")
                await must_be_right(made, lambda: theirs(made))
    return found


def report(found: Found) -> list[Row]:
    """Seconds until served, their ratio, and the longest time without an answer of the API."""
    mine, other = found["anykube"], found["kubeadm"]
    load = spread(by_name([*mine, *other], "load")).median
    seconds, theirs_ = by_name(mine, "served"), by_name(other, "served")
    gap = spread(by_name(other, "outage")).median
    beside = f"{spread(seconds).median:.1f} s / {spread(theirs_).median:.1f} s, load {load:.1f}"
    return [
        Row("certificates renewed, anykube / kubeadm", ratios(seconds, theirs_), "", TARGET, beside),
        Row(
            "certificates renewed: API away",
            spread(by_name(mine, "outage")),
            " s",
            0.5,
            f"kubeadm {gap:.1f} s",
        ),
    ]


async def _ours(made: Site) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "certs", "renew", "--all", "--yes", "-f", str(made.file)),
        env={**os.environ, **made.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"anykube certs renew ended with {process.returncode}: {said.decode()}")


async def _theirs(transport: Transport) -> None:
    done = await transport.run(["sh", "-c", f"set -e\n{RENEW}\n{RESTART}"], seconds=DEADLINE)
    if done.status:
        raise RuntimeError(f"kubeadm certs renew: {done.stdout[-1000:]}{done.stderr[-1000:]}")


async def _renewal(transport: Transport, address: str, ca: Path, renew: Callable[[], Awaitable[None]]) -> Run:
    before = [await shown_certificate(transport, address, port, "kubernetes") for port in PORTS]
    load = load_average()
    with probing(os.getpid(), address, API_PORT, ca) as seen:
        started = time.time()
        await renew()
        for port, old in zip(PORTS, before, strict=True):
            await _other(transport, address, port, old)
        served = time.time() - started
    # An answer after the new certificates were seen: until then a restarted server was not ready.
    ready = max(0.0, max((at for at, well in seen.attempts if not well), default=0.0) - started)
    return {"served": max(served, ready), "outage": seen.outage(started), "load": load}


async def _other(transport: Transport, address: str, port: int, old: bytes) -> None:
    """Wait until a port shows another certificate."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                if await shown_certificate(transport, address, port, "kubernetes") != old:
                    return
            except TransportError:
                pass
            await asyncio.sleep(POLL)
