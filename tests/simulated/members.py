"""A site of simulated hosts on which etcd really runs, and what is asked of that etcd from outside.

Hosts have addresses of their own in a network that only this site sees; anykube runs at its hub.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import tempfile
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulated.site import NAME, VERSION, Site, Zygote, address_of

from anykube.artifacts.store import Store
from anykube.pki.store import SecretStore
from anykube.simulated_network import SimulatedNetwork, why_no_network
from anykube.spec.catalog import release
from anykube.testing import SimulatedHost, why_unavailable

ETCD = "etcd.service"
CLIENT = "nodes/node-1/apiserver-etcd"
CREDENTIALS = (
    ("cacert", "ca/etcd", "certificate"),
    ("cert", CLIENT, "certificate"),
    ("key", CLIENT, "key"),
)
POOLS = {
    "all": ["control-plane", "etcd", "worker"],
    "plane": ["control-plane", "worker"],
    "etcd": ["etcd"],
    "worker": ["worker"],
}
PROGRAMS = {"etcd": "etcd Version:", "etcdctl": "etcdctl version:", "etcdutl": "etcdutl version:"}
"""Programs of etcd, and what they say of themselves."""
Layout = Mapping[str, str]
"""The pool of each host that the object lists."""


@cache
def etcd_binaries() -> Mapping[str, Path]:
    """The catalog's version of etcd's programs, as earlier runs of anykube have brought them here."""
    store, found = Store(), dict[str, Path]()
    for entry in sorted((store.root / "index").glob("*")):
        known = json.loads(entry.read_text())
        if known["version"] != release(VERSION).etcd or not store.has(known["sha256"]):
            continue
        path = store.path(known["sha256"])
        if os.access(path, os.X_OK):
            said = "".join(_said(path, word) for word in ("--version", "version"))
            for name, words in PROGRAMS.items():
                if words in said:
                    found[name] = path
    return found


def _said(program: Path, word: str) -> str:
    return subprocess.run([program, word], capture_output=True, text=True, timeout=10).stdout


@cache
def why_no_etcd() -> str:
    """What this machine lacks for these tests; '' when nothing."""
    if why := why_unavailable() or why_no_network():
        return why
    if etcd_binaries().keys() != PROGRAMS.keys():
        return f"etcd {release(VERSION).etcd} is not in the store of artifacts: anykube artifacts get"
    return ""


class MemberSite(Site):
    """Hosts node-1 to node-<count> with a real etcd, wherever the object wants one."""

    control_plane = ""

    def __init__(self, folder: Path, count: int) -> None:
        self.network = SimulatedNetwork()
        super().__init__(folder, count)
        self.client = Client(self)

    def new_host(self, name: str) -> SimulatedHost:
        address = address_of(name)
        namespace = self.network.join(address)
        folder = self.folder / "hosts" / name
        return SimulatedHost(name, folder, address=address, namespace=namespace, real=[ETCD])

    def new_zygote(self) -> Zygote:
        return Zygote(self.folder / "zygote.log", self.network.hub.prefix)

    def content(self, artifact: str) -> bytes:
        binaries = etcd_binaries()
        return binaries[artifact].read_bytes() if artifact in binaries else super().content(artifact)

    def save(self, name: str) -> None:
        self.all_off()
        super().save(name)
        self.all_on()

    def restore(self, name: str) -> None:
        self.all_off()
        super().restore(name)
        self.all_on()

    def all_off(self) -> None:
        """The power of all hosts goes at once."""
        for host in self.hosts.values():
            self.do(host.power_off())

    def all_on(self) -> None:
        for host in self.hosts.values():
            self.do(host.start())

    def close(self) -> None:
        super().close()
        self.network.close()

    def snapshot(self, host: str, target: Path) -> None:
        """What `etcdctl snapshot save` gets from the member of a host."""
        secrets = SecretStore(self.state / NAME / "secrets")
        with tempfile.TemporaryDirectory() as folder:
            options = []
            for option, secret, part in CREDENTIALS:
                file = Path(folder) / option
                file.write_bytes(secrets.part(secret, part).reveal())
                options.append(f"--{option}={file}")
            endpoint = f"--endpoints=https://{address_of(host)}:2379"
            program = str(etcd_binaries()["etcdctl"])
            command = [program, endpoint, *options, "snapshot", "save", str(target)]
            subprocess.run([*self.network.hub.prefix, *command], check=True, capture_output=True, timeout=60)

    def object_text(self, layout: Layout | None = None, **spec: Any) -> str:
        """The cluster object in which each host is in its pool; without a layout all hosts are everything."""
        layout = layout or dict.fromkeys(self.hosts, "all")
        document = json.loads(super().object_text(**spec))
        hosts = document["spec"]["machines"]["provider"]["machines"]["hosts"]
        listed = [{**host, "pool": layout[host["name"]]} for host in hosts if host["name"] in layout]
        document["spec"]["machines"]["provider"]["machines"]["hosts"] = listed
        document["spec"]["machines"]["pools"] = [
            {"name": pool, "roles": roles} for pool, roles in POOLS.items() if pool in layout.values()
        ]
        return json.dumps(document)


@dataclass(frozen=True, slots=True)
class Member:
    """A member as etcd lists it."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What the etcd of one host says. leader: 0 while it knows none."""

    cluster: int
    id: int
    leader: int
    term: int
    applied: int
    learner: bool
    members: tuple[Member, ...]


