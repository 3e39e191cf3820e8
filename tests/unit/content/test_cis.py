"""CIS Kubernetes Benchmark 1.12 as data, checked against what is generated.

Only what content decides is here; the data directory of etcd and files that run-time makes are for `doctor`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from anykube.content.context import NodeContext
from anykube.content.model import File, SecretPart, Text
from anykube.content.node import components

SYSTEMD = "/etc/systemd/system"
STRONG_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
}

OWNED_BY_ROOT: Mapping[str, str] = {
    "1.1.1/2": f"{SYSTEMD}/kube-apiserver.service",
    "1.1.3/4": f"{SYSTEMD}/kube-controller-manager.service",
    "1.1.5/6": f"{SYSTEMD}/kube-scheduler.service",
    "1.1.7/8": f"{SYSTEMD}/etcd.service",
    "1.1.15/16": "/etc/kubernetes/scheduler.conf",
    "1.1.17/18": "/etc/kubernetes/controller-manager.conf",
    "4.1.1/2": f"{SYSTEMD}/kubelet.service",
    "4.1.3/4": "/etc/kubernetes/kube-proxy.conf",
    "4.1.5/6": "/etc/kubernetes/kubelet.conf",
    "4.1.9/10": "/var/lib/kubelet/config.yaml",
}
"""Files with mode 600 and owner root:root."""

Check = Callable[[str | None], bool]


def is_set(value: str | None) -> bool:
    return bool(value)


def unset(value: str | None) -> bool:
    return value is None


def equals(*allowed: str | None) -> Check:
    return lambda value: value in allowed


def lists(*wanted: str) -> Check:
    return lambda value: set(wanted) <= set((value or "").split(","))


def lacks(unwanted: str) -> Check:
    return lambda value: unwanted not in (value or "").split(",")


def at_least(number: int) -> Check:
    return lambda value: int(value or 0) >= number


FLAGS: tuple[tuple[str, str, str, Check], ...] = (
    ("1.2.2", "kube-apiserver", "token-auth-file", unset),
    ("1.2.3", "kube-apiserver", "enable-admission-plugins", lists("DenyServiceExternalIPs")),
    ("1.2.4", "kube-apiserver", "kubelet-client-certificate", is_set),
    ("1.2.4", "kube-apiserver", "kubelet-client-key", is_set),
    ("1.2.5", "kube-apiserver", "kubelet-certificate-authority", is_set),
    ("1.2.6", "kube-apiserver", "authorization-mode", lacks("AlwaysAllow")),
    ("1.2.7/8", "kube-apiserver", "authorization-mode", lists("Node", "RBAC")),
    ("1.2.10", "kube-apiserver", "enable-admission-plugins", lacks("AlwaysAdmit")),
    ("1.2.12/13", "kube-apiserver", "disable-admission-plugins", unset),
    ("1.2.14", "kube-apiserver", "enable-admission-plugins", lists("NodeRestriction")),
    ("1.2.15", "kube-apiserver", "profiling", equals("false")),
    ("1.2.16", "kube-apiserver", "audit-log-path", is_set),
    ("1.2.17", "kube-apiserver", "audit-log-maxage", at_least(30)),
    ("1.2.18", "kube-apiserver", "audit-log-maxbackup", at_least(10)),
    ("1.2.19", "kube-apiserver", "audit-log-maxsize", at_least(100)),
    ("1.2.21", "kube-apiserver", "service-account-lookup", equals(None, "true")),
    ("1.2.22", "kube-apiserver", "service-account-key-file", is_set),
    ("1.2.23", "kube-apiserver", "etcd-certfile", is_set),
    ("1.2.23", "kube-apiserver", "etcd-keyfile", is_set),
    ("1.2.24", "kube-apiserver", "tls-cert-file", is_set),
    ("1.2.24", "kube-apiserver", "tls-private-key-file", is_set),
    ("1.2.25", "kube-apiserver", "client-ca-file", is_set),
    ("1.2.26", "kube-apiserver", "etcd-cafile", is_set),
    ("1.2.27", "kube-apiserver", "encryption-provider-config", is_set),
    ("1.2.29", "kube-apiserver", "tls-cipher-suites", lambda v: set((v or "").split(",")) <= STRONG_SUITES),
    ("1.2.30", "kube-apiserver", "service-account-extend-token-expiration", equals("false")),
    ("1.3.1", "kube-controller-manager", "terminated-pod-gc-threshold", is_set),
    ("1.3.2", "kube-controller-manager", "profiling", equals("false")),
    ("1.3.3", "kube-controller-manager", "use-service-account-credentials", equals("true")),
    ("1.3.4", "kube-controller-manager", "service-account-private-key-file", is_set),
    ("1.3.5", "kube-controller-manager", "root-ca-file", is_set),
    ("1.3.6", "kube-controller-manager", "feature-gates", lacks("RotateKubeletServerCertificate=false")),
    ("1.3.7", "kube-controller-manager", "bind-address", equals(None, "127.0.0.1")),
    ("1.4.1", "kube-scheduler", "profiling", equals("false")),
    ("1.4.2", "kube-scheduler", "bind-address", equals(None, "127.0.0.1")),
    ("2.1", "etcd", "cert-file", is_set),
    ("2.1", "etcd", "key-file", is_set),
    ("2.2", "etcd", "client-cert-auth", equals("true")),
    ("2.3", "etcd", "auto-tls", equals(None, "false")),
    ("2.4", "etcd", "peer-cert-file", is_set),
    ("2.4", "etcd", "peer-key-file", is_set),
    ("2.5", "etcd", "peer-client-cert-auth", equals("true")),
    ("2.6", "etcd", "peer-auto-tls", equals(None, "false")),
    ("2.7", "etcd", "trusted-ca-file", equals("/etc/etcd/pki/ca.crt")),
    ("3.2.1", "kube-apiserver", "audit-policy-file", is_set),
    ("4.2.7", "kubelet", "hostname-override", unset),
)

KUBELET: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("4.2.1", "authentication.anonymous.enabled", lambda value: value is False),
    ("4.2.2", "authorization.mode", lambda value: value == "Webhook"),
    ("4.2.3", "authentication.x509.clientCAFile", bool),
    ("4.2.4", "readOnlyPort", lambda value: value == 0),
    ("4.2.5", "streamingConnectionIdleTimeout", lambda value: value not in (0, "0", "0s")),
    ("4.2.6", "makeIPTablesUtilChains", lambda value: value in (None, True)),
    ("4.2.8", "eventRecordQPS", lambda value: value is None or value >= 0),
    ("4.2.9", "tlsCertFile", bool),
    ("4.2.9", "tlsPrivateKeyFile", bool),
    ("4.2.10", "rotateCertificates", lambda value: value in (None, True)),
    ("4.2.11", "featureGates.RotateKubeletServerCertificate", lambda value: value in (None, True)),
    ("4.2.12", "tlsCipherSuites", lambda value: set(value) <= STRONG_SUITES),
    ("4.2.13", "podPidsLimit", lambda value: value > 0),
    ("4.2.14", "seccompDefault", lambda value: value is True),
)


@pytest.fixture(scope="session")
def files(contexts: Mapping[str, NodeContext]) -> Mapping[str, File]:
    """All files of a node that has every role and every safeguard."""
    return {file.path: file for part in components(contexts["single-in-container"]) for file in part.files}


def text_of(file: File) -> str:
    assert isinstance(file.source, Text)
    return file.source.value


def flags_of(files: Mapping[str, File], program: str) -> Mapping[str, str]:
    command = text_of(files[f"{SYSTEMD}/{program}.service"]).partition("\nExecStart=")[2]
    return dict(re.findall(r"^    --([a-z-]+)=(.*?)(?: \\)?$", command, re.MULTILINE))


@pytest.mark.parametrize(("check", "path"), OWNED_BY_ROOT.items())
def test_files_are_private(files: Mapping[str, File], check: str, path: str) -> None:
    assert (files[path].mode, files[path].owner) == ("600", "root:root"), check


def name_of(value: object) -> str:
    """Part of a test's name: the same in every process, so functions have none."""
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("check", "program", "flag", "holds"), FLAGS, ids=name_of)
def test_flags(files: Mapping[str, File], check: str, program: str, flag: str, holds: Check) -> None:
    value = flags_of(files, program).get(flag)
    assert holds(value), f"CIS {check}: {program} --{flag} is {value}"


