"""Plugins of the pod network. No configuration: flannel's DaemonSet writes it once the node has its subnet,
and a node is not Ready before that."""

from __future__ import annotations

from anykube.content.context import NodeContext
from anykube.content.files import binary
from anykube.content.model import Component
from anykube.content.paths import CNI_BINARIES

NAME = "cni"
NETWORK = "cbr0"
"""The name of the pod network in its configuration (addons/flannel.py): host-local and portmap use it."""
TRACES = (
    "device cni0",
    "device flannel.1",
    "device flannel-v6.1",
    "table ip flannel-ipv4",
    "table ip6 flannel-ipv6",
    "table inet cni_hostport",
    "routes /run/flannel/subnet.env",
    "data /run/flannel",
    "file /etc/cni/net.d/10-flannel.conflist",
    f"data /var/lib/cni/networks/{NETWORK}",
    "directory /var/lib/cni/results",
    f"files /var/lib/cni/results/{NETWORK}-",
    "files /var/lib/cni/results/cni-loopback-",
    "data /var/lib/cni/flannel",
)
"""What the plugins and flannel's DaemonSet leave; the kubelet's unit answers for them, as it starts pods."""
BASE_PLUGINS = ("cni-bridge", "cni-host-local", "cni-loopback", "cni-portmap")


def component(context: NodeContext) -> Component:
    """The plugins as files."""
    flannel = ("cni-flannel",) if context.cluster.spec.network.cni.flannel else ()
    files = tuple(binary(name) for name in (*BASE_PLUGINS, *flannel))
    return Component(NAME, files, directories=(("755", "root:root", CNI_BINARIES),))
