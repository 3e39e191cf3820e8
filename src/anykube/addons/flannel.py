"""flannel, the pod network: a DaemonSet that joins each node's pods to those of the others. Pure.

The CNI configuration is written by the pod itself, after its network stands: a node that is Ready can carry
pods, and one whose network failed is visibly NotReady.
"""

from __future__ import annotations

import json

from anykube.addons.build import (
    CONFIG_DIGEST,
    account_subject,
    cluster_role,
    cluster_role_binding,
    config_digest,
    config_map,
    environment,
    requests,
    rule,
    thing,
)
from anykube.addons.references import Object
from anykube.content.cni import NETWORK
from anykube.spec.catalog import image_reference, release
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster, Flannel

NAMESPACE = "kube-flannel"
NAME = "kube-flannel"
SELECTOR = {"app.kubernetes.io/name": "flannel"}
WORKLOAD = f"DaemonSet/{NAMESPACE}/{NAME}"
ROLE = "flannel"
LEASE = "/run/flannel/subnet.env"
"""flanneld writes it when its network stands; the CNI plugin reads it for every pod."""
CONFIG = "/etc/kube-flannel"
CNI_CONFIG = "/etc/cni/net.d/10-flannel.conflist"
PROGRAMS = "/usr/local/sbin"
CNI_VERSION = "0.3.1"
"""flannel's plugin of the CNI plugins repository speaks up to 0.4.0; flannel itself ships 0.3.1."""
EXECUTABLE = 0o755
DRAFT = "/etc/cni/net.d/.10-flannel.draft"

# 60 s: then the hook fails, and the kubelet starts the container anew and says so.
# CIS 1.1.9 wants the configuration readable by root only.
PUBLISH = f"""\
set -eu
umask 077
waits=0
until [ -s {LEASE} ]; do
  waits=$((waits + 1))
  [ "$waits" -le 600 ] || exit 1
  /bin/busybox sleep 0.1
done
/bin/busybox cp {CONFIG}/cni-conf.json {DRAFT}
/bin/busybox mv -f {DRAFT} {CNI_CONFIG}
"""


# flanneld removes, at each start, the rules of the mode that it does not run in, and ends if it cannot find
# iptables for that. We never run it in that mode: there is nothing to remove, and its image has no iptables.
NO_IPTABLES = """\
#!/bin/busybox sh
echo "iptables v1.8.0 (nf_tables)"
"""


def flannel_objects(cluster: Cluster, flannel: Flannel, endpoint: ApiEndpoint) -> tuple[Object, ...]:
    """Everything flannel needs. `endpoint`: how the API is reached."""
    config = {"cni-conf.json": _cni_config(), "net-conf.json": _network(cluster, flannel)}
    config["no-iptables"] = NO_IPTABLES
    return (
        _namespace(),
        thing("ServiceAccount", NAME, NAMESPACE),
        cluster_role(ROLE, _rules()),
        cluster_role_binding(ROLE, ROLE, account_subject(NAME, NAMESPACE)),
        config_map(NAME, NAMESPACE, config),
        _daemon_set(cluster, endpoint, config_digest(config)),
    )


def _namespace() -> Object:
    levels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    return thing("Namespace", NAMESPACE, labels=levels)


def _rules() -> list[Object]:
    return [
        rule([""], ["nodes"], ["get", "list", "watch"]),
        rule([""], ["nodes/status"], ["patch"]),
    ]


def _network(cluster: Cluster, flannel: Flannel) -> str:
    return _json(
        {
            "Network": cluster.spec.network.pods,
            "EnableNFTables": True,
            "Backend": {"Type": flannel.backend},
        }
    )


def _cni_config() -> str:
    delegate = {"hairpinMode": True, "isDefaultGateway": True}
    return _json(
        {
            "name": NETWORK,
            "cniVersion": CNI_VERSION,
            "plugins": [
                {"type": "flannel", "delegate": delegate},
                {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": True}},
            ],
        }
    )


def _json(value: Object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _daemon_set(cluster: Cluster, endpoint: ApiEndpoint, digest: str) -> Object:
    return {
        **thing("DaemonSet", NAME, NAMESPACE, SELECTOR),
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": SELECTOR, "annotations": {CONFIG_DIGEST: digest}},
                "spec": _pod(cluster, endpoint),
            },
        },
    }


def _pod(cluster: Cluster, endpoint: ApiEndpoint) -> Object:
    return {
        "serviceAccountName": NAME,
        "priorityClassName": "system-node-critical",
        "hostNetwork": True,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(cluster, endpoint)],
        "volumes": [
            _host_folder("run", "/run/flannel"),
            _host_folder("cni", "/etc/cni/net.d"),
            {"name": "config", "configMap": {"name": NAME}},
            _no_iptables(),
        ],
    }


def _no_iptables() -> Object:
    programs = [
        {"key": "no-iptables", "path": name, "mode": EXECUTABLE} for name in ("iptables", "ip6tables")
    ]
    return {"name": "no-iptables", "configMap": {"name": NAME, "items": programs}}


def _host_folder(name: str, path: str) -> Object:
    return {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}


def _container(cluster: Cluster, endpoint: ApiEndpoint) -> Object:
    version = release(cluster.spec.kubernetes.version).flannel
    return {
        "name": NAME,
        "image": image_reference("flannel", version),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/bin/flanneld"],
        "args": ["--kube-subnet-mgr", "--ip-masq"],
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            # The API server itself, not its Service: the pod network must come up without kube-proxy.
            environment("KUBERNETES_SERVICE_HOST", endpoint.host),
            environment("KUBERNETES_SERVICE_PORT", str(endpoint.port)),
            environment("PATH", f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin"),
        ],
        "lifecycle": {"postStart": {"exec": {"command": ["/bin/busybox", "sh", "-c", PUBLISH]}}},
        "resources": requests("50m", "50Mi"),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "run", "mountPath": "/run/flannel"},
            {"name": "cni", "mountPath": "/etc/cni/net.d"},
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "no-iptables", "mountPath": PROGRAMS, "readOnly": True},
        ],
    }
