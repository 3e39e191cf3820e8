"""kube-controller-manager, by CIS section 1.3.

It has no key of a CA and no `--cluster-signing-*` flags: anykube issues every certificate up front, so that
no node can sign one.
"""

from __future__ import annotations

from anykube.content import apiserver, kubeconfig
from anykube.content.authorities import CLUSTER_CA, FRONT_PROXY_CA, SERVICE_ACCOUNT_KEY
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import NodeContext
from anykube.content.files import binary
from anykube.content.model import Component
from anykube.content.paths import install_path
from anykube.content.system import NAME as SYSTEM
from anykube.content.unit import Service, flags, oom_score

NAME = "kube-controller-manager"
SERVICE = "kube-controller-manager.service"
USER = "controller-manager"
NODE_NETWORK_BITS = 24
"""Each node gets 254 pod addresses, twice what a kubelet may run."""
API_REQUESTS = 100
"""A second. At its start it asks for an account and a token per controller: the default of 20 makes a new
cluster wait four seconds for that, and no controller runs until all have theirs."""


def component(context: NodeContext) -> Component:
    """The binary, its kubeconfig and unit."""
    credentials = kubeconfig.files(context, USER)
    service = Service(
        name=SERVICE,
        description="Kubernetes controller manager",
        command=(install_path(NAME), *_flags(context)),
        kind="exec",
        inputs=(
            *(file.path for file in credentials),
            CLUSTER_CA,
            FRONT_PROXY_CA,
            SERVICE_ACCOUNT_KEY,
            install_path(NAME),
        ),
        after=(apiserver.SERVICE,),
        settings=oom_score(context.system.constrained),
    )
    files = (binary(NAME), *credentials, service.file())
    return Component(NAME, files, service.unit, after=(SYSTEM, AUTHORITIES, apiserver.NAME))


def _flags(context: NodeContext) -> tuple[str, ...]:
    network = context.cluster.spec.network
    config = kubeconfig.path_of(USER)
    return flags(
        {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": "127.0.0.1",
            "client-ca-file": CLUSTER_CA,
            "requestheader-client-ca-file": FRONT_PROXY_CA,
            "root-ca-file": CLUSTER_CA,
            "service-account-private-key-file": SERVICE_ACCOUNT_KEY,
            "use-service-account-credentials": True,
            "cluster-name": context.cluster.name,
            "allocate-node-cidrs": True,
            "cluster-cidr": network.pods,
            "node-cidr-mask-size": NODE_NETWORK_BITS,
            "service-cluster-ip-range": network.services,
            "leader-elect": True,
            "kube-api-qps": API_REQUESTS,
            "kube-api-burst": 2 * API_REQUESTS,
            "profiling": False,
            "terminated-pod-gc-threshold": 1000,
        }
    )
