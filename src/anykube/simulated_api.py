"""A simulated Kubernetes API over simulated hosts (testing.py), for tests of anykube and of what uses it.

    trees = {host.name: host.root for host in hosts}
    api = SimulatedApi(trees, FileObjects(trees["node-1"]))
    Session.doors = Doors(kube=lambda *_: api)

It is the real KubeClient; only what would go over the network is answered from the hosts' folder trees:
ready while etcd and an API server run there, a Node for every kubelet that ever ran, Ready while it runs,
workloads ready while a node is. Objects are kept where etcd keeps its data, or in a real etcd
(simulated_objects.py), so they survive what etcd's data survives: the end of this process, a reboot, but not
their removal.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from anykube.addons.build import MANAGER
from anykube.addons.references import KINDS, Object, collection_path, reference
from anykube.kube.client import KubeClient
from anykube.kube.connection import JSON, REQUEST_SECONDS, Answer, Connection
from anykube.kube.servers import Servers
from anykube.simulated_objects import Objects
from anykube.simulated_objects import runs as _runs

APPLIED = "simulated/last-applied"
"""Key of an object's last apply, which tells what a later one removes. Never shown."""


class SimulatedApi(KubeClient):
    """A KubeClient whose API server runs on a simulated host. `trees` maps each node to its folder tree."""

    def __init__(self, trees: Mapping[str, Path], objects: Objects) -> None:
        self._connection = Servers([_Connection(trees, objects)])


class _Connection(Connection):
    """Answers requests instead of sending them."""

    def __init__(self, trees: Mapping[str, Path], objects: Objects) -> None:
        self.server = "https://simulated:6443"
        self._trees = trees
        self._objects = objects

    async def close(self) -> None:
        """Nothing is open."""

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
        """One request; see Connection."""
        objects = await self._load()
        if path == "/readyz":
            return Answer(200, b"ok")
        if path == "/version":
            return _answer({"gitVersion": "v1.36.3"})
        asked = dict(parameters or {})
        if kind := _COLLECTIONS.get(path):
            found = self._listed(objects, kind, asked.get("labelSelector", ""))
            named = asked.get("fieldSelector", "").partition("metadata.name=")[2]
            return _answer({"items": [one for one in found if named in ("", one["metadata"]["name"])]})
        name = _name_of(path)
        match method:
            case "GET":
                return self._found(objects.get(name), name, objects)
            case "DELETE":
                self._kept(await self._objects.delete(name))
                return _answer({}, 200 if name in objects else 404)
            case "PATCH" if media_type == "application/merge-patch+json":
                if name not in objects:
                    return self._found(None, name, objects)
                live = _merged(objects[name], json.loads(content or b"{}"))
                self._kept(await self._objects.put(name, live))
                return self._found(live, name, objects)
            case "PATCH":
                wanted = json.loads(content or b"{}")
                live = _applied(objects.get(name), wanted)
                objects[name] = live
                if "dryRun" not in asked:
                    self._kept(await self._objects.put(name, live))
                return self._found(live, name, objects)
        return _answer({"message": f"the simulation does not know {method}"}, 405)

    async def _load(self) -> dict[str, Object]:
        objects = await self._objects.load()
        if objects is None:
            raise self._unreachable("Connection refused (simulated)")
        for name, tree in self._trees.items():
            if _runs(tree, "kubelet") and f"Node//{name}" not in objects:
                objects[f"Node//{name}"] = _registered(name)
                self._kept(await self._objects.put(f"Node//{name}", objects[f"Node//{name}"]))
        return objects

    def _kept(self, done: bool) -> None:
        if not done:
            raise self._unreachable("etcd does not answer (simulated)")

    def _listed(self, objects: Mapping[str, Object], kind: str, selector: str) -> Iterator[Object]:
        for name, thing in objects.items():
            if name.startswith(f"{kind}/") and _selects(selector, thing["metadata"].get("labels", {})):
                yield self._shown(thing, objects)

    def _found(self, thing: Object | None, name: str, objects: Mapping[str, Object]) -> Answer:
        if thing is None:
            return _answer({"message": f"{name} not found"}, 404)
        return _answer(self._shown(thing, objects))

    def _shown(self, thing: Object, objects: Mapping[str, Object]) -> Object:
        """The object with the status that the hosts give it."""
        nodes = [name for name in self._trees if f"Node//{name}" in objects]
        ready = sum(_runs(self._trees[name], "kubelet") for name in nodes)
        statuses: Mapping[str, Callable[[], Object]] = {
            "Node": lambda: self._node_status(thing["metadata"]["name"]),
            "DaemonSet": lambda: _daemons(thing, len(nodes), ready),
            "Deployment": lambda: _replicas(thing, ready),
        }
        shown = {key: value for key, value in thing.items() if key != APPLIED}
        return {**shown, "status": statuses[thing["kind"]]()} if thing["kind"] in statuses else shown

    def _node_status(self, name: str) -> Object:
        ready = name in self._trees and _runs(self._trees[name], "kubelet")
        condition = {"type": "Ready", "status": "True" if ready else "Unknown", "reason": "Simulated"}
        return {"conditions": [condition], "nodeInfo": {"kubeletVersion": "v1.36.3"}}


