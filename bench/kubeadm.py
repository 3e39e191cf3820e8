"""The rival: kubeadm at the fastest of its documented ways, on machines made like ours.

Before the clock starts its machines have what its documentation asks for: containerd runs, the kubelet's
unit is there, all images are imported. Its settings of kubelet, kube-proxy and containerd are ours.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from anykube.addons.catalog import objects
from anykube.content import containerd, controller_manager, kube_proxy, kubelet
from anykube.content.context import API_PORT, NodeContext
from anykube.content.model import ArtifactFile, File, SecretPart, Source, Text
from anykube.content.node import components
from anykube.content.paths import UNITS
from anykube.execute.node import NodeHand
from anykube.observe.cluster import observe
from anykube.plan.contexts import addresses, contexts
from anykube.session import Session
from anykube.spec.catalog import REGISTRY
from anykube.transports.base import Result
from bench.images import tag
from bench.lab import Site

PREPARED = ("system", "containerd", "cni")
"""Components of ours that stand for 'a container runtime is installed'."""
TOKEN = "abcdef.0123456789abcdef"
CONFIG = "/etc/kubernetes-bench.yaml"
ADMIN = "/etc/kubernetes/super-admin.conf"
SKIPPED = "preflight,addon/coredns"
"""Checks take a second or two and are not what is compared; CoreDNS is applied as ours on both sides."""
COMMAND_SECONDS = 300.0
OURS_ALONE = ("authentication", "tlsCertFile", "tlsPrivateKeyFile", "registerWithTaints")
"""Settings of our kubelet that name files which kubeadm has elsewhere, or makes itself."""

KUBELET_UNIT = """\
[Unit]
Description=kubelet
After=containerd.service

[Service]
Environment=KUBECONFIG_ARGS="--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/bin/sh -c 'exec /usr/local/bin/kubelet $KUBECONFIG_ARGS --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS'
Restart=always
RestartSec=1
StartLimitIntervalSec=0

