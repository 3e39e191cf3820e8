"""kube-scheduler, by CIS section 1.4."""

from __future__ import annotations

from anykube.content import apiserver, kubeconfig
from anykube.content.authorities import CLUSTER_CA, FRONT_PROXY_CA
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import NodeContext
from anykube.content.files import binary
from anykube.content.model import Component
from anykube.content.paths import install_path
from anykube.content.system import NAME as SYSTEM
from anykube.content.unit import Service, flags, oom_score

NAME = "kube-scheduler"
SERVICE = "kube-scheduler.service"
USER = "scheduler"


def component(context: NodeContext) -> Component:
    """The binary, its kubeconfig and unit."""
    credentials = kubeconfig.files(context, USER)
    config = kubeconfig.path_of(USER)
    arguments = flags(
        {
            "kubeconfig": config,
            "authentication-kubeconfig": config,
            "authorization-kubeconfig": config,
            "bind-address": "127.0.0.1",
            "client-ca-file": CLUSTER_CA,
            "requestheader-client-ca-file": FRONT_PROXY_CA,
            "leader-elect": True,
            "profiling": False,
        }
    )
    service = Service(
        name=SERVICE,
        description="Kubernetes scheduler",
        command=(install_path(NAME), *arguments),
        kind="exec",
        inputs=(*(file.path for file in credentials), CLUSTER_CA, FRONT_PROXY_CA, install_path(NAME)),
        after=(apiserver.SERVICE,),
        settings=oom_score(context.system.constrained),
    )
    files = (binary(NAME), *credentials, service.file())
    return Component(NAME, files, service.unit, after=(SYSTEM, AUTHORITIES, apiserver.NAME))
