"""Simulated hosts: real SSH, real commands, no machines. For tests of anykube and of what is built on it.

    async with simulated_hosts(3) as hosts:
        transport = hosts[0].transport()
        await transport.run(["systemctl", "start", "etcd.service"])
        hosts[0].faults.cut_after_bytes = 1000

A host is an SSH server over a folder tree. Commands run for real, in a chroot of that tree, with dash,
busybox and a stand-in for systemd (simulated_tools.py). The tree stays on disk: stop a host, start it again,
or serve its folder from another process, and it is the machine it was. Needs root, chroot, dash and a static
busybox; `why_unavailable()` says what is missing.

A host may have an address of its own in a SimulatedNetwork, and units that really run, such as etcd
(simulated_network.py, simulated_units.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import asyncssh

from anykube.secret import Secret
from anykube.simulated_network import Namespace
from anykube.simulated_tools import APPLETS, DISTRIBUTION, FILES, PROGRAMS
from anykube.simulated_units import Supervisor
from anykube.transports.base import Endpoint
from anykube.transports.ssh import CIPHERS, SSHTransport

BUSYBOX = Path("/bin/busybox")
SHELL = Path("/bin/dash")
FOLDERS = (
    "dev",
    "etc/simulated/fail",
    "etc/systemd/system/multi-user.target.wants",
    "root",
    "run",
    "tmp",
    "var/lib",
    "var/log/simulated",
)
SSH_PORT = 22
STOP_SECONDS = 5
CHUNK = 64 * 1024


def why_unavailable() -> str:
    """What this machine lacks for simulated hosts; '' when nothing."""
    if os.geteuid() != 0:
        return "simulated hosts need root (chroot)"
    if not shutil.which("chroot"):
        return "simulated hosts need the program chroot"
    if not BUSYBOX.exists():
        return f"simulated hosts need a static busybox at {BUSYBOX} (Debian: busybox-static)"
    if not SHELL.exists():
        return f"simulated hosts need dash at {SHELL}"
    return ""


@dataclass(slots=True)
class Faults:
    """What goes wrong on a host. Commands are counted from 1, from the host's first start.

    stall: commands are accepted and never answered.  slow: seconds before each command.
    fail_command: this one ends with status 1 without running.  cut_after_bytes: the connection is cut when a
    command has received so many bytes of input.  cut_before, cut_after: the connection is cut before that
    command begins, or after it is done and before it is answered.
    """

    stall: bool = False
    slow: float = 0.0
    fail_command: int | None = None
    cut_after_bytes: int | None = None
    cut_before: int | None = None
    cut_after: int | None = None


class SimulatedHost:
    """One host. `folder` holds its tree (`root`) and its keys; an existing folder is taken as it is.

    With a `namespace` (SimulatedNetwork.join) it is at `address`, port 22, there. `real` are units whose
    programs really run.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        namespace: Namespace | None = None,
        real: Collection[str] = (),
    ) -> None:
        self.name = name
        self.address = address
        self._namespace = namespace
        self._real = frozenset(real)
        self.folder = folder
        self.root = folder / "root"
        self.faults = Faults()
        self.commands: list[str] = []
        """Every command line received, in order."""
        self.on_command: Callable[[], None] | None = None
        """Called when a command has been received, before it begins."""
        self._port = 0
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._children: set[Process] = set()
        prefix, where = (namespace.prefix, namespace.path) if namespace else ((), "")
        self._prefix = prefix
        self.units = Supervisor(self.root, prefix, where)
        """The units that really run."""

    async def start(self) -> None:
        """Serve; the port stays the same over stop and start."""
        await asyncio.to_thread(_make_tree, self.name, self.folder)
        for unit in self._real:
            self.path("/etc/simulated/real").mkdir(exist_ok=True)
            self.path(f"/etc/simulated/real/{unit}").touch()
        self._server = await asyncssh.create_server(
            lambda: _Server(self._connections, (self.folder / "user_key.pub").read_text(), self._namespace),
            **self._place(),
            server_host_keys=[str(self.folder / "host_key")],
            process_factory=self._serve,
            encoding=None,
            encryption_algs=CIPHERS,
            compression_algs=None,
            line_editor=False,
        )
        self._port = self._server.get_port()
        self.units.begin()

    def _place(self) -> dict[str, Any]:
        """Where to listen, in asyncssh's words."""
        if self._namespace is None:
            return {"host": self.address, "port": self._port}
        return {"sock": self._namespace.call(lambda: socket.create_server((self.address, SSH_PORT)))}

    async def stop(self) -> None:
        """Refuse connections, cut those that are open, and end the commands that still run."""
        if self._server is None:
            return
        self._server.close()
        self.cut()
        await self._server.wait_closed()
        self._server = None
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until no command runs; what does not end is killed."""
        waiting = [asyncio.ensure_future(child.wait()) for child in self._children]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=STOP_SECONDS)
            for child in self._children if late else ():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            await asyncio.gather(*waiting)

    async def power_off(self) -> None:
        """Stop, and kill the units that really run. They run again after the next start."""
        await self.units.power_off()
        await self.stop()

    def cut(self) -> None:
        """Cut all connections, as a broken cable would."""
        for connection in tuple(self._connections):
            connection.abort()

    async def reboot(self) -> None:
        """Power off, forget /run, start, and bring up the enabled units."""
        await self.power_off()
        shutil.rmtree(self.path("/run"))
        self.path("/run").mkdir()
        self.path("/proc/sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
        await self.start()
        enabled = sorted(unit.name for unit in self.path(_WANTS).glob("*"))
        if enabled:
            await self._spawn(["/bin/systemctl", "start", *enabled], wait=True)

    def path(self, path: str) -> Path:
        """Where a path of the host is on this machine."""
        return self.root / path.lstrip("/")

    @property
    def unit_history(self) -> list[str]:
        """What was done to units since boot, such as 'start etcd.service'."""
        history = self.path("/run/simulated/history")
        return history.read_text().splitlines() if history.exists() else []

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers, with its host key pinned."""
        key = (self.folder / "host_key.pub").read_text()
        return Endpoint(self.name, self.address, self._port, "root", key)

    @property
    def key(self) -> Secret:
        """The private key that it lets in."""
        return Secret((self.folder / "user_key").read_bytes())

    def transport(self) -> SSHTransport:
        """A transport to it."""
        return SSHTransport(self.endpoint, self.key)

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command, with the faults that it is due."""
        self.commands.append(process.command or "")
        number = len(self.commands)
        if self.on_command is not None:
            self.on_command()
        if self.faults.stall:
            await process.wait_closed()
            return
        if self.faults.slow:
            await asyncio.sleep(self.faults.slow)
        if self.faults.cut_before == number:
            self.cut()
        elif self.faults.fail_command == number:
            process.stderr.write(b"simulated failure\n")
            process.exit(1)
        else:
            await self._answer(process, number)

    async def _answer(self, process: asyncssh.SSHServerProcess[bytes], number: int) -> None:
        child = await self._spawn(["/bin/sh", "-c", f"exec {process.command or 'false'}"])
        feeder = asyncio.ensure_future(self._feed(process, child))
        assert child.stdout and child.stderr  # noqa: S101  both are pipes
        await asyncio.gather(_forward(child.stdout, process.stdout), _forward(child.stderr, process.stderr))
        status = await child.wait()
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        if self.faults.cut_after == number:
            self.cut()
        with contextlib.suppress(OSError, asyncssh.Error):
            process.exit(status if status >= 0 else 128 - status)

    async def _feed(self, process: asyncssh.SSHServerProcess[bytes], child: Process) -> None:
        """Pass input on. At the byte where the connection is to be cut, what came until then has arrived."""
        limit, received = self.faults.cut_after_bytes, 0
        assert child.stdin  # noqa: S101  a pipe
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await process.stdin.read(CHUNK):
                if limit is not None and received + len(data) >= limit:
                    child.stdin.write(data[: limit - received])
                    self.cut()
                    break
                received += len(data)
                child.stdin.write(data)
                await child.stdin.drain()
        child.stdin.close()

    async def _spawn(self, argv: list[str], *, wait: bool = False) -> Process:
        child = await asyncio.create_subprocess_exec(
            *(*self._prefix, "chroot", str(self.root), *argv),
            stdin=PIPE,
            stdout=None if wait else PIPE,
            stderr=None if wait else PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root"},
            start_new_session=True,
        )
        self._children.add(child)
        if wait:
            await child.wait()
        self._children = {other for other in self._children if other.returncode is None}
        return child


@contextlib.asynccontextmanager
async def simulated_hosts(
    count: int, folder: Path | None = None, prefix: str = "node"
) -> AsyncIterator[list[SimulatedHost]]:
    """Hosts <prefix>-1 to <prefix>-<count>, serving. Their trees are under `folder`, or temporary."""
    if reason := why_unavailable():
        raise RuntimeError(reason)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anykube-hosts-")))
        hosts = [
            SimulatedHost(f"{prefix}-{number}", folder / f"{prefix}-{number}") for number in _up_to(count)
        ]
        try:
            await asyncio.gather(*(host.start() for host in hosts))
            yield hosts
        finally:
            await asyncio.gather(*(host.power_off() for host in hosts))


def _up_to(count: int) -> range:
    return range(1, count + 1)


_WANTS = "/etc/systemd/system/multi-user.target.wants"


class _Server(asyncssh.SSHServer):
    """Lets in one key, keeps the connection so that it can be cut, and connects to ports as OpenSSH does."""

    def __init__(
        self,
        connections: set[asyncssh.SSHServerConnection],
        authorized: str,
        namespace: Namespace | None,
    ) -> None:
        self._connections = connections
        self._namespace = namespace
        self._authorized = asyncssh.import_public_key(authorized)
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key == self._authorized

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        if self._namespace is None:
            return True
        try:
            there = self._namespace.call(lambda: socket.create_connection((dest_host, dest_port), 1))
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from error
        return partial(_splice, there)


async def _forward(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    """Pass output on, and go on reading when nobody listens any more: the command must not block."""
    while data := await source.read(CHUNK):
        with contextlib.suppress(OSError, asyncssh.Error):
            target.write(data)
            await target.drain()


async def _splice(there: socket.socket, reader: Any, writer: Any) -> None:
    """Pass on what comes on one side to the other, until both have ended."""
    source, target = await asyncio.open_connection(sock=there)

    async def pass_on(source: Any, target: Any) -> None:
        await _forward(source, target)
        target.close()

    await asyncio.gather(pass_on(source, writer), pass_on(reader, target))


@cache
def _shell_files() -> tuple[Path, ...]:
    """dash, flock and the libraries they are linked with. Not busybox's shell: that one prefers its own
    applets to every program, and would for example change the network of this machine with its own `ip`."""
    flock = [Path(found)] if (found := shutil.which("flock")) else []
    linked = subprocess.run(["ldd", SHELL, *flock], capture_output=True, text=True, check=True)
    listed = [word for word in linked.stdout.split() if not word.endswith(":")]
    return tuple(dict.fromkeys([SHELL, *flock, *(Path(word) for word in listed if word.startswith("/"))]))


def _make_tree(name: str, folder: Path) -> None:
    """A fresh machine, once: what is there is left alone."""
    if (folder / "user_key.pub").exists():
        return
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    for inner in FOLDERS:
        (root / inner).mkdir(parents=True, exist_ok=True)
    for path, text in {**FILES, **_identity(name)}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    _make_programs(root, folder.parent / ".programs")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    for key in ("host_key", "user_key"):
        private = asyncssh.generate_private_key("ssh-ed25519")
        private.write_private_key(str(folder / key))
        private.write_public_key(str(folder / f"{key}.pub"))


def _identity(name: str) -> dict[str, str]:
    return {
        "etc/hostname": f"{name}\n",
        "etc/machine-id": hashlib.sha256(name.encode()).hexdigest()[:32] + "\n",
        "etc/simulated/addresses": "127.0.0.1\n",
        "proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
    }


def _make_programs(root: Path, shared: Path) -> None:
    for program in (BUSYBOX, *_shell_files()):
        target = root / program.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(_own_copy(program, shared), target)
    folder = root / "bin"
    (folder / "sh").symlink_to("dash")
    for applet in APPLETS:
        (folder / applet).symlink_to("busybox")
    for name, text in PROGRAMS.items():
        program = folder / name
        program.write_text(text)
        program.chmod(0o755)
    for path in DISTRIBUTION:
        program = root / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)


def _own_copy(program: Path, shared: Path) -> Path:
    """A copy that all trees of a folder share by hard links. Never a link to this machine's own program: a
    test that writes through it would break this machine."""
    copy = shared / program.name
    if not copy.exists():
        shared.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=shared)) / program.name
        shutil.copy2(program, own)
        # The first of several hosts made at once wins. A rename over its copy could make it vanish under
        # the hands of one that links to it just now.
        with contextlib.suppress(FileExistsError):
            os.link(own, copy)
        own.unlink()
        own.parent.rmdir()
    return copy
