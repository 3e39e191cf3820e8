"""Kubeconfigs of components: they name files of certificates and keys, so they hold no secret themselves."""

from __future__ import annotations

from anykube.content.authorities import CLUSTER_CA
from anykube.content.context import NodeContext
from anykube.content.files import certificate_and_key, yaml_config
from anykube.content.model import File
from anykube.content.paths import KUBERNETES, PKI


def path_of(user: str) -> str:
    """Where the kubeconfig of a component is."""
    return f"{KUBERNETES}/{user}.conf"


def files(context: NodeContext, user: str) -> tuple[File, File, File]:
    """The kubeconfig of a component, and the client certificate and key that it names."""
    pair = certificate_and_key(user, f"nodes/{context.node.name}/{user}")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context.cluster.name,
                "cluster": {"server": context.server, "certificate-authority": CLUSTER_CA},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate": f"{PKI}/{user}.crt", "client-key": f"{PKI}/{user}.key"},
            }
        ],
        "contexts": [{"name": user, "context": {"cluster": context.cluster.name, "user": user}}],
        "current-context": user,
    }
    return yaml_config(path_of(user), config), *pair
