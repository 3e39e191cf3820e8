"""Named conditions and how to wait for one: poll below a second, until it holds or its deadline is over.

A condition answers '' when it holds, else what it saw last; that is the evidence when time is up.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial

from anykube.errors import AnykubeError, HostKeyError, WaitError
from anykube.kube.client import KubeClient
from anykube.kube.endpoint import endpoint_trouble
from anykube.kube.parse import root_ca_digest
from anykube.transports.base import Transport
from anykube.transports.served import shown_certificate

INTERVAL = 0.1
"""Seconds between two looks."""

SERVER_NAME = "kubernetes"
"""What the certificate of every API server names; other servers have one certificate for all names."""

Condition = Callable[[], Awaitable[str]]


async def wait_for(name: str, condition: Condition, seconds: float, *, remedy: str) -> None:
    """Return as soon as the condition holds. WaitError with what was last seen when time is up."""
    deadline = time.monotonic() + seconds
    seen = "nothing"
    while True:
        try:
            seen = await condition()
        except AnykubeError as error:
            if not error.retryable:
                raise
            seen = error.brief
        if not seen:
            return
        if time.monotonic() >= deadline:
            raise WaitError(f"{name} did not happen within {seconds:.0f} s.", evidence=[seen], remedy=remedy)
        await asyncio.sleep(INTERVAL)


def ssh_answers(transport: Transport) -> Condition:
    """A machine runs commands for us. A wrong host key is not waited out."""

    async def look() -> str:
        try:
            result = await transport.run(["true"], seconds=5)
        except HostKeyError:
            raise
        except AnykubeError as error:
            return error.brief
        return "" if result.status == 0 else f"status {result.status}"

    return look


def api_ready(api: KubeClient) -> Condition:
    """The API server says that it is ready."""
    return api.readiness


def endpoint_ready(url: str, authority: bytes) -> Condition:
    """A shared address leads to an API server that is ready, and is trusted there."""
    return partial(endpoint_trouble, url, authority)


def server_ready(api: KubeClient, server: str) -> Condition:
    """One API server, by its URL, says that it is ready."""

    async def look() -> str:
        return (await api.readiness_of_each()).get(server, "")

    return look


def served(transport: Transport, address: str, port: int, certificate: bytes) -> Condition:
    """What listens behind a port of a host shows this certificate (PEM)."""

    async def look() -> str:
        shown = await shown_certificate(transport, address, port, SERVER_NAME)
        return (
            "" if shown == ssl.PEM_cert_to_DER_cert(certificate.decode()) else "it shows another certificate"
        )

    return look


def node_ready(api: KubeClient, name: str) -> Condition:
    """A Node is registered and Ready."""

    async def look() -> str:
        node = await api.node(name)
        if node is None:
            return "its kubelet has not registered it"
        return "" if node.ready else node.reason or "it is not Ready"

    return look


def node_runs(api: KubeClient, name: str, version: str) -> Condition:
    """A Node is Ready, and its kubelet says that it is of this version."""

    async def look() -> str:
        node = await api.node(name)
        if node is not None and node.version != version:
            return f"its kubelet is still {node.version}"
        return await ready()

    ready = node_ready(api, name)
    return look


def ca_published(api: KubeClient, bundle: bytes) -> Condition:
    """Every namespace tells its pods to trust these certificates."""
    wanted = hashlib.sha256(bundle).hexdigest()

    async def look() -> str:
        published = await api.list_objects("ConfigMap", fields="metadata.name=kube-root-ca.crt")
        late = [thing["metadata"]["namespace"] for thing in published if root_ca_digest(thing) != wanted]
        return f"another CA is still in: {', '.join(late[:5])}" if late else ""

    return look


def workload_ready(api: KubeClient, reference: str, absent: int = 0) -> Condition:
    """All pods that a Deployment or DaemonSet wants are ready, but for those on so many absent nodes."""

    async def look() -> str:
        workload = await api.workload(reference)
        if workload is None:
            return "it does not exist"
        if workload.ready >= workload.wanted - absent:
            return ""
        return f"{workload.ready} of {workload.wanted} pods are ready"

    return look