_COLLECTIONS = {collection_path(kind): kind for kind in KINDS}


def _answer(thing: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(thing).encode())


def _name_of(path: str) -> str:
    """The reference of the object at a path of the API."""
    parent, _, name = path.rpartition("/")
    root, _, tail = parent.partition("/namespaces/")
    namespace, _, plural = tail.partition("/")
    collection = f"{root}/{plural}" if plural else parent
    return f"{_COLLECTIONS[collection]}/{namespace if plural else ''}/{name}"


def _selects(selector: str, labels: Mapping[str, str]) -> bool:
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def _registered(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": str(uuid.uuid4())}}


def _applied(live: Object | None, wanted: Object) -> Object:
    """Server-side apply: what an earlier apply set and this one does not is removed, other fields stay."""
    base: Object = deepcopy(live) if live else {"metadata": {"uid": str(uuid.uuid4()), "generation": 0}}
    _drop(base, base.pop(APPLIED, {}), wanted)
    before = deepcopy(base)
    _merge(base, wanted)
    base["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply"}]
    if base != before and reference(wanted).split("/")[0] != "Node":
        base["metadata"]["generation"] = base["metadata"].get("generation", 0) + 1
    base[APPLIED] = deepcopy(wanted)
    return base


def _drop(live: Object, earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in earlier.items():
        if key not in wanted:
            live.pop(key, None)
        elif isinstance(value, dict) and isinstance(wanted[key], dict) and isinstance(live.get(key), dict):
            _drop(live[key], value, wanted[key])


def _merge(live: Object, wanted: Mapping[str, Any]) -> None:
    """Lists are replaced whole: no test needs several writers of one list."""
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            _merge(live[key], value)
        else:
            live[key] = deepcopy(value)


def _merged(live: Object, patch: Mapping[str, Any]) -> Object:
    """A JSON merge patch: null takes a field away."""
    merged = dict(live)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merged(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _daemons(thing: Object, wanted: int, ready: int) -> Object:
    names = ("currentNumberScheduled", "updatedNumberScheduled")
    return {
        **dict.fromkeys(names, wanted),
        "desiredNumberScheduled": wanted,
        "numberReady": ready,
        "observedGeneration": thing["metadata"]["generation"],
    }


def _replicas(thing: Object, ready: int) -> Object:
    wanted = thing["spec"].get("replicas", 1)
    running = wanted if ready else 0
    names = ("replicas", "updatedReplicas")
    return {
        **dict.fromkeys(names, wanted),
        "readyReplicas": running,
        "observedGeneration": thing["metadata"]["generation"],
    }
