"""kube-apiserver: flags by CIS section 1.2, who may come without a certificate, and what is audited."""

from __future__ import annotations

from collections.abc import Iterable

from anykube.content import etcd
from anykube.content.audit import POLICY
from anykube.content.authorities import (
    CLUSTER_CA,
    ETCD_CA,
    FRONT_PROXY_CA,
    SERVICE_ACCOUNT_KEY,
    SERVICE_ACCOUNT_PUBLIC,
)
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import API_PORT, NodeContext
from anykube.content.files import CONFIG_MODE, binary, certificate_and_key, yaml_config
from anykube.content.model import Component, File, SecretPart
from anykube.content.paths import KUBERNETES, PKI, install_path
from anykube.content.system import NAME as SYSTEM
from anykube.content.unit import Service, flags, oom_score

NAME = "kube-apiserver"
SERVICE = "kube-apiserver.service"
AUTHENTICATION = f"{KUBERNETES}/authentication.yaml"
ENCRYPTION = f"{KUBERNETES}/encryption.yaml"
AUDIT_POLICY = f"{KUBERNETES}/audit-policy.yaml"
AUDIT_FOLDER = "/var/log/kubernetes"
ANONYMOUS_PATHS = ("/livez", "/readyz", "/healthz")
CERTIFICATES = ("apiserver", "apiserver-etcd", "apiserver-kubelet", "front-proxy")
# CIS 1.2.29, of TLS 1.2; those of TLS 1.3 are fixed and strong.
CIPHER_SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)

Flags = dict[str, str | bool | int | Iterable[str]]


def component(context: NodeContext) -> Component:
    """The server's binary, certificates, policies and unit; kubectl beside it, for whoever logs in here."""
    settings = _settings(context)
    service = Service(
        name=SERVICE,
        description="Kubernetes API server",
        command=(install_path(NAME), *flags(_flags(context))),
        kind="notify",
        inputs=(
            *(file.path for file in settings),
            CLUSTER_CA,
            ETCD_CA,
            FRONT_PROXY_CA,
            SERVICE_ACCOUNT_KEY,
            SERVICE_ACCOUNT_PUBLIC,
            install_path(NAME),
        ),
        live=_live(),
        after=(etcd.SERVICE,),
        settings=oom_score(context.system.constrained),
    )
    files = (binary(NAME), binary("kubectl"), *settings, service.file())
    directories = (("700", "root:root", AUDIT_FOLDER),) if context.cluster.spec.security.audit else ()
    # Also without an etcd on this node: the server retries until its store answers.
    after = (SYSTEM, AUTHORITIES, *((etcd.NAME,) if context.node.etcd else ()))
    traces = (f"data {AUDIT_FOLDER}",)
    return Component(NAME, files, service.unit, directories, after, traces=traces)


def _settings(context: NodeContext) -> tuple[File, ...]:
    security = context.cluster.spec.security
    node = f"nodes/{context.node.name}"
    files = [yaml_config(AUTHENTICATION, _authentication())]
    if security.encryption_at_rest:
        files.append(File(ENCRYPTION, SecretPart("encryption-config", "value"), CONFIG_MODE))
    if security.audit:
        files.append(yaml_config(AUDIT_POLICY, POLICY))
    for name in CERTIFICATES:
        files.extend(certificate_and_key(name, f"{node}/{name}"))
    return tuple(files)


def _live() -> tuple[str, ...]:
    """Its certificates, so that renewing them interrupts nobody: what it serves and shows to aggregated
    servers it watches, what it shows to etcd it reads for each handshake, and to kubelets every five
    minutes (client-go, cert_rotation.go)."""
    return tuple(f"{PKI}/{name}.{part}" for name in CERTIFICATES for part in ("crt", "key"))


def _authentication() -> dict[str, object]:
    """Without a certificate or token only health is answered, for load balancers."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [],
        "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ANONYMOUS_PATHS]},
    }


def _flags(context: NodeContext) -> Flags:
    security = context.cluster.spec.security
    return {
        **_serving(context),
        **_access(context),
        **_store(context),
        **({"encryption-provider-config": ENCRYPTION} if security.encryption_at_rest else {}),
        **(_audit() if security.audit else {}),
    }


def _serving(context: NodeContext) -> Flags:
    return {
        "advertise-address": context.address,
        "secure-port": API_PORT,
        "service-cluster-ip-range": context.cluster.spec.network.services,
        "endpoint-reconciler-type": "lease",
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": CIPHER_SUITES,
        "profiling": False,
        # Without it a server that is asked to stop waits for its watchers until they are a minute late.
        "shutdown-watch-termination-grace-period": "2s",
    }


def _access(context: NodeContext) -> Flags:
    """Who callers are and what they may do; and who this server is when it calls others."""
    return {
        "client-ca-file": CLUSTER_CA,
        "authentication-config": AUTHENTICATION,
        "authorization-mode": ("Node", "RBAC"),
        "enable-admission-plugins": ("DenyServiceExternalIPs", "NodeRestriction"),
        # The pod network and kube-proxy need privileged pods; PodSecurity restricts namespaces.
        "allow-privileged": True,
        "service-account-issuer": f"https://kubernetes.default.svc.{context.cluster.spec.network.domain}",
        "service-account-key-file": SERVICE_ACCOUNT_PUBLIC,
        "service-account-signing-key-file": SERVICE_ACCOUNT_KEY,
        "service-account-extend-token-expiration": False,
        "kubelet-certificate-authority": CLUSTER_CA,
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet.key",
        "kubelet-preferred-address-types": ("InternalIP", "ExternalIP", "Hostname"),
        "requestheader-client-ca-file": FRONT_PROXY_CA,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": f"{PKI}/front-proxy.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy.key",
    }


def _store(context: NodeContext) -> Flags:
    return {
        "etcd-servers": etcd_servers(context),
        "etcd-cafile": ETCD_CA,
        "etcd-certfile": f"{PKI}/apiserver-etcd.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd.key",
    }


def etcd_servers(context: NodeContext) -> tuple[str, ...]:
    """The own member where there is one: a change of members then restarts no API server, and a node with a
    broken member is not ready as a whole. Elsewhere all members."""
    if context.node.etcd:
        return (etcd.client_url("127.0.0.1"),)
    return tuple(etcd.client_url(address) for _, address in context.etcd_members)


def _audit() -> Flags:
    """CIS 1.2.16 to 1.2.19; the numbers are days, files and MiB."""
    return {
        "audit-policy-file": AUDIT_POLICY,
        "audit-log-path": f"{AUDIT_FOLDER}/audit.log",
        "audit-log-maxage": 30,
        "audit-log-maxbackup": 10,
        "audit-log-maxsize": 100,
        "audit-log-compress": True,
    }