@pytest.mark.parametrize(("check", "field", "holds"), KUBELET, ids=name_of)
def test_kubelet(files: Mapping[str, File], check: str, field: str, holds: Callable[[Any], bool]) -> None:
    value: Any = yaml.safe_load(text_of(files["/var/lib/kubelet/config.yaml"]))
    for name in field.split("."):
        value = (value or {}).get(name)
    assert holds(value), f"CIS {check}: {field} is {value}"


def test_4_3_1_metrics_of_kube_proxy_are_local(files: Mapping[str, File]) -> None:
    config = yaml.safe_load(text_of(files["/var/lib/kube-proxy/config.yaml"]))
    assert config["metricsBindAddress"].startswith("127.0.0.1:")


def test_1_1_11_12_data_of_etcd_is_its_own(contexts: Mapping[str, NodeContext]) -> None:
    (etcd,) = (part for part in components(contexts["etcd-alone"]) if part.name == "etcd")
    assert ("700", "etcd:etcd", "/var/lib/etcd") in etcd.directories


def test_1_1_19_to_21_certificates_and_keys(files: Mapping[str, File]) -> None:
    pki = [file for path, file in files.items() if path.startswith("/etc/kubernetes/pki/")]
    assert len(pki) > 20
    for file in pki:
        assert file.owner == "root:root"
        assert file.mode == ("644" if file.path.endswith(".crt") else "600")


