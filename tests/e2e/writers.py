"""Writers: they write through every API server, every etcd member and the endpoint while anykube works.

One thread for each way in, each with one write in flight and numbers of its own. They need no list of
members: every machine of the story is tried at both ports, and whatever listens there is written through.
What they do is in history.py; what it proves is judged by checker.py.
"""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from tests.e2e.history import History, Outcome, Write, key
from tests.e2e.story import Story
from tests.e2e.wire import API_PORT, ETCD_PORT, Keys, Wire, ask, init_process

ETCD, API, ENDPOINT = "etcd", "api", "endpoint"
KINDS = (ETCD, API, ENDPOINT)
SHARED = "endpoint-shared"
"""The writer through an endpoint that is an address of its own."""
PAUSE_SECONDS = 0.2
"""Between two writes of a client: a dozen of them leave most of two processors to the cluster."""
SEARCH_SECONDS = 0.5
NAMESPACE = "default"
PREFIX = "seq/"
"""Of keys in etcd, apart from those of Kubernetes."""
REFUSED = frozenset({400, 401, 403, 404, 429})
"""Answers of an API server that did not try to write."""
LOOPBACK = "127.0.0.1"


class Way(Protocol):
    """A way to write. `write` sends one write on a connection and says how it ended."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    def connect(self) -> Wire:
        """A new connection; OSError or LookupError while there is nobody."""

    def write(self, wire: Wire, name: str) -> tuple[Outcome, int, str]:
        """One write: outcome, revision, and what was answered if it is not done."""


@dataclass(frozen=True)
class EtcdWay:
    """A transaction through the JSON gateway of one member: create the key if nobody has."""

    story: Story
    keys: Keys
    node: str
    kind: str = ETCD

    def connect(self) -> Wire:
        wire = Wire(self.story.address(self.node), ETCD_PORT, self.keys.etcd)
        wire.connect()
        return wire

    def write(self, wire: Wire, name: str) -> tuple[Outcome, int, str]:
        encoded = base64.b64encode(f"{PREFIX}{name}".encode()).decode()
        absent = {"key": encoded, "target": "CREATE", "create_revision": "0"}
        put = {"request_put": {"key": encoded, "value": encoded}}
        status, answer = wire.ask("POST", "/v3/kv/txn", {"compare": [absent], "success": [put]})
        if status == 200 and answer.get("succeeded"):
            return "ok", int(answer["header"]["revision"]), ""
        told = f"{status} {answer.get('message', answer)}"
        # A learner forwards nothing; all else may come after the leader took the transaction.
        return ("fail" if "not supported for learner" in told else "unknown"), 0, told


@dataclass(frozen=True)
class ApiWay:
    """A ConfigMap through one API server, or through whatever serves at an address.

    `inside`: the node in whose network the connection is made.
    """

    story: Story
    keys: Keys
    node: str
    kind: str = API
    address: str = ""
    port: int = API_PORT
    inside: bool = False

    def connect(self) -> Wire:
        process = init_process(self.story, self.node) if self.inside else None
        wire = Wire(self.address or self.story.address(self.node), self.port, self.keys.api, process)
        wire.connect()
        return wire

    def write(self, wire: Wire, name: str) -> tuple[Outcome, int, str]:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        status, answer = wire.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps?timeout=4s", made)
        if status == 201:
            return "ok", int(answer["metadata"]["resourceVersion"]), ""
        return ("fail" if status in REFUSED else "unknown"), 0, f"{status} {answer.get('message', answer)}"


class _Client(threading.Thread):
    """Writes through one way until it is told to stop. While there is nobody, it begins nothing."""

    def __init__(self, name: str, way: Way, history: History, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._way = way
        self._history = history
        self._stop_asked = stop
        self._wire: Wire | None = None
        self.failure = ""

    def run(self) -> None:
        number = self._history.last_number(self.name)
        try:
            while not self._stop_asked.wait(PAUSE_SECONDS):
                if self._wire is None and not self._connected():
                    continue
                number += 1
                self._write(number)
        except Exception as error:  # a writer that dies would prove nothing from then on
            self.failure = f"{self.name}: {error!r}"
            raise
        finally:
            self._hang_up()

    def _connected(self) -> bool:
        try:
            self._wire = self._way.connect()
        except (OSError, LookupError):
            return False
        return True

    def _write(self, number: int) -> None:
        assert self._wire is not None
        self._history.add(self._way.kind, self.name, number, "begun")
        try:
            outcome, revision, note = self._way.write(self._wire, key(self.name, number))
        except (OSError, http.client.HTTPException) as error:
            outcome, revision, note = "unknown", 0, repr(error)
        self._history.add(self._way.kind, self.name, number, outcome, revision, note)
        if outcome != "ok":
            self._hang_up()

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class Writers:
    """All writers of a story, from `with` to its end.

    local: pools on whose nodes the API is also written to through the loopback address.
    shared: host and port of an endpoint that is an address of its own.
    """

    def __init__(
        self, story: Story, local: Sequence[str] = ("worker",), shared: tuple[str, int] | None = None
    ) -> None:
        self.story = story
        self.keys = Keys(story)
        self.history = History(story.folder / "history.jsonl")
        self._local = local
        self._shared = shared
        self._stop = threading.Event()
        self._clients: dict[str, _Client] = {}
        self._search = threading.Thread(target=self._follow, name="search", daemon=True)

    def __enter__(self) -> Writers:
        self.keys.etcd, self.keys.api  # noqa: B018  read while the story surely has them
        if self._shared is not None:
            host, port = self._shared
            self._begin(SHARED, ApiWay(self.story, self.keys, "", ENDPOINT, host, port))
        self._search.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._search.join()
        for client in self._clients.values():
            client.join()
        self.history.close()

    def writes(self) -> list[Write]:
        """All writes so far. No writer may have died."""
        failures = [client.failure for client in list(self._clients.values()) if client.failure]
        assert not failures, failures
        return self.history.writes()

    def local(self, machines: Iterable[str]) -> set[str]:
        """The writers through the loopback address of these machines."""
        return {f"{ENDPOINT}-{machine}" for machine in machines if self._is_local(machine)}

    def _is_local(self, machine: str) -> bool:
        return any(machine.startswith(f"{self.story.name}-{pool}-") for pool in self._local)

    def _follow(self) -> None:
        while True:
            for node in self.story.nodes:
                for name, way in self._ways(node).items():
                    self._begin(name, way)
            if self._stop.wait(SEARCH_SECONDS):
                return

    def _ways(self, node: str) -> Mapping[str, Way]:
        found: dict[str, Way] = {
            f"{ETCD}-{node}": EtcdWay(self.story, self.keys, node),
            f"{API}-{node}": ApiWay(self.story, self.keys, node),
        }
        if self._is_local(node):
            way = ApiWay(self.story, self.keys, node, ENDPOINT, LOOPBACK, inside=True)
            found[f"{ENDPOINT}-{node}"] = way
        return found

    def _begin(self, name: str, way: Way) -> None:
        if name not in self._clients:
            self._clients[name] = _Client(name, way, self.history, self._stop)
            self._clients[name].start()


def present(story: Story, keys: Keys, kind: str, node: str) -> dict[str, int]:
    """What writers of a kind wrote, read through one node: the revision at which each key was created.

    The read goes through a quorum, so it holds all that was acknowledged before it began.
    """
    address = story.address(node)
    if kind == ETCD:
        return _etcd_keys(address, keys)
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    items = ask(address, API_PORT, keys.api, path, accept=metadata)["items"]
    versions = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in items}
    return {name: version for name, version in versions.items() if name.startswith("seq-")}


def _etcd_keys(address: str, keys: Keys) -> dict[str, int]:
    begin, end = (base64.b64encode(text.encode()).decode() for text in (PREFIX, "seq0"))
    wanted = {"key": begin, "range_end": end, "keys_only": True}
    answer = ask(address, ETCD_PORT, keys.etcd, "/v3/kv/range", wanted)
    return {
        base64.b64decode(item["key"]).decode().removeprefix(PREFIX): int(item["mod_revision"])
        for item in answer.get("kvs", ())
    }
