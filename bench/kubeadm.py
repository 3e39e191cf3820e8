"""The rival: kubeadm at the fastest of its documented ways, on machines made like ours.

Before the clock starts its machines have what its documentation asks for: containerd runs, the kubelet's
unit is there, all images are imported; on machines for etcd alone their kubelet runs too. Its settings of
kubelet, kube-proxy and containerd are ours.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from anykube.addons.catalog import objects
from anykube.content import containerd
from anykube.content.context import API_PORT, NodeContext
from anykube.content.model import ArtifactFile, File, Source, Text
from anykube.content.node import components
from anykube.content.paths import UNITS
from anykube.errors import TransportError
from anykube.execute.node import NodeHand
from anykube.observe.cluster import observe
from anykube.plan.contexts import contexts
from anykube.session import Session
from anykube.spec.model import Role
from anykube.transports.base import Result
from bench.kubeadm_config import (
    CERTIFICATE_KEY,
    ETCD_KUBELET,
    ETCD_KUBELET_UNIT,
    KUBELET_UNIT,
    MANIFESTS,
    PKI,
    TOKEN,
    etcd_config,
    etcd_kubelet_config,
    init_config,
)
from bench.lab import Site

PREPARED = ("system", "containerd", "cni")
"""Components of ours that stand for 'a container runtime is installed'."""
CONFIG = "/etc/kubernetes-bench.yaml"
ADMIN = "/etc/kubernetes/super-admin.conf"
SKIPPED = "preflight,addon/coredns"
"""Checks take a second or two and are not what is compared; CoreDNS is applied as ours on both sides."""
COMMAND_SECONDS = 300.0

AUTHORITY = ("etcd/ca.crt", "etcd/ca.key")
CLIENT = ("etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key")
MEMBER_CERTIFICATES = ("etcd-server", "etcd-peer", "etcd-healthcheck-client", "apiserver-etcd-client")
MEMBER = " && ".join(
    [
        *(f"kubeadm init phase certs {name} --config={CONFIG}" for name in MEMBER_CERTIFICATES),
        f"kubeadm init phase etcd local --config={CONFIG}",
    ]
)


class Kubeadm:
    """One cluster brought up by kubeadm, stage by stage as its documentation has it: init; pod network;
    the other control planes at once; the workers at once. `fair`: beyond what is documented, all that comes
    after init at once, and the controller manager has our limit of requests."""

    def __init__(self, site: Site, session: Session, *, fair: bool) -> None:
        self._fair = fair
        self._site = site
        self._session = session
        self._contexts: tuple[NodeContext, ...] = ()
        self._hash_of_ca = ""

    async def prepare(self) -> None:
        """Everything that is not on the clock."""
        blueprint = self._session.draw(())
        facts = await observe(self._session.cluster, self._session.ports(), blueprint)
        self._contexts = contexts(self._session.cluster, blueprint.addresses, blueprint, facts.hosts)
        await asyncio.gather(*map(self._prepare, self._contexts))

    async def run(self, *, without: Sequence[str] = ()) -> None:
        """Bring up the cluster, but for the nodes `without`."""
        planes = [context.node.name for context in self._contexts if context.node.control_plane]
        workers = [name for name in self._names(Role.WORKER) if name not in (*planes, *without)]
        if members := [name for name in self._names(Role.ETCD) if name not in planes]:
            await self._start_etcd(members, planes[0])
        command = ("kubeadm", "init", f"--config={CONFIG}", f"--skip-phases={SKIPPED}", "--upload-certs")
        said = await self.on(planes[0], *command)
        found = re.search(r"sha256:[0-9a-f]{64}", said.stdout)
        if found is None:
            raise RuntimeError(f"kubeadm init said no hash of its CA: {said.stdout[-2000:]}")
        self._hash_of_ca = found[0]
        if self._fair:
            await asyncio.gather(self._addons(planes[0]), *map(self.join, [*planes[1:], *workers]))
            return
        await self._addons(planes[0])
        await asyncio.gather(*map(self.join, planes[1:]))
        await asyncio.gather(*map(self.join, workers))

    async def join(self, name: str) -> None:
        """One more node."""
        server = f"{self._contexts[0].address}:{API_PORT}"
        plane = ("--control-plane", f"--certificate-key={CERTIFICATE_KEY}")
        await self.on(
            name,
            "kubeadm",
            "join",
            server,
            f"--token={TOKEN}",
            f"--discovery-token-ca-cert-hash={self._hash_of_ca}",
            f"--cri-socket={containerd.SOCKET}",
            "--skip-phases=preflight",
            *(plane if name in self._names(Role.CONTROL_PLANE) else ()),
        )

    async def _start_etcd(self, members: Sequence[str], head: str) -> None:
        """The documented way, but that all members make their certificates at once, each its own."""
        await self.on(members[0], "kubeadm", "init", "phase", "certs", "etcd-ca", f"--config={CONFIG}")
        await self._copy(members[0], members[1:], AUTHORITY)
        await asyncio.gather(*(self.on(name, "sh", "-c", MEMBER) for name in members))
        await self._copy(members[0], [head], CLIENT)

    async def _copy(self, source: str, targets: Sequence[str], files: Sequence[str]) -> None:
        packed = await self.on(source, "sh", "-c", f"tar -C {PKI} -c {' '.join(files)} | base64")
        unpack = f"mkdir -p {PKI} && base64 -d | tar -C {PKI} -x"
        stdin = packed.stdout.encode()
        await asyncio.gather(*(self.on(name, "sh", "-c", unpack, stdin=stdin) for name in targets))

    async def _addons(self, head: str) -> None:
        # No balancer of ours runs here: flannel reaches the API where kubeadm's own components do.
        endpoint = replace(self._contexts[0].endpoint, host=self._contexts[0].address, port=API_PORT)
        found = objects(self._site.cluster, self._site.nodes, endpoint)
        items = [*found["flannel"], *found["dns"]]
        whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        apply = ("kubectl", f"--kubeconfig={ADMIN}", "apply", "--server-side", "--validate=false", "-f", "-")
        await self.on(head, *apply, stdin=whole.encode())

    async def _prepare(self, context: NodeContext) -> None:
        name = context.node.name
        alone = not context.node.kubelet
        # kubeadm runs etcd in a pod: machines for etcd alone need what a worker needs.
        worker = replace(context, node=replace(context.node, roles=(Role.WORKER,)))
        hand = NodeHand(self._session.transport(name), "bench", 1, _no_secrets)
        parts = [part for part in components(worker if alone else context) if part.name in PREPARED]
        files = [file for part in parts for file in part.files if not isinstance(file.source, ArtifactFile)]
        folders = [folder for part in parts for folder in part.directories]
        if alone:
            folders += [("755", "root:root", "/etc/kubernetes"), ("755", "root:root", MANIFESTS)]
            files.append(File(f"{UNITS}/kubelet.service", Text(ETCD_KUBELET_UNIT)))
            files.append(File(ETCD_KUBELET, Text(etcd_kubelet_config(worker)), "600"))
            files.append(File(CONFIG, Text(etcd_config(context)), "600"))
        else:
            servers = [address for _, address in context.endpoint.servers]
            files.append(File(f"{UNITS}/kubelet.service", Text(KUBELET_UNIT)))
            files.append(File(CONFIG, Text(init_config(context, servers, fair=self._fair)), "600"))
        await hand.put(files, folders)
        for part in parts:
            if part.unit:
                await hand.set_unit(part.unit.name, "started")
        if alone:
            await hand.set_unit("kubelet.service", "started")
        else:
            await self.on(name, "systemctl", "enable", "kubelet.service")

    def _names(self, role: Role) -> list[str]:
        return [context.node.name for context in self._contexts if role in context.node.roles]

    async def on(self, node: str, *argv: str, stdin: bytes | None = None) -> Result:
        """Run a command on a node. RuntimeError with what it said unless it succeeds."""
        try:
            result = await self._session.transport(node).run(argv, stdin=stdin, seconds=COMMAND_SECONDS)
        except TransportError as error:
            raise RuntimeError(f"{node}: {' '.join(argv)}: {error}") from error
        if result.status:
            raise RuntimeError(f"{node}: {' '.join(argv)}: {result.stdout[-3000:]}{result.stderr[-3000:]}")
        return result


def _no_secrets(source: Source) -> tuple[bytes, str]:
    import hashlib

    assert isinstance(source, Text)
    content = source.value.encode()
    return content, hashlib.sha256(content).hexdigest()
