"""A network for simulated hosts (testing.py): a namespace for each, joined by a bridge in one of its own.

    network = SimulatedNetwork()
    namespace = network.join("192.0.2.1")
    network.cut("192.0.2.1")

Every host then has its own loopback address and its own ports, so that real programs run side by side.
Nothing of it is seen outside, several networks may use the same addresses, and all is gone with the process
that made it. Needs root and iproute2.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of the kernel."""
PREFIX = 24

T = TypeVar("T")


@cache
def why_no_network() -> str:
    """What this machine lacks for a simulated network; '' when nothing."""
    for program in ("ip", "nsenter"):
        if not shutil.which(program):
            return f"simulated networks need the program {program}"
    try:
        SimulatedNetwork().close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here: {getattr(error, 'stderr', '') or error}"
    return ""


class Namespace:
    """A network namespace of the kernel, which lives as long as this process keeps it open."""

    def __init__(self) -> None:
        self._descriptor = _in_thread(_made)

    @property
    def path(self) -> str:
        """Where other programs find it, such as `nsenter --net=PATH`."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs here."""
        return ("nsenter", f"--net={self.path}")

    def enter(self) -> None:
        """Move the calling thread here, for good: what it opens from now on is in this namespace."""
        _checked(_libc().setns(self._descriptor, NEW_NETWORK))

    def call(self, work: Callable[[], T]) -> T:
        """Do something here, such as opening a socket, which then stays here."""

        def inside() -> T:
            self.enter()
            return work()

        return _in_thread(inside)

    def ip(self, *commands: str) -> None:
        """Run commands of `ip` here."""
        subprocess.run(
            [*self.prefix, "ip", "-batch", "-"],
            input="\n".join(commands),
            text=True,
            capture_output=True,
            check=True,
        )

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)


class SimulatedNetwork:
    """A bridge, and the namespaces that are joined to it. `hub` is the place from which all are reached."""

    def __init__(self, gateway: str = "192.0.2.254") -> None:
        self.hub = Namespace()
        self._members: dict[str, Namespace] = {}
        self.hub.ip(
            "link set lo up",
            "link add hub type bridge forward_delay 0",
            f"address add {gateway}/{PREFIX} dev hub",
            "link set hub up",
        )

    def join(self, address: str) -> Namespace:
        """A new namespace that has this address."""
        namespace = Namespace()
        port = _port(address)
        self.hub.ip(
            f"link add {port} type veth peer name eth0 netns {namespace.path}",
            f"link set {port} master hub up",
        )
        namespace.ip("link set lo up", f"address add {address}/{PREFIX} dev eth0", "link set eth0 up")
        self._members[address] = namespace
        return namespace

    def cut(self, address: str) -> None:
        """Pull the cable: nothing arrives any more, in either direction, and nobody is told."""
        self.hub.ip(f"link set {_port(address)} nomaster")

    def mend(self, address: str) -> None:
        """Put the cable back."""
        self.hub.ip(f"link set {_port(address)} master hub")

    def close(self) -> None:
        """Take it all down."""
        for namespace in (*self._members.values(), self.hub):
            namespace.close()


def _port(address: str) -> str:
    return f"port-{address.rpartition('.')[2]}"


def _made() -> int:
    _checked(_libc().unshare(NEW_NETWORK))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_thread(work: Callable[[], T]) -> T:
    """The result of work that changes the thread which does it."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
