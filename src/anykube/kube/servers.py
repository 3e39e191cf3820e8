"""All API servers of a cluster behind one `send`: the one that worked last is asked, then the others. I/O.

Stands between client.py and the connections. Every request may be repeated, so nobody needs to know which
server answered; one that is dead costs its time-out once and is not asked again while another works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from anykube.errors import KubeError, TransportError
from anykube.kube.connection import JSON, REQUEST_SECONDS, Answer, Connection, printable

ATTEMPT_SECONDS = 10.0
"""For one server while others are left: one whose machine is gone or frozen keeps its connections open."""
DOUBTFUL = frozenset({500, 502, 503, 504})
"""A server that starts, stops, or has lost its etcd: the next request goes elsewhere."""


class Servers:
    """One or more API servers of the same cluster, in order of preference."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = tuple(connections)
        self._current = 0
        self._asking: dict[int, asyncio.Task[str]] = {}

    @property
    def server(self) -> str:
        """The URL of the server that is asked first."""
        return self._connections[self._current].server

    async def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = JSON,
        accept: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> Answer:
        """One request, answered by whichever server can; see Connection.send.

        Each has `seconds`, or less while others are left. TransportError when none answers.
        """
        errors: list[TransportError | KubeError] = []
        order = self._order()
        for index in order:
            last = index == order[-1]
            try:
                answer = await self._connections[index].send(
                    method,
                    path,
                    parameters=parameters,
                    content=content,
                    media_type=media_type,
                    accept=accept,
                    seconds=seconds if last else min(seconds, ATTEMPT_SECONDS),
                )
            except (TransportError, KubeError) as error:
                errors.append(error)
                continue
            self._current = index
            if answer.status in DOUBTFUL:
                self._current = (index + 1) % len(order)
            return answer
        raise _none_answers(errors)

    async def readiness(self, seconds: float) -> str:
        """'' when any server is ready, which is then asked first; else why none is. Never raises."""
        asked = self._ask_all(seconds)
        waiting = set(asked)
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ready = [i for i in self._order() if asked[i].done() and asked[i].result() == ""]
            if ready:
                self._current = ready[0]
                return ""
        if len(asked) == 1:
            return asked[0].result()
        return "; ".join(
            f"{one.server}: {task.result()}" for one, task in zip(self._connections, asked, strict=True)
        )

    async def readiness_of_each(self, seconds: float) -> Mapping[str, str]:
        """Of every server, by URL: '' when it is ready, else why not. Never raises."""
        reasons = await asyncio.gather(*self._ask_all(seconds))
        return dict(zip((one.server for one in self._connections), reasons, strict=True))

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._connections))

    def _ask_all(self, seconds: float) -> list[asyncio.Task[str]]:
        """Whether each is ready, all at once. A question that waits for its answer is not asked again.

        Nor is it cancelled: a TLS handshake that is broken off leaves its socket open (httpcore2).
        """
        for index in range(len(self._connections)):
            if index not in self._asking or self._asking[index].done():
                self._asking[index] = asyncio.ensure_future(self._readiness(index, seconds))
        return [self._asking[index] for index in range(len(self._connections))]

    def _order(self) -> list[int]:
        count = len(self._connections)
        return [(self._current + step) % count for step in range(count)]

    async def _readiness(self, index: int, seconds: float) -> str:
        try:
            answer = await self._connections[index].send("GET", "/readyz", seconds=seconds)
        except (TransportError, KubeError) as error:
            return "; ".join((error.brief, *error.evidence))
        if answer.status == 200:
            return ""
        return f"/readyz answers {answer.status}: {printable(answer.body.decode(errors='replace'))}"


def _none_answers(errors: Sequence[TransportError | KubeError]) -> TransportError | KubeError:
    """One error for all servers. It is worth another try unless each of them was wrong, not silent."""
    if len(errors) == 1 or not any(isinstance(error, TransportError) for error in errors):
        return errors[0]
    evidence = tuple(" ".join((error.brief, *error.evidence)) for error in errors)
    return TransportError("No API server of the cluster answers.", evidence=evidence)