class Client:
    """Asks the etcd of single hosts, over its JSON gateway, from the hub of the site's network."""

    def __init__(self, site: MemberSite) -> None:
        self._site = site
        self._inside = threading.local()
        self._tls: ssl.SSLContext | None = None

    def forget(self) -> None:
        """Another cluster has other certificates."""
        self._tls = None

    def ask(self, host: str, path: str, body: Mapping[str, Any] | None = None, seconds: float = 1) -> Any:
        """One request; OSError or ValueError when it is not answered."""
        if not getattr(self._inside, "yes", False):
            if threading.current_thread() is threading.main_thread():
                return self._site.network.hub.call(lambda: self._ask(host, path, body, seconds))
            self._site.network.hub.enter()
            self._inside.yes = True
        return self._ask(host, path, body, seconds)

    def _ask(self, host: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Any:
        connection = http.client.HTTPSConnection(
            address_of(host), 2379, timeout=seconds, context=self._context()
        )
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(body or {}))
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(text[:300].decode())
        return json.loads(text)

    def standing(self, host: str) -> Standing | None:
        """What a host's etcd says, or None if it does not answer."""
        try:
            status = self.ask(host, "maintenance/status")
            listed = self.ask(host, "cluster/member/list", {"linearizable": False})
        except (OSError, ValueError):
            return None
        header = status["header"]
        return Standing(
            int(header["cluster_id"]),
            int(header["member_id"]),
            int(status.get("leader", 0)),
            int(header.get("raft_term", 0)),
            int(status.get("raftAppliedIndex", 0)),
            bool(status.get("isLearner", False)),
            tuple(
                Member(
                    int(item["ID"]),
                    item.get("name", ""),
                    tuple(item.get("peerURLs", ())),
                    bool(item.get("isLearner", False)),
                )
                for item in listed["members"]
            ),
        )

    def put(self, host: str, key: str, value: str, seconds: float = 1) -> None:
        self.ask(host, "kv/put", {"key": encoded(key), "value": encoded(value)}, seconds)

    def values(self, host: str, prefix: str) -> dict[str, str]:
        """All keys with a prefix, as the majority knows them."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        body = {"key": encoded(prefix), "range_end": encoded(end)}
        pairs = self.ask(host, "kv/range", body, 5).get("kvs", ())
        return {decoded(pair["key"]): decoded(pair["value"]) for pair in pairs}

    def remove(self, host: str, key: str) -> None:
        self.ask(host, "kv/deleterange", {"key": encoded(key)}, 5)

    def hash(self, host: str, revision: int) -> tuple[int, int]:
        """The hash of all keys and values at a revision, and that since which it is."""
        answer = self.ask(host, "maintenance/hashkv", {"revision": revision}, 5)
        return int(answer["hash"]), int(answer.get("compact_revision", 0))

    def revision(self, host: str) -> int:
        return int(self.ask(host, "kv/range", {"key": encoded("/none")}, 5)["header"]["revision"])

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            secrets = SecretStore(self._site.state / NAME / "secrets")
            if not secrets.folder.exists() or CLIENT not in secrets.names():
                raise OSError("the cluster has no certificates yet")
            ca = secrets.part("ca/etcd", "certificate").reveal().decode()
            context = ssl.create_default_context(cadata=ca)
            with tempfile.NamedTemporaryFile() as file:
                parts = (secrets.part(CLIENT, part).reveal() for part in ("certificate", "key"))
                file.write(b"\n".join(parts))
                file.flush()
                context.load_cert_chain(file.name)
            self._tls = context
        return self._tls


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    return b64decode(text).decode()


def quorum(voters: Sequence[Member]) -> int:
    return len(voters) // 2 + 1
