"""Where a simulated Kubernetes API (simulated_api.py) keeps its objects: beside etcd's data or in a real one.

`FileObjects` takes the mark of a running unit for a running etcd. `EtcdObjects` asks the etcd that the API
server's own flags name: what is lost there is lost.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import ssl
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from anykube.addons.references import Object

ACTIVE = "run/simulated/active"
"""Where the simulated systemctl notes what runs."""
LOADED = "run/simulated/loaded"
OBJECTS = "var/lib/etcd/simulated-objects.json"
PREFIX = "/simulated/"
REQUEST_SECONDS = 3.0


class Objects(Protocol):
    """All objects of a cluster, by reference."""

    async def load(self) -> dict[str, Object] | None:
        """All of them, or None while nobody serves them."""

    async def put(self, name: str, thing: Object) -> bool:
        """Keep one; False if nobody could."""

    async def delete(self, name: str) -> bool:
        """Remove one; False if nobody could."""


def runs(tree: Path, unit: str) -> bool:
    """Whether a unit runs on the host with this tree."""
    return (tree / ACTIVE / f"{unit}.service").exists()


class FileObjects:
    """A file in the folder of etcd's data, on the one control plane."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._path = tree / OBJECTS

    async def load(self) -> dict[str, Object] | None:
        """See Objects."""
        if not runs(self._tree, "etcd") or not runs(self._tree, "kube-apiserver"):
            return None
        return self._read()

    async def put(self, name: str, thing: Object) -> bool:
        """See Objects."""
        self._write({**self._read(), name: thing})
        return True

    async def delete(self, name: str) -> bool:
        """See Objects."""
        self._write({key: value for key, value in self._read().items() if key != name})
        return True

    def _read(self) -> dict[str, Object]:
        found: dict[str, Object] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return found

    def _write(self, objects: Mapping[str, Object]) -> None:
        temporary = self._path.with_name(f"{self._path.name}.{uuid.uuid4()}")
        temporary.write_text(json.dumps(objects))
        os.replace(temporary, self._path)  # noqa: PTH105  as short as Path.replace


class EtcdObjects:
    """Keys in the etcd behind whichever API server runs, over etcd's JSON gateway."""

    def __init__(self, trees: Mapping[str, Path]) -> None:
        self._trees = trees
        self._turn = asyncio.Lock()
        self._open: dict[tuple[Path, str], http.client.HTTPSConnection] = {}

    async def load(self) -> dict[str, Object] | None:
        """See Objects."""
        answer = await self._ask("range", {"key": _encoded(PREFIX), "range_end": _encoded(_after(PREFIX))})
        if answer is None:
            return None
        return {
            b64decode(pair["key"]).decode().removeprefix(PREFIX): json.loads(b64decode(pair["value"]))
            for pair in answer.get("kvs", ())
        }

    async def put(self, name: str, thing: Object) -> bool:
        """See Objects."""
        pair = {"key": _encoded(PREFIX + name), "value": _encoded(json.dumps(thing))}
        return await self._ask("put", pair) is not None

    async def delete(self, name: str) -> bool:
        """See Objects."""
        return await self._ask("deleterange", {"key": _encoded(PREFIX + name)}) is not None

    async def _ask(self, verb: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        async with self._turn:
            return await asyncio.to_thread(self._first_answer, f"/v3/kv/{verb}", json.dumps(body))

    def _first_answer(self, path: str, body: str) -> dict[str, Any] | None:
        for tree in self._trees.values():
            if runs(tree, "kube-apiserver"):
                for server in _etcd_servers(tree):
                    try:
                        return self._answer(tree, server, path, body)
                    except (OSError, http.client.HTTPException, ValueError):
                        self._open.pop((tree, server), None)
        return None

    def _answer(self, tree: Path, server: str, path: str, body: str) -> dict[str, Any]:
        connection = self._open.get((tree, server)) or _connection(tree, server)
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(text[:200])
        self._open[(tree, server)] = connection
        found: dict[str, Any] = json.loads(text)
        return found


def _etcd_servers(tree: Path) -> Iterator[str]:
    """What the API server of this host was started with, as seen from outside the host."""
    unit = (tree / LOADED / "kube-apiserver.service").read_text()
    own = (tree / "etc/simulated/addresses").read_text().split()[0]
    flag = re.search(r"--etcd-servers=(\S+)", unit)
    for server in flag[1].split(",") if flag else ():
        yield server.replace("127.0.0.1", own)


def _connection(tree: Path, server: str) -> http.client.HTTPSConnection:
    pki = tree / "etc/kubernetes/pki"
    context = ssl.create_default_context(cafile=str(tree / "etc/kubernetes/pki/etcd-ca.crt"))
    context.load_cert_chain(pki / "apiserver-etcd.crt", pki / "apiserver-etcd.key")
    where = urlsplit(server)
    return http.client.HTTPSConnection(
        where.hostname or "", where.port, timeout=REQUEST_SECONDS, context=context
    )


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _after(prefix: str) -> str:
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
