"""HTTPS to the API servers and etcd members of a story, straight from Python: for writers and for looks.

A connection may be made inside the network of a node, which is how a node-local endpoint is reached.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import ssl
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.e2e.story import MACHINES, Story

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
CLONE_NEWNET = 0x40000000
JSON = "application/json"
API_PORT = 6443
ETCD_PORT = 2379


@dataclass(frozen=True)
class Keys:
    """Client certificates of a story, read once: they work on, whatever becomes of their node's secrets.

    What trusts them may be replaced; `refresh` is what a user does then who fetches a new kubeconfig.
    """

    story: Story

    @cached_property
    def etcd(self) -> ssl.SSLContext:
        """As an API server."""
        return self._context("etcd")

    @cached_property
    def api(self) -> ssl.SSLContext:
        """As system:masters, which needs no role: an API server that just started knows none yet."""
        return self._context("api")

    def refresh(self) -> None:
        """Trust what is trusted now, and show what is issued now, from the next connection on."""
        for name in ("etcd", "api"):
            if made := self.__dict__.get(name):
                authority, client = self._names(name)
                self._load(made, authority, client)

    def _names(self, name: str) -> tuple[str, str]:
        if name == "api":
            return "ca/cluster", "users/super-admin"
        return "ca/etcd", next(one for one in self.story.secrets.names() if one.endswith("/apiserver-etcd"))

    def _context(self, name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._load(made, *self._names(name))
        return made

    def _load(self, made: ssl.SSLContext, authority: str, client: str) -> None:
        store = self.story.secrets
        made.load_verify_locations(cadata=store.part(authority, "bundle").reveal().decode())
        bundle = self.story.folder / f"{client.replace('/', '-')}.pem"
        bundle.touch(mode=0o600)
        bundle.write_bytes(b"".join(store.part(client, part).reveal() for part in ("certificate", "key")))
        made.load_cert_chain(bundle)


class Wire(http.client.HTTPSConnection):
    """One connection. `inside`: the id of a process in whose network it is made."""

    def __init__(self, host: str, port: int, keys: ssl.SSLContext, inside: int | None = None) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS, context=keys)
        self._keys = keys
        self._inside = inside

    def connect(self) -> None:
        """Open it; OSError if that fails. Afterwards answers are waited for a little longer."""
        plain = connected(self.host, self.port, self._inside)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = self._keys.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        self.sock.settimeout(ANSWER_SECONDS)

    def ask(self, method: str, path: str, body: Any = None, accept: str = JSON) -> tuple[int, Any]:
        """Status and answer of a request. OSError or HTTPException if there is no whole answer."""
        headers = {"Content-Type": JSON, "Accept": accept}
        self.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.getresponse()
        return answer.status, _parsed(answer.read())


def ask(
    address: str, port: int, keys: ssl.SSLContext, path: str, body: Any = None, accept: str = JSON
) -> Any:
    """One request on a connection of its own: POST with a body, GET without. It must succeed."""
    wire = Wire(address, port, keys)
    try:
        status, answer = wire.ask("GET" if body is None else "POST", path, body, accept)
    finally:
        wire.close()
    assert status == 200, f"{address}:{port}{path}: status {status}, {str(answer)[:500]}"
    return answer


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"message": body[:200].decode(errors="replace")}


def init_process(story: Story, node: str) -> int:
    """The id of a node's first process. LookupError if it does not run."""
    path = str(MACHINES / story.name / "nodes")
    asked = ["lxc-info", "-P", path, "-n", node, "-p", "-H"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired as error:
        raise LookupError(f"{node} does not say") from error
    if not done.stdout.strip().isdigit():
        raise LookupError(f"{node} does not run")
    return int(done.stdout)


def connected(host: str, port: int, inside: int | None) -> socket.socket:
    """A connected socket. It stays in the network in which it was made; the thread goes back to its own."""
    if inside is None:
        return socket.create_connection((host, port), CONNECT_SECONDS)
    with _network("thread-self") as home, _network(str(inside)) as there:
        _enter(there.fileno())
        try:
            return socket.create_connection((host, port), CONNECT_SECONDS)
        finally:
            _enter(home.fileno())


def _network(process: str) -> Any:
    return Path(f"/proc/{process}/ns/net").open("rb", buffering=0)


def _enter(network: int) -> None:
    """Move this thread, and only it, to a network. Python has os.setns from 3.12 on."""
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
