"""What kubeadm and its kubelets are told, as data: the settings are ours wherever kubeadm leaves a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from anykube.content import containerd, controller_manager, etcd, kube_proxy, kubelet
from anykube.content.context import API_PORT, NodeContext
from anykube.content.model import Text
from anykube.content.node import components
from anykube.spec.catalog import REGISTRY
from bench.images import tag

TOKEN = "abcdef.0123456789abcdef"
CERTIFICATE_KEY = "0123456789abcdef" * 4
PKI = "/etc/kubernetes/pki"
MANIFESTS = "/etc/kubernetes/manifests"
OURS_ALONE = ("authentication", "tlsCertFile", "tlsPrivateKeyFile", "registerWithTaints")
"""Settings of our kubelet that name files which kubeadm has elsewhere, or makes itself."""
VERSION = {"apiVersion": "kubeadm.k8s.io/v1beta4"}

_UNIT = """\
[Unit]
Description=kubelet
After=containerd.service

[Service]
Environment=KUBECONFIG_ARGS="--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/bin/sh -c 'exec /usr/local/bin/kubelet {arguments}'
Restart=always
RestartSec=1
StartLimitIntervalSec=0

[Install]
WantedBy=multi-user.target
"""  # noqa: E501
ETCD_KUBELET = "/etc/kubernetes-bench-kubelet.yaml"
KUBELET_UNIT = _UNIT.format(
    arguments="$KUBECONFIG_ARGS --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS"
)
ETCD_KUBELET_UNIT = _UNIT.format(arguments=f"--config={ETCD_KUBELET}")


def init_config(context: NodeContext, servers: Sequence[str], *, fair: bool) -> str:
    """For kubeadm init on the first control plane. `servers`: addresses of all control planes.

    With several, the first one's address is the endpoint: as the documentation has it for a cluster whose
    balancer comes later, and one hop less than a balancer.
    """
    cluster = context.cluster
    network = cluster.spec.network
    shared = {"controlPlaneEndpoint": f"{servers[0]}:{API_PORT}"} if len(servers) > 1 else {}
    whole = {
        **_common(context),
        **shared,
        "clusterName": cluster.name,
        "controllerManager": {"extraArgs": _arguments(_limits()) if fair else []},
        "etcd": _etcd(context),
        "networking": {
            "podSubnet": network.pods,
            "serviceSubnet": network.services,
            "dnsDomain": network.domain,
        },
    }
    documents = (
        {**_init(context), "bootstrapTokens": [{"token": TOKEN}], "certificateKey": CERTIFICATE_KEY},
        {**VERSION, "kind": "ClusterConfiguration", **whole},
        _without(_text(context, kubelet.CONFIG), OURS_ALONE),
        _without(_text(context, kube_proxy.CONFIG), ("clientConnection",)),
    )
    return str(yaml.safe_dump_all(documents, sort_keys=False))


def etcd_config(context: NodeContext) -> str:
    """For the certificates and the static pod of one member of an etcd cluster of its own."""
    name, address = context.node.name, context.address
    members = [(member, etcd.peer_url(where)) for member, where in context.etcd_members]
    local = {
        "imageTag": _etcd_tag(context),
        "serverCertSANs": [address],
        "peerCertSANs": [address],
        "extraArgs": _arguments(
            {
                "initial-cluster": etcd.initial_cluster(members),
                "initial-cluster-state": "new",
                "name": name,
                "listen-peer-urls": etcd.peer_url(address),
                "listen-client-urls": etcd.client_url(address),
                "advertise-client-urls": etcd.client_url(address),
                "initial-advertise-peer-urls": etcd.peer_url(address),
            }
        ),
    }
    whole = {**VERSION, "kind": "ClusterConfiguration", **_common(context), "etcd": {"local": local}}
    return str(yaml.safe_dump_all((_init(context), whole), sort_keys=False))


def etcd_kubelet_config(worker: NodeContext) -> str:
    """A kubelet that only runs the static pod of etcd, as kubeadm's documentation has it. `worker`: the
    machine as if it were a worker."""
    alone = {
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "127.0.0.1",
        "staticPodPath": MANIFESTS,
    }
    return yaml.safe_dump({**_without(_text(worker, kubelet.CONFIG), OURS_ALONE), **alone})


def _init(context: NodeContext) -> dict[str, Any]:
    return {
        **VERSION,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": context.address, "bindPort": API_PORT},
        "nodeRegistration": {
            "name": context.node.name,
            "criSocket": containerd.SOCKET,
            "imagePullPolicy": "IfNotPresent",
            "taints": [dict(taint) for taint in kubelet.node_taints(context.node)],
        },
    }


def _common(context: NodeContext) -> dict[str, Any]:
    return {
        "kubernetesVersion": f"v{context.cluster.spec.kubernetes.version}",
        "imageRepository": REGISTRY,
        "encryptionAlgorithm": "ECDSA-P256",
    }


def _etcd(context: NodeContext) -> dict[str, Any]:
    if context.node.etcd:
        return {"local": {"imageTag": _etcd_tag(context)}}
    return {
        "external": {
            "endpoints": [etcd.client_url(address) for _, address in context.etcd_members],
            "caFile": f"{PKI}/etcd/ca.crt",
            "certFile": f"{PKI}/apiserver-etcd-client.crt",
            "keyFile": f"{PKI}/apiserver-etcd-client.key",
        }
    }


def _etcd_tag(context: NodeContext) -> str:
    return tag("etcd", context.cluster.spec.kubernetes.version)


def _limits() -> Mapping[str, str]:
    requests = controller_manager.API_REQUESTS
    return {"kube-api-qps": str(requests), "kube-api-burst": str(2 * requests)}


def _arguments(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _text(context: NodeContext, path: str) -> Mapping[str, Any]:
    """A configuration file of ours, as data."""
    files = (file for part in components(context) for file in part.files if file.path == path)
    source = next(files).source
    assert isinstance(source, Text)
    content: Mapping[str, Any] = yaml.safe_load(source.value)
    return content


def _without(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}