def test_2_7_etcd_has_an_authority_of_its_own(files: Mapping[str, File]) -> None:
    trusted = files["/etc/etcd/pki/ca.crt"].source
    assert trusted == SecretPart("ca/etcd", "bundle")
    assert trusted != files["/etc/kubernetes/pki/ca.crt"].source


def test_1_2_1_without_credentials_only_health_is_answered(files: Mapping[str, File]) -> None:
    config = yaml.safe_load(text_of(files["/etc/kubernetes/authentication.yaml"]))
    paths = [condition["path"] for condition in config["anonymous"]["conditions"]]
    assert paths == ["/livez", "/readyz", "/healthz"]
    assert "anonymous-auth" not in flags_of(files, "kube-apiserver")


def test_3_2_2_audit_keeps_secrets_out_and_ways_in_recorded(files: Mapping[str, File]) -> None:
    policy = yaml.safe_load(text_of(files["/etc/kubernetes/audit-policy.yaml"]))
    for group, resource in (
        ("", "secrets"),
        ("", "configmaps"),
        ("authentication.k8s.io", "tokenreviews"),
        ("", "pods/exec"),
        ("", "pods/portforward"),
        ("", "pods/proxy"),
        ("", "services/proxy"),
    ):
        assert level_of(policy, group, resource, "create") == "Metadata", resource
    assert level_of(policy, "apps", "deployments", "update") == "Request"
    assert level_of(policy, "", "pods", "delete") == "Request"


def level_of(policy: Mapping[str, Any], group: str, resource: str, verb: str) -> str:
    """What is logged of a person's request: the first rule that matches."""
    for rule in policy["rules"]:
        if "users" in rule or "userGroups" in rule or "nonResourceURLs" in rule:
            continue
        if verb not in rule.get("verbs", [verb]):
            continue
        named = rule.get("resources")
        if named is None or any(
            entry["group"] == group and (not entry["resources"] or resource in entry["resources"])
            for entry in named
        ):
            return str(rule["level"])
    return "None"


def test_safeguards_that_are_turned_off_leave_nothing(contexts: Mapping[str, NodeContext]) -> None:
    made = {file.path: file for part in components(contexts["plain-control-plane"]) for file in part.files}
    arguments = flags_of(made, "kube-apiserver")
    assert not any(name.startswith(("audit-", "encryption-")) for name in arguments)
    assert not {"/etc/kubernetes/encryption.yaml", "/etc/kubernetes/audit-policy.yaml"} & made.keys()