[Install]
WantedBy=multi-user.target
"""  # noqa: E501


class Kubeadm:
    """One cluster brought up by kubeadm. `fair`: beyond what is documented, workers join all at once, and the
    controller manager has our limit of requests; else one after the other, and kubeadm's own flags."""

    def __init__(self, site: Site, session: Session, *, fair: bool) -> None:
        self._fair = fair
        self._site = site
        self._session = session
        self._contexts: tuple[NodeContext, ...] = ()

    async def prepare(self) -> None:
        """Everything that is not on the clock."""
        blueprint = self._session.draw(())
        facts = await observe(self._session.cluster, self._session.ports(), blueprint)
        self._contexts = contexts(self._session.cluster, addresses(blueprint), blueprint, facts.hosts)
        await asyncio.gather(*map(self._prepare, self._contexts))

    async def run(self) -> None:
        """Init, pod network and DNS, then the workers."""
        head, workers = self._contexts[0].node.name, [c.node.name for c in self._contexts[1:]]
        said = await self._on(head, "kubeadm", "init", f"--config={CONFIG}", f"--skip-phases={SKIPPED}")
        found = re.search(r"sha256:[0-9a-f]{64}", said.stdout)
        if found is None:
            raise RuntimeError(f"kubeadm init said no hash of its CA: {said.stdout[-2000:]}")
        if self._fair:
            await asyncio.gather(self._addons(head), *(self._join(name, found[0]) for name in workers))
            return
        await self._addons(head)
        for name in workers:
            await self._join(name, found[0])

    async def _join(self, name: str, hash_of_ca: str) -> None:
        server = f"{self._contexts[0].address}:{API_PORT}"
        await self._on(
            name,
            "kubeadm",
            "join",
            server,
            f"--token={TOKEN}",
            f"--discovery-token-ca-cert-hash={hash_of_ca}",
            f"--cri-socket={containerd.SOCKET}",
            "--skip-phases=preflight",
        )

    async def _addons(self, head: str) -> None:
        found = objects(self._site.cluster, self._site.nodes, self._contexts[0].endpoint)
        items = [*found["flannel"], *found["dns"]]
        whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        apply = ("kubectl", f"--kubeconfig={ADMIN}", "apply", "--server-side", "--validate=false", "-f", "-")
        await self._on(head, *apply, stdin=whole.encode())

    async def _prepare(self, context: NodeContext) -> None:
        name = context.node.name
        hand = NodeHand(self._session.transport(name), "bench", 1, _no_secrets)
        parts = [part for part in components(context) if part.name in PREPARED]
        files = [file for part in parts for file in part.files if not isinstance(file.source, ArtifactFile)]
        folders = [folder for part in parts for folder in part.directories]
        files.append(File(f"{UNITS}/kubelet.service", Text(KUBELET_UNIT)))
        files.append(File(CONFIG, Text(self._config(context)), "600"))
        await hand.put(files, folders)
        for part in parts:
            if part.unit:
                await hand.set_unit(part.unit.name, "started")
        await self._on(name, "systemctl", "enable", "kubelet.service")

    def _config(self, context: NodeContext) -> str:
        cluster = context.cluster
        network = cluster.spec.network
        taints = [dict(taint) for taint in kubelet.node_taints(context.node)]
        init = {
            "bootstrapTokens": [{"token": TOKEN}],
            "localAPIEndpoint": {"advertiseAddress": context.address, "bindPort": API_PORT},
            "nodeRegistration": {
                "name": context.node.name,
                "criSocket": containerd.SOCKET,
                "imagePullPolicy": "IfNotPresent",
                "taints": taints,
            },
        }
        whole = {
            "clusterName": cluster.name,
            "kubernetesVersion": f"v{cluster.spec.kubernetes.version}",
            "imageRepository": REGISTRY,
            "controllerManager": {"extraArgs": self._limits()},
            "encryptionAlgorithm": "ECDSA-P256",
            "etcd": {"local": {"imageTag": tag("etcd")}},
            "networking": {
                "podSubnet": network.pods,
                "serviceSubnet": network.services,
                "dnsDomain": network.domain,
            },
        }
        version = {"apiVersion": "kubeadm.k8s.io/v1beta4"}
        documents = (
            {**version, "kind": "InitConfiguration", **init},
            {**version, "kind": "ClusterConfiguration", **whole},
            _without(_text(context, kubelet.CONFIG), OURS_ALONE),
            _without(_text(context, kube_proxy.CONFIG), ("clientConnection",)),
        )
        return str(yaml.safe_dump_all(documents, sort_keys=False))

    def _limits(self) -> list[dict[str, str]]:
        limits = {
            "kube-api-qps": controller_manager.API_REQUESTS,
            "kube-api-burst": 2 * controller_manager.API_REQUESTS,
        }
        return [{"name": name, "value": str(value)} for name, value in limits.items()] if self._fair else []

    async def _on(self, node: str, *argv: str, stdin: bytes | None = None) -> Result:
        result = await self._session.transport(node).run(argv, stdin=stdin, seconds=COMMAND_SECONDS)
        if result.status:
            raise RuntimeError(f"{node}: {' '.join(argv)}: {result.stdout[-3000:]}{result.stderr[-3000:]}")
        return result


def _text(context: NodeContext, path: str) -> Mapping[str, Any]:
    """A configuration file of ours, as data."""
    files = (file for part in components(context) for file in part.files if file.path == path)
    source = next(files).source
    assert isinstance(source, Text)
    content: Mapping[str, Any] = yaml.safe_load(source.value)
    return content


def _without(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def _no_secrets(source: Source) -> tuple[bytes, str]:
    import hashlib

    assert not isinstance(source, SecretPart | ArtifactFile)
    content = source.value.encode()
    return content, hashlib.sha256(content).hexdigest()
