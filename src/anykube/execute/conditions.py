"""Named conditions and how to wait for one: poll below a second, until it holds or its deadline is over.

A condition answers '' when it holds, else what it saw last; that is the evidence when time is up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from anykube.errors import AnykubeError, HostKeyError, TransportError, WaitError
from anykube.transports.base import Transport

INTERVAL = 0.1
"""Seconds between two looks."""

Condition = Callable[[], Awaitable[str]]


class ReadyApi(Protocol):
    """What conditions ask of the Kubernetes API."""

    async def ready(self) -> bool:
        """Whether /readyz answers 200."""
        ...

    async def node_ready(self, name: str) -> str:
        """'' if the Node is Ready, else what it says of itself."""
        ...

    async def workload_ready(self, reference: str) -> str:
        """'' if all wanted pods are ready, else how many are."""
        ...


async def wait_for(name: str, condition: Condition, seconds: float, *, remedy: str) -> None:
    """Return as soon as the condition holds. WaitError with what was last seen when time is up."""
    deadline = time.monotonic() + seconds
    seen = "nothing"
    while True:
        try:
            seen = await condition()
        except TransportError as error:
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


def api_ready(api: ReadyApi) -> Condition:
    """The API server says that it is ready."""

    async def look() -> str:
        return "" if await api.ready() else "/readyz does not answer 200"

    return look


def node_ready(api: ReadyApi, name: str) -> Condition:
    """A Node is Ready."""
    return lambda: api.node_ready(name)


def workload_ready(api: ReadyApi, reference: str) -> Condition:
    """All pods that a Deployment or DaemonSet wants are ready."""
    return lambda: api.workload_ready(reference)
