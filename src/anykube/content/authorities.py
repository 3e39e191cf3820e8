"""Certificates of the authorities, and the key of service-account tokens: what several components read.

No key of a CA is ever put on a node: anykube issues all certificates itself, before a node starts.
"""

from __future__ import annotations

from anykube.content.context import NodeContext
from anykube.content.files import KEY_MODE, authority, key
from anykube.content.model import Component, File, SecretPart
from anykube.content.paths import KUBERNETES, PKI

NAME = "authorities"
CLUSTER_CA = f"{PKI}/ca.crt"
ETCD_CA = f"{PKI}/etcd-ca.crt"
FRONT_PROXY_CA = f"{PKI}/front-proxy-ca.crt"
SERVICE_ACCOUNT_KEY = f"{PKI}/service-account.key"
SERVICE_ACCOUNT_PUBLIC = f"{PKI}/service-account.pub"


def component(context: NodeContext) -> Component:
    """The authorities that this node has to trust."""
    files: list[File] = []
    if context.node.kubelet or context.node.load_balancer:
        files.append(authority(CLUSTER_CA, "ca/cluster"))
    if context.node.control_plane:
        files += [
            authority(ETCD_CA, "ca/etcd"),
            authority(FRONT_PROXY_CA, "ca/front-proxy"),
            key(SERVICE_ACCOUNT_KEY, "service-account"),
            File(SERVICE_ACCOUNT_PUBLIC, SecretPart("service-account", "bundle"), KEY_MODE),
        ]
    directories = (("755", "root:root", KUBERNETES), ("755", "root:root", PKI))
    return Component(NAME, tuple(files), directories=directories)
