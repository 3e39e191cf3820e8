"""SSH by asyncssh: one connection per host, opened when first needed and kept, many commands over it.

A host is who its pinned key says, nobody else: no known_hosts file, no agent, no ssh_config takes part.
asyncssh is imported when a connection is opened, so that commands that need no host start fast.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import shlex
import signal
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from anykube.errors import (
    AnswerError,
    AnykubeError,
    CommandError,
    HostKeyError,
    StateError,
    TransportError,
)
from anykube.secret import Secret
from anykube.transports.base import Endpoint, Reader, Result, Writer
from anykube.transports.exchange import Input, exchange, printable
from anykube.transports.lines import lines

if TYPE_CHECKING:
    import asyncssh

CONNECT_SECONDS = 10
START_SECONDS = 1
STOP_SECONDS = 4
SESSIONS = 5
"""Commands at once on a connection. OpenSSH allows ten sessions; one is kept to stop others. A busy server
still counts those that ended a moment ago: with eight of ours it refused the next."""
HANDSHAKES = 64
"""Connections being opened at once, over all hosts: more only make each other time out."""
KEEPALIVE_SECONDS = 5
KEEPALIVE_MISSES = 3
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")
"""Authenticated ciphers that the processor speeds up come first; the last one is for old servers."""

START = (
    "[ ! -r /proc/$$/stat ] || read -r a b c d group e </proc/$$/stat; "
    'echo "anykube-group ${group:-$$}"; exec "$@"'
)
"""Says the process group before it becomes the command: sshd gives root no other way to stop a command,
and what a login shell prints before this line is noise, not answer."""
STARTED = re.compile(rb"anykube-group (\d{1,10})\n")
STOP = """kill -TERM "-$1" 2>/dev/null || exit 0
for moment in 1 2 3 4 5 6 7 8 9 10; do kill -0 "-$1" 2>/dev/null || exit 0; sleep 0.1; done
kill -KILL "-$1" 2>/dev/null || exit 0"""

_handshakes: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class SSHTransport:
    """One host over SSH. `key` is a private key in OpenSSH or PEM form."""

    def __init__(self, endpoint: Endpoint, key: Secret) -> None:
        self.name = endpoint.name
        self.round_trips = 0
        self._endpoint = endpoint
        self._key = key
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening = asyncio.Lock()
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._stopping = asyncio.Lock()

    async def run(self, argv: Sequence[str], *, stdin: Input = None, seconds: float = 60) -> Result:
        """Run an argument list on the host and wait for it, at most `seconds`."""
        async with self._sessions:
            connection = await self._connect()
            self.round_trips += 1
            try:
                async with asyncio.timeout(seconds):
                    return await self._run(connection, argv, stdin)
            except TimeoutError as error:
                raise TransportError(
                    f"{self.name}: {printable(argv[0])} did not answer within {seconds:g} s; it was stopped.",
                    remedy="Look whether the host is overloaded, then run the command again.",
                ) from error
            except OSError as error:
                raise self._lost(error) from error
            except _ssh().Error as error:
                raise self._lost(error) from error

    async def _run(
        self, connection: asyncssh.SSHClientConnection, argv: Sequence[str], stdin: Input
    ) -> Result:
        process = await self._begin(connection, argv)
        output = (bytearray(), bytearray())
        try:
            await exchange(self.name, (process.stdin, process.stdout, process.stderr), stdin, output)
            await process.wait_closed()
        except BaseException:
            await self._stop(connection, process, output[0])
            raise
        return self._result(process, *output)

    def _result(self, process: Any, stdout: bytearray, stderr: bytearray) -> Result:
        status = self._status(process)
        mark = STARTED.search(stdout)
        if mark is None and status == 0:
            raise AnswerError(
                f"{self.name}: the login shell of {self._endpoint.user} did not run our command.",
                evidence=[printable(bytes(stdout[:200]))],
                remedy="Give that user a POSIX shell.",
            )
        answer = stdout[mark.end() :] if mark else stdout
        return Result(status, answer.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))

    def _status(self, process: Any) -> int:
        if process.exit_status is not None and process.exit_status >= 0:
            return int(process.exit_status)
        if process.exit_signal:
            number = signal.Signals.__members__.get(f"SIG{process.exit_signal[0]}")
            return 128 + (number or 0)
        raise self._lost(None)

    async def stream(self, argv: Sequence[str]) -> AsyncGenerator[str]:
        """Run an argument list and yield its output lines as they come."""
        async with self._sessions:
            connection = await self._connect()
            self.round_trips += 1
            try:
                async for line in self._stream(connection, argv):
                    yield line
            except OSError as error:
                raise self._lost(error) from error
            except _ssh().Error as error:
                raise self._lost(error) from error

    async def _stream(
        self, connection: asyncssh.SSHClientConnection, argv: Sequence[str]
    ) -> AsyncGenerator[str]:
        process = await self._begin(connection, argv)
        process.stdin.write_eof()
        tail, mark = bytearray(), b""
        try:
            async for line in lines(self.name, process.stdout, process.stderr, tail):
                if mark:
                    yield line
                elif STARTED.match(found := line.encode() + b"\n"):
                    mark = found
            await process.wait_closed()
        finally:
            if not process.channel.is_closing() or process.exit_status is None:
                await self._stop(connection, process, bytearray(mark))
        if status := self._status(process):
            raise CommandError(self.name, argv[0], status, tail.decode("utf-8", "replace"))

    async def _begin(self, connection: asyncssh.SSHClientConnection, argv: Sequence[str]) -> Any:
        starting = asyncio.ensure_future(connection.create_process(self._command(argv), encoding=None))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled while it starts: it may run there already.
            with contextlib.suppress(TimeoutError, OSError, _ssh().Error):
                process = await asyncio.wait_for(starting, START_SECONDS)
                await self._stop(connection, process, bytearray())
            raise

    def _command(self, argv: Sequence[str]) -> str:
        """The only place where an argument list becomes a shell string."""
        rights = [] if self._endpoint.user == "root" else ["sudo", "-n"]
        return shlex.join([*rights, "sh", "-c", START, "sh", *argv])

    async def _stop(self, connection: asyncssh.SSHClientConnection, process: Any, output: bytearray) -> None:
        """End what runs on the host; closing the channel alone would leave it running."""
        with contextlib.suppress(TimeoutError, OSError, _ssh().Error):
            async with asyncio.timeout(STOP_SECONDS), self._stopping:
                async with asyncio.timeout(START_SECONDS):
                    while not (mark := STARTED.search(output)):
                        if connection.is_closed() or not (chunk := await process.stdout.read(4096)):
                            return
                        output += chunk
                process.close()
                rights = [] if self._endpoint.user == "root" else ["sudo", "-n"]
                await connection.run(
                    shlex.join([*rights, "sh", "-c", STOP, "sh", mark[1].decode()]), encoding=None
                )
        process.close()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                async with _handshakes_of_this_loop():
                    self._connection = await self._open()
            return self._connection

    async def _open(self) -> asyncssh.SSHClientConnection:
        ssh = _ssh()
        pinned = _public_key(self._endpoint.host_key, self.name)
        client = _client(pinned)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection: asyncssh.SSHClientConnection = await ssh.connect(
                    self._endpoint.address,
                    self._endpoint.port,
                    username=self._endpoint.user,
                    client_factory=lambda: client,
                    known_hosts=([pinned], [], []),
                    server_host_key_algs=_host_key_algorithms(pinned),
                    client_keys=[_private_key(self._key)],
                    agent_path=None,
                    config=None,
                    preferred_auth="publickey",
                    compression_algs=None,
                    encryption_algs=CIPHERS,
                    keepalive_interval=KEEPALIVE_SECONDS,
                    keepalive_count_max=KEEPALIVE_MISSES,
                )
                return connection
        except ssh.HostKeyNotVerifiable as error:
            raise self._impostor(client.shown, pinned) from error
        except TimeoutError as error:
            raise self._unreachable(f"no answer within {CONNECT_SECONDS} s") from error
        except (OSError, UnicodeError, ssh.Error) as error:
            raise self._unreachable(str(error)) from error

    def _impostor(self, shown: Any, pinned: Any) -> HostKeyError:
        return HostKeyError(
            f"{self.name} ({self._endpoint.address}) shows another host key than the one pinned for it.",
            evidence=[
                f"pinned  {pinned.get_fingerprint()}",
                f"shown   {shown.get_fingerprint() if shown else 'none that could be read'}",
            ],
            remedy="Find out why before going on: the machine was reinstalled, or it is not that machine.",
        )

    def _unreachable(self, reason: str) -> TransportError:
        where = f"{self._endpoint.user}@{self._endpoint.address}:{self._endpoint.port}"
        return TransportError(f"{self.name}: no SSH connection to {where}.", evidence=[printable(reason)])

    def _lost(self, error: Exception | None) -> TransportError:
        reason = printable(str(error)) if error and str(error) else "the command ended without a status"
        return TransportError(f"{self.name}: the SSH connection broke.", evidence=[reason])

    async def open(self, address: str, port: int) -> tuple[Reader, Writer]:
        """A TCP connection that the host makes to a port. It counts as no session of the SSH server."""
        connection = await self._connect()
        self.round_trips += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await connection.open_connection(address, port)
        except TimeoutError as error:
            raise TransportError(f"{self.name}: no answer from {address}:{port}.") from error
        except _ssh().ChannelOpenError as error:
            raise self._not_opened(address, port, error) from error
        except (OSError, _ssh().Error) as error:
            raise self._lost(error) from error
        return reader, writer

    def _not_opened(self, address: str, port: int, error: Any) -> TransportError:
        forbidden = error.code == _ssh().OPEN_ADMINISTRATIVELY_PROHIBITED
        return TransportError(
            f"{self.name}: no connection to {address}:{port}.",
            evidence=[printable(str(error.reason)) or "no reason given"],
            remedy="Allow it in the SSH server (AllowTcpForwarding local)." if forbidden else None,
        )

    async def close(self) -> None:
        """Close the connection; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        try:
            async with asyncio.timeout(2):
                await connection.wait_closed()
        except TimeoutError:
            connection.abort()


