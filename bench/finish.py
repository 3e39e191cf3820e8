"""The finish lines, looked at from outside in the same way for both sides.

api      GET /readyz of the first control plane answers 200, without credentials
servers  that of every control plane does
nodes    every node of the cluster is Ready
dns      a pod resolved kubernetes.default.svc and a Service; the pod notes the moment in a file of its node
all      the last of these
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anykube.content.context import API_PORT
from anykube.errors import KubeError, TransportError
from anykube.kube.client import KubeClient
from anykube.spec.catalog import DEFAULT_VERSION, image_reference, release
from bench.lab import Site

POLL = 0.1
DEADLINE = 240.0
ANSWER = "/var/lib/kubelet/bench"
LABEL = {"app": "probe"}

# A lookup that is sent before DNS serves may hang for seconds: so a new one starts five times a second, and
# the first that succeeds makes the file. noclobber keeps its time.
PROBE = """\
set -C
until [ -e /answer/done ]; do
  ( for name in kubernetes web; do
      /bin/busybox nslookup "$name.default.svc.cluster.local." >/dev/null 2>&1 || exit
    done; : >/answer/done ) 2>/dev/null &
  /bin/busybox sleep 0.2
done
exec /bin/busybox sleep 86400
"""


@dataclass(frozen=True, slots=True)
class Lines:
    """Seconds from the start to each line."""

    api: float
    servers: float
    nodes: float
    dns: float

    def as_dict(self) -> dict[str, float]:
        """JSON form."""
        each = {"api": self.api, "servers": self.servers, "nodes": self.nodes, "dns": self.dns}
        return {**each, "all": max(each.values())}


Client = Callable[[], KubeClient | None]


async def watch(site: Site, addresses: Sequence[str], client: Client, started: float) -> Lines:
    """Wait for all lines. `addresses` are those of the control planes, `started` is a time.time(); `client`
    answers None until there are credentials."""
    async with asyncio.timeout(DEADLINE):
        context = _trusting()
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(_serves(address, context)) for address in addresses]
            api = await serving[0]
            while (kube := client()) is None:
                await asyncio.sleep(POLL)
            async with kube:
                for thing in probe_objects():
                    await _until(lambda thing=thing: _applied(kube, thing))  # type: ignore[misc]
                wanted = {node.name for node in site.nodes if node.kubelet}
                await _until(lambda: _all_ready(kube, wanted))
                ready = time.time()
            dns = await _answer(site)
        servers = max(task.result() for task in serving)
    return Lines(api - started, servers - started, ready - started, dns - started)


async def _serves(address: str, context: ssl.SSLContext) -> float:
    """When an API server first said that it is ready."""
    await _until(lambda: _healthy(address, context))
    return time.time()


async def unhealthy(site: Site, client: Client) -> str:
    """'' when all nodes are Ready and all pods run; else the first thing that is wrong, after a while."""
    kube = client()
    assert kube is not None
    wrong = "nothing was seen"
    async with kube:
        for _ in range(200):
            wrong = await _wrong(site, kube)
            if not wrong:
                return ""
            await asyncio.sleep(0.2)
    return wrong


async def _wrong(site: Site, kube: KubeClient) -> str:
    if not await _all_ready(kube, {node.name for node in site.nodes if node.kubelet}):
        return "not all nodes are Ready"
    pods = await kube.pods()
    bad = [pod for pod in pods if pod.phase != "Running" or pod.ready < pod.containers]
    return str(bad[0]) if bad else "" if pods else "there are no pods"


def probe_objects() -> tuple[Mapping[str, Any], ...]:
    """A Service and the pod that asks for it."""
    image = image_reference("flannel", release(DEFAULT_VERSION).flannel)
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-c", PROBE],
        "volumeMounts": [{"name": "answer", "mountPath": "/answer"}],
    }
    folder = {"name": "answer", "hostPath": {"path": ANSWER, "type": "DirectoryOrCreate"}}
    pod = {"containers": [container], "volumes": [folder], "terminationGracePeriodSeconds": 0}
    service = {"selector": LABEL, "ports": [{"port": 80, "protocol": "TCP"}]}
    deployment = {
        "replicas": 1,
        "selector": {"matchLabels": LABEL},
        "template": {"metadata": {"labels": LABEL}, "spec": pod},
    }
    return (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": service,
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "probe", "namespace": "default"},
            "spec": deployment,
        },
    )


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():
        await asyncio.sleep(POLL)


def _trusting() -> ssl.SSLContext:
    """Accepts any certificate, and reads none from the disk: made once, because looking must cost nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _healthy(address: str, context: ssl.SSLContext) -> bool:
    try:
        reader, writer = await asyncio.open_connection(address, API_PORT, ssl=context)
    except OSError:
        return False
    try:
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _applied(kube: KubeClient, thing: Mapping[str, Any]) -> bool:
    try:
        await kube.apply(thing)
    except (KubeError, TransportError):
        return False
    return True


async def _all_ready(kube: KubeClient, wanted: set[str]) -> bool:
    try:
        found = await kube.nodes()
    except (KubeError, TransportError):
        return False
    return wanted <= {name for name, node in found.items() if node.ready}


async def _answer(site: Site) -> float:
    places = [site.on_disk(node.name, f"{ANSWER}/done") for node in site.nodes]
    while True:
        for place in places:
            if place.exists():
                return place.stat().st_mtime
        await asyncio.sleep(POLL)
