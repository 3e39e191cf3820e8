"""A DNS client in the network of a node: it asks the cluster's DNS all the time, tells the longest gap."""

from __future__ import annotations

import struct
import threading
import time
from itertools import pairwise
from types import TracebackType

from tests.e2e.story import Story
from tests.e2e.wire import connected, init_process

SERVER = "10.96.0.10"
PORT = 53
NAME = "kubernetes.default.svc.cluster.local"
INTERVAL = 0.2
FOUND = 0
ADDRESS, INTERNET = 1, 1


class Names(threading.Thread):
    """Asks by TCP, each time on a connection of its own, from `with` to its end."""

    def __init__(self, story: Story, node: str) -> None:
        super().__init__(name=f"names-{node}", daemon=True)
        self._story = story
        self._node = node
        self._ended = threading.Event()
        self.answers: list[float] = []

    def __enter__(self) -> Names:
        self._process = init_process(self._story, self._node)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Note when each answer came; what fails is seen as a gap."""
        while not self._ended.wait(INTERVAL):
            try:
                resolve(self._process)
            except (OSError, AssertionError):
                continue
            self.answers.append(time.monotonic())

    def longest_gap(self, begun: float, ended: float) -> float:
        """The longest time without an answer between two moments, in seconds."""
        moments = [begun, *(at for at in self.answers if begun < at < ended), ended]
        return max(after - before for before, after in pairwise(moments))


def resolve(process: int) -> None:
    """One question, in the network of a process. AssertionError unless the name is found."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split(".")) + b"\0"
    message = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + question + struct.pack(">HH", ADDRESS, INTERNET)
    with connected(SERVER, PORT, process) as wire:
        wire.sendall(struct.pack(">H", len(message)) + message)
        answer = wire.recv(4096)
    assert len(answer) > 14, "no answer"
    _, _, flags, _, answers = struct.unpack(">HHHHH", answer[:10])
    assert flags & 0xF == FOUND, f"refused with {flags & 0xF}"
    assert answers, "no address"