def _ssh() -> Any:
    import asyncssh

    return asyncssh


def _client(pinned: Any) -> Any:
    """An asyncssh client that accepts no host key, and remembers what it was shown."""

    class Client(_ssh().SSHClient):  # type: ignore[misc]
        shown: Any = None

        def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
            self.shown = key
            return bool(key == pinned)

    return Client()


@functools.lru_cache(maxsize=16)
def _private_key(key: Secret) -> Any:
    ssh = _ssh()
    try:
        return ssh.import_private_key(key.reveal())
    except (ssh.KeyImportError, ssh.KeyEncryptionError) as error:
        raise StateError("The SSH key cannot be read.", evidence=[printable(str(error))]) from error


@functools.lru_cache(maxsize=4096)
def _public_key(line: str, name: str) -> Any:
    ssh = _ssh()
    try:
        return ssh.import_public_key(line)
    except ssh.KeyImportError as error:
        problem: AnykubeError = HostKeyError(
            f"{name}: the pinned host key cannot be read.", evidence=[printable(line[:200])]
        )
        raise problem from error


def _host_key_algorithms(pinned: Any) -> list[str]:
    """The pinned key's own first; the others so that an impostor is named, not merely refused."""
    own = [algorithm.decode() for algorithm in pinned.sig_algorithms]
    others = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsa-sha2-512", "rsa-sha2-256")
    return list(dict.fromkeys([*own, *others]))


def _handshakes_of_this_loop() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    return _handshakes.setdefault(loop, asyncio.Semaphore(HANDSHAKES))
