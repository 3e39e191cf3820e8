"""kubelet: its configuration by CIS section 4.2 and how it fits the host; labels and taints of a node."""

from __future__ import annotations

from typing import Any

from anykube.content import cni, containerd, haproxy, images, kubeconfig
from anykube.content.apiserver import CIPHER_SUITES
from anykube.content.authorities import CLUSTER_CA
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import NodeContext
from anykube.content.files import binary, certificate_and_key, yaml_config
from anykube.content.model import Component
from anykube.content.paths import KUBELET, PKI, install_path
from anykube.content.system import NAME as SYSTEM
from anykube.content.system import RESOLV_CONF
from anykube.content.unit import Service, flags
from anykube.spec.model import Role
from anykube.spec.nodes import Node

NAME = "kubelet"
SERVICE = "kubelet.service"
CONFIG = f"{KUBELET}/config.yaml"
TRACES = (
    f"data {KUBELET}",
    "data /var/log/pods",
    "data /var/log/containers",
    f"mounts {KUBELET}/",
    "directory /usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    "cgroup kubepods",
    "chains KUBE-",
    *(f"builtin {family} {table}" for family in ("ip", "ip6") for table in ("filter", "nat", "mangle")),
)
ROLE_LABEL = "node-role.kubernetes.io/"
RESERVED_DOMAINS = ("kubernetes.io", "k8s.io")
"""Labels in these domains are refused from a kubelet, but for a few."""
SELF_SET_PREFIXES = ("node.kubernetes.io/", "kubelet.kubernetes.io/")
SELF_SET_LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


def node_labels(node: Node) -> dict[str, str]:
    """All labels of a node, to be applied through the API: a kubelet may not set those of roles, and sets the
    others only when it registers."""
    roles = {f"{ROLE_LABEL}{role.value}": "" for role in node.roles if role is not Role.ETCD}
    return roles | dict(node.labels)


def node_taints(node: Node) -> tuple[dict[str, str], ...]:
    """All taints of a node. A control plane that is no worker takes no ordinary pods."""
    taints = [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in node.taints]
    if node.control_plane and Role.WORKER not in node.roles:
        taints.insert(0, {"key": f"{ROLE_LABEL}control-plane", "value": "", "effect": "NoSchedule"})
    return tuple(taints)


def component(context: NodeContext) -> Component:
    """The binary, its certificates, configuration and unit."""
    credentials = kubeconfig.files(context, NAME)
    serving = certificate_and_key("kubelet-server", f"nodes/{context.node.name}/kubelet-server")
    service = Service(
        name=SERVICE,
        description="Kubernetes node agent",
        command=(install_path(NAME), *flags(_flags(context))),
        kind="notify",
        inputs=(CONFIG, *(file.path for file in (*credentials, *serving)), CLUSTER_CA, install_path(NAME)),
        after=(containerd.SERVICE, images.SERVICE),
        settings=(
            # Pods outlive a restart of the kubelet.
            ("KillMode", "process"),
            ("CPUAccounting", "yes"),
            ("MemoryAccounting", "yes"),
        ),
    )
    files = (binary(NAME), *credentials, *serving, yaml_config(CONFIG, _config(context)), service.file())
    directories = (("750", "root:root", KUBELET),)
    balancer = (haproxy.NAME,) if haproxy.local(context) else ()
    after = (SYSTEM, AUTHORITIES, containerd.NAME, images.NAME, cni.NAME, *balancer)
    return Component(NAME, files, service.unit, directories, after, traces=(*TRACES, *cni.TRACES))


def _flags(context: NodeContext) -> dict[str, str]:
    """Only what the configuration file has no field for."""
    values = {"config": CONFIG, "kubeconfig": kubeconfig.path_of(NAME), "node-ip": context.address}
    labels = {name: value for name, value in context.node.labels.items() if _may_set_itself(name)}
    if labels:
        values["node-labels"] = ",".join(f"{name}={labels[name]}" for name in sorted(labels))
    # The certificate names the node; a machine of the user may have another host name.
    if context.system.hostname not in ("", context.node.name):
        values["hostname-override"] = context.node.name
    return values


def _may_set_itself(label: str) -> bool:
    """Whether the admission plugin NodeRestriction lets a kubelet set this label."""
    domain = label.rpartition("/")[0]
    reserved = any(domain == name or domain.endswith(f".{name}") for name in RESERVED_DOMAINS)
    allowed = label in SELF_SET_LABELS or label.startswith(SELF_SET_PREFIXES)
    return allowed or not reserved


def _config(context: NodeContext) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **_access(),
        **_pods(context),
        **_host(context),
    }


def _access() -> dict[str, Any]:
    """rotateCertificates stays unset: anykube issues the client certificate anew, no CSR is signed."""
    return {
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": CLUSTER_CA},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet-server.key",
        "tlsMinVersion": "VersionTLS12",
        "tlsCipherSuites": list(CIPHER_SUITES),
        "readOnlyPort": 0,
        "enableProfilingHandler": False,
        "healthzBindAddress": "127.0.0.1",
    }


def _pods(context: NodeContext) -> dict[str, Any]:
    taints = node_taints(context.node)
    return {
        "clusterDNS": [context.dns_address],
        "clusterDomain": context.cluster.spec.network.domain,
        "resolvConf": RESOLV_CONF,
        "maxPods": 110,
        "podPidsLimit": 4096,
        "seccompDefault": True,
        **({"registerWithTaints": list(taints)} if taints else {}),
    }


def _host(context: NodeContext) -> dict[str, Any]:
    config: dict[str, Any] = {
        "containerRuntimeEndpoint": containerd.SOCKET,
        "cgroupDriver": "systemd" if containerd.systemd_cgroups(context) else "cgroupfs",
        "failSwapOn": False,
        "makeIPTablesUtilChains": True,
        # In a container the kernel's settings are the host's, and may differ from what the kubelet wants.
        "protectKernelDefaults": not context.system.container,
    }
    if context.system.cgroup == 1:
        config["failCgroupV1"] = False
    if context.system.constrained:
        # Lets the kubelet go on where it may not lower oom scores or set sysctls.
        config["featureGates"] = {"KubeletInUserNamespace": True}
    return config
