"""Plugins of the pod network. No configuration: flannel's DaemonSet writes it once the node has its subnet,
and a node is not Ready before that."""

from __future__ import annotations

from anykube.content.context import NodeContext
from anykube.content.files import binary
from anykube.content.model import Component
from anykube.content.paths import CNI_BINARIES

NAME = "cni"
BASE_PLUGINS = ("cni-bridge", "cni-host-local", "cni-loopback", "cni-portmap")


def component(context: NodeContext) -> Component:
    """The plugins as files."""
    flannel = ("cni-flannel",) if context.cluster.spec.network.cni.flannel else ()
    files = tuple(binary(name) for name in (*BASE_PLUGINS, *flannel))
    return Component(NAME, files, directories=(("755", "root:root", CNI_BINARIES),))
