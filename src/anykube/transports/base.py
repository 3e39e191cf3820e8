"""What every transport offers. Errors: TransportError (worth another try), HostKeyError, AnswerError.

A transport does one thing at a time per call and keeps one connection per host. It builds no commands:
scripts come from the room that knows their meaning and are passed as an argument list.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes of output kept per command; a host that answers more is answering nonsense (fault B11)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command answered. Text is decoded as UTF-8 with replacement."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host answers SSH. `host_key` is one public key line; anything else is refused."""

    name: str
    address: str
    port: int
    user: str
    host_key: str


class Reader(Protocol):
    """The receiving half of a connection that a host made for us."""

    async def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b'' at the end."""
        ...


class Writer(Protocol):
    """The sending half."""

    def write(self, data: bytes, /) -> None:
        """Send these bytes."""
        ...

    async def drain(self) -> None:
        """Wait until more can be sent."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Transport(Protocol):
    """One host. `round_trips` counts the commands sent, so that tests can bound them."""

    name: str
    round_trips: int

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterator[bytes] | bytes | None = None,
        seconds: float = 60,
    ) -> Result:
        """Run an argument list on the host and wait for it, at most `seconds`.

        A command that is cancelled or too late is ended on the host, with all its children.
        """
        ...

    def stream(self, argv: Sequence[str]) -> AsyncGenerator[str]:
        """Run an argument list and yield its output lines as they come (logs, exec).

        Closing the generator ends the command; a status other than zero raises CommandError at the end.
        """
        ...

    async def open(self, address: str, port: int) -> tuple[Reader, Writer]:
        """A TCP connection that the host makes to a port, its own or another's. The caller closes it.

        TransportError if nothing listens there, or if the host does not forward connections.
        """
        ...

    async def close(self) -> None:
        """Close the connection; a second call does nothing."""
        ...
