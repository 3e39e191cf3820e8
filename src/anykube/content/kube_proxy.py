"""kube-proxy: Services by nftables, on every node that runs pods."""

from __future__ import annotations

from typing import Any

from anykube.content import haproxy, kubeconfig
from anykube.content.authorities import CLUSTER_CA
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import NodeContext
from anykube.content.files import binary, yaml_config
from anykube.content.model import Component
from anykube.content.paths import install_path
from anykube.content.system import NAME as SYSTEM
from anykube.content.system import SERVICE as SYSTEM_SERVICE
from anykube.content.unit import Service

NAME = "kube-proxy"
SERVICE = "kube-proxy.service"
FOLDER = "/var/lib/kube-proxy"
CONFIG = f"{FOLDER}/config.yaml"
OOM_PROXY = -999
_CONNECTIONS = ("max", "buckets", "tcp_timeout_established", "tcp_timeout_close_wait")
TRACES = (
    f"data {FOLDER}",
    "table ip kube-proxy",
    "table ip6 kube-proxy",
    *(f"sysctl net.netfilter.nf_conntrack_{name}" for name in _CONNECTIONS),
)


def component(context: NodeContext) -> Component:
    """The binary, its kubeconfig, configuration and unit."""
    credentials = kubeconfig.files(context, NAME)
    service = Service(
        name=SERVICE,
        description="Kubernetes network proxy",
        # The name as a flag, so that the configuration is the same on all nodes of a pool.
        command=(install_path(NAME), f"--config={CONFIG}", f"--hostname-override={context.node.name}"),
        kind="exec",
        inputs=(CONFIG, *(file.path for file in credentials), CLUSTER_CA, install_path(NAME)),
        after=(SYSTEM_SERVICE,),
    )
    files = (binary(NAME), *credentials, yaml_config(CONFIG, _config(context)), service.file())
    directories = (("755", "root:root", FOLDER),)
    balancer = (haproxy.NAME,) if haproxy.local(context) else ()
    after = (SYSTEM, AUTHORITIES, *balancer)
    return Component(NAME, files, service.unit, directories, after, programs=("nft",), traces=TRACES)


def _config(context: NodeContext) -> dict[str, Any]:
    config: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig.path_of(NAME)},
        "mode": "nftables",
        "clusterCIDR": context.cluster.spec.network.pods,
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0 if context.system.constrained else OOM_PROXY,
    }
    if context.system.container:
        # The size of the connection table is the host's to set.
        config["conntrack"] = {"maxPerCore": 0, "min": 0}
    return config
