"""The one narrow door to the Kubernetes API: read, server-side apply, delete. Used by observe and execute.

Every method may raise TransportError (no answer), KubeBusyError (try again) or KubeError (refused).
Apply and delete may be repeated without harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anykube.addons.build import MANAGER
from anykube.addons.references import Object, collection_path, kind_of, parse, reference
from anykube.errors import KubeBusyError, KubeError
from anykube.facts.kubernetes import NodeFacts, WorkloadFacts
from anykube.kube.connection import JSON, Connection, client_context, decoded, failure, status_message
from anykube.kube.parse import PodSummary, node_facts, pod_summary, workload_facts
from anykube.kube.servers import Servers
from anykube.secret import Secret

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
READY_SECONDS = 3.0
PAGE = 500
EVICTION_REFUSED = frozenset({429, 403, 500})
"""A budget allows none now; its namespace is on its way out; more than one budget covers it."""
PAGES = 400
"""Lists end somewhere: 200 000 objects of a kind are more than Kubernetes supports of any."""


class KubeClient:
    """The API servers of one cluster, as the holder of one client certificate.

    PEM bytes in; nothing is written to disk.
    """

    def __init__(self, servers: tuple[str, ...], ca: bytes, certificate: bytes, key: Secret) -> None:
        context = client_context(ca, certificate, key)
        self._connection = Servers([Connection(server, context) for server in servers])

    async def __aenter__(self) -> KubeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def server(self) -> str:
        """The URL of the API server that is asked first."""
        return self._connection.server

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def readiness(self) -> str:
        """'' when any API server is ready, else why none is. Never raises, takes at most three seconds."""
        return await self._connection.readiness(READY_SECONDS)

    async def readiness_of_each(self) -> Mapping[str, str]:
        """The same for every API server by its URL, all asked at once."""
        return await self._connection.readiness_of_each(READY_SECONDS)

    async def ready(self) -> bool:
        """Whether any API server says that it can serve. Never raises."""
        return await self.readiness() == ""

    async def version(self) -> str:
        """The version that the API server runs, such as 'v1.36.3'."""
        answer = await self._connection.send("GET", "/version")
        if answer.status != 200:
            raise failure(answer, "tell its version")
        return str(decoded(answer, "GET /version").get("gitVersion", ""))

    async def text(self, path: str) -> str:
        """What lies behind a path, such as /metrics; '' if nothing does."""
        answer = await self._connection.send("GET", path)
        if answer.status == 404:
            return ""
        if answer.status != 200:
            raise failure(answer, f"show {path}")
        return answer.body.decode(errors="replace")

    async def document(self, path: str) -> Object:
        """What lies behind a path as JSON; empty if nothing does."""
        answer = await self._connection.send("GET", path)
        if answer.status == 404:
            return {}
        if answer.status != 200:
            raise failure(answer, f"show {path}")
        return decoded(answer, path)

    async def get(self, name: str) -> Object | None:
        """An object by its reference, or None."""
        answer = await self._connection.send("GET", parse(name).path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise failure(answer, f"show {name}")
        return decoded(answer, f"GET {name}")

    async def list_objects(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", accept: str = JSON
    ) -> tuple[Object, ...]:
        """All objects of a kind, of all namespaces when none is given. `labels`, `fields`: selectors."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        parameters = {"limit": str(PAGE)} | {key: value for key, value in selectors.items() if value}
        found: list[Object] = []
        for _ in range(PAGES):
            answer = await self._connection.send(
                "GET", collection_path(kind, namespace), parameters=parameters, accept=accept
            )
            if answer.status != 200:
                raise failure(answer, f"list objects of kind {kind}")
            page = decoded(answer, f"a list of {kind}")
            # Items of a list do not say what they are.
            what = {"apiVersion": kind_of(kind).api_version, "kind": kind}
            found += [{**what, **item} for item in page.get("items") or ()]
            if not (following := page.get("metadata", {}).get("continue")):
                return tuple(found)
            parameters["continue"] = following
        raise KubeError(f"The list of {kind} has no end; given up after {len(found)} objects.")

    async def apply(self, thing: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Server-side apply as 'anykube', taking over fields that others set. Answers the object after it.

        A Node belongs to its kubelet: KubeBusyError until it has registered.
        """
        name = reference(thing)
        if not kind_of(thing["kind"]).created:
            thing = await self._pinned(thing, name)
        parameters = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        answer = await self._connection.send(
            "PATCH",
            parse(name).path,
            parameters=parameters | ({"dryRun": "All"} if dry_run else {}),
            content=json.dumps(thing).encode(),
            media_type="application/apply-patch+yaml",
        )
        if answer.status == 404:
            # Just after its start an API server has not made kube-system yet, nor does it serve all groups.
            raise KubeBusyError(f"There is no place for {name} yet.", evidence=(status_message(answer),))
        if answer.status not in (200, 201):
            raise failure(answer, f"apply {name}")
        return decoded(answer, f"apply of {name}")

    async def names(self, kind: str) -> tuple[str, ...]:
        """References of all objects of a kind; of each only its metadata comes over the wire."""
        listed = await self.list_objects(kind, accept=METADATA_LIST)
        return tuple(reference({**item, "kind": kind}) for item in listed)

    async def touch(self, name: str) -> bool:
        """Have an object stored as the API server would store it now; False if it is not there. Nothing else
        changes, and its content stays there."""
        answer = await self._connection.send(
            "PATCH",
            parse(name).path,
            parameters={"fieldManager": MANAGER},
            content=b"{}",
            media_type="application/merge-patch+json",
            accept=METADATA,
        )
        if answer.status not in (200, 404):
            raise failure(answer, f"store {name} anew")
        return answer.status != 404

    async def merge(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Change some fields of an object (null removes one). False if it is not there."""
        answer = await self._connection.send(
            "PATCH",
            parse(name).path,
            parameters={"fieldManager": MANAGER},
            content=json.dumps(patch).encode(),
            media_type="application/merge-patch+json",
        )
        if answer.status not in (200, 404):
            raise failure(answer, f"change {name}")
        return answer.status != 404

    async def evict(self, namespace: str, name: str, uid: str) -> str:
        """Ask to end one pod, if its PodDisruptionBudgets allow that. '' if it ends, else why not.

        A pod of the same name with another uid is left alone: then the one that was meant is gone.
        """
        thing = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = f"{parse(f'Pod/{namespace}/{name}').path}/eviction"
        answer = await self._connection.send("POST", path, content=json.dumps(thing).encode())
        if answer.status in (200, 201, 202, 404, 409):
            return ""
        if answer.status in EVICTION_REFUSED:
            return status_message(answer)
        raise failure(answer, f"evict {namespace}/{name}")

    async def delete(self, name: str, *, at_once: bool = False) -> bool:
        """Delete an object, and what it owns with it, in the background. False if it was not there.

        `at_once`: without waiting for a kubelet to end it, for a pod whose node is no more.
        """
        parameters = {"propagationPolicy": "Background"} | ({"gracePeriodSeconds": "0"} if at_once else {})
        answer = await self._connection.send("DELETE", parse(name).path, parameters=parameters)
        if answer.status not in (200, 202, 404):
            raise failure(answer, f"delete {name}")
        return answer.status != 404

    async def nodes(self) -> Mapping[str, NodeFacts]:
        """All nodes by name."""
        facts = (node_facts(item) for item in await self.list_objects("Node"))
        return {node.name: node for node in facts}

    async def node(self, name: str) -> NodeFacts | None:
        """One node, or None if its kubelet has not registered it."""
        found = await self.get(f"Node//{name}")
        return node_facts(found) if found else None

    async def node_ready(self, name: str) -> bool:
        """Whether a node is registered and Ready."""
        node = await self.node(name)
        return node is not None and node.ready

    async def workload(self, name: str) -> WorkloadFacts | None:
        """A Deployment or DaemonSet by its reference, or None."""
        if parse(name).kind not in ("Deployment", "DaemonSet"):
            raise KubeError(f"{name[:100]} is not a workload: a Deployment or a DaemonSet is.")
        found = await self.get(name)
        return workload_facts(found) if found else None

    async def workload_ready(self, name: str) -> bool:
        """Whether all pods that a workload wants run its current template and are ready."""
        workload = await self.workload(name)
        return workload is not None and workload.ready >= workload.wanted

    async def pods(self, namespace: str = "") -> tuple[PodSummary, ...]:
        """All pods, of all namespaces when none is given."""
        return tuple(pod_summary(item) for item in await self.list_objects("Pod", namespace=namespace))

    async def _pinned(self, thing: Mapping[str, Any], name: str) -> Object:
        # An apply creates what is absent, unless it says which object it means: by its uid.
        found = await self.get(name)
        if found is None:
            raise KubeBusyError(f"{name} has not registered yet.")
        metadata = {**thing["metadata"], "uid": found["metadata"]["uid"]}
        return {**thing, "metadata": metadata}
