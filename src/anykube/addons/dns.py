"""CoreDNS, the DNS of the cluster: answers for Services, asks the node's resolver for the rest. Pure."""

from __future__ import annotations

from ipaddress import ip_network

from anykube.addons.build import (
    CONFIG_DIGEST,
    SYSTEM,
    TOLERATE_CONTROL_PLANE,
    account_subject,
    cluster_role,
    cluster_role_binding,
    config_digest,
    config_map,
    http_probe,
    locked_down,
    requests,
    rule,
    thing,
)
from anykube.addons.references import Object
from anykube.spec.catalog import image_reference, release
from anykube.spec.model import Cluster, Dns

NAME = "coredns"
SERVICE = "kube-dns"
SELECTOR = {"k8s-app": SERVICE}
"""The label that tools and network policies know the cluster's DNS by."""
WORKLOAD = f"Deployment/{SYSTEM}/{NAME}"
ROLE = "system:coredns"

# `loop` ends CoreDNS with a clear message when the node's resolver leads back to it, instead of circling.
# `reload` takes up a configuration that was edited by hand and repaired, without a restart.
_COREFILE = """\
.:53 {{
    errors
    health :8080 {{
        lameduck 5s
    }}
    ready :8181
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}}
"""


def dns_objects(cluster: Cluster, dns: Dns) -> tuple[Object, ...]:
    """Everything CoreDNS needs. A disruption budget only where one replica can be spared."""
    subject = account_subject(NAME, SYSTEM)
    config = {"Corefile": _COREFILE.format(domain=cluster.spec.network.domain)}
    budget = (_disruption_budget(),) if dns.replicas > 1 else ()
    return (
        thing("ServiceAccount", NAME, SYSTEM),
        cluster_role(ROLE, _rules()),
        cluster_role_binding(ROLE, ROLE, subject),
        config_map(NAME, SYSTEM, config),
        _service(cluster),
        _deployment(cluster, dns, config_digest(config)),
        *budget,
    )


def dns_address(cluster: Cluster) -> str:
    """The address of the DNS Service: the tenth of the service network, which kubelets give to pods."""
    return str(ip_network(cluster.spec.network.services)[10])


def _rules() -> list[Object]:
    watch = ["list", "watch"]
    return [
        rule([""], ["services", "namespaces"], watch),
        rule(["discovery.k8s.io"], ["endpointslices"], watch),
    ]


def _service(cluster: Cluster) -> Object:
    address = dns_address(cluster)
    return {
        **thing("Service", SERVICE, SYSTEM, {**SELECTOR, "kubernetes.io/name": "CoreDNS"}),
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": SELECTOR,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns-tcp"},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": "metrics"},
            ],
        },
    }


def _disruption_budget() -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": SELECTOR}}
    return {**thing("PodDisruptionBudget", NAME, SYSTEM), "spec": spec}


def _deployment(cluster: Cluster, dns: Dns, digest: str) -> Object:
    return {
        **thing("Deployment", NAME, SYSTEM, SELECTOR),
        "spec": {
            "replicas": dns.replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": SELECTOR},
            "template": {
                "metadata": {"labels": SELECTOR, "annotations": {CONFIG_DIGEST: digest}},
                "spec": _pod(cluster),
            },
        },
    }


def _pod(cluster: Cluster) -> Object:
    elsewhere = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": SELECTOR}}
    preferred = [{"weight": 100, "podAffinityTerm": elsewhere}]
    return {
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [TOLERATE_CONTROL_PLANE],
        # Preferred only: on a single node all replicas must still find a place.
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        # Port 53 without root and without a capability on the binary; a sysctl of the pod's own network.
        "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
        "containers": [_container(cluster)],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }


def _container(cluster: Cluster) -> Object:
    version = release(cluster.spec.kubernetes.version).coredns
    return {
        "name": NAME,
        "image": image_reference(NAME, version),
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
            {"name": "health", "containerPort": 8080, "protocol": "TCP"},
            {"name": "ready", "containerPort": 8181, "protocol": "TCP"},
        ],
        # Every second: the cluster is not usable before its DNS is, so nobody should wait for a probe.
        "readinessProbe": http_probe("/ready", "ready", 1),
        "livenessProbe": http_probe("/health", "health", 10, failures=5),
        "resources": requests("100m", "70Mi", limit="170Mi"),
        "securityContext": locked_down(),
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
