"""Which versions go together: for each Kubernetes version offered, the version of every other component.

Read by the object's validation, by the planner and by the artifact sources. A new Kubernetes version is one
entry in RELEASES (and, for the `gomod` source, one folder made by `scripts/pin_modules.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anykube.errors import ArtifactError

REGISTRY = "anykube.local"
"""Images are imported, never pulled: this name resolves nowhere on purpose."""


@dataclass(frozen=True, slots=True)
class Release:
    """One Kubernetes version and the component versions that it is run with."""

    kubernetes: str
    etcd: str = "3.7.3"
    containerd: str = "2.4.2"
    runc: str = "1.5.2"
    cni_plugins: str = "1.9.1"
    cni_flannel: str = "0.9.1"
    flannel: str = "0.28.4"
    coredns: str = "1.15.0"
    pause: str = "1.0.0"
    metrics_server: str = "0.9.0"

    @property
    def minor(self) -> str:
        """Such as '1.36'."""
        return self.kubernetes.rpartition(".")[0]

    def version_of(self, component: str) -> str:
        """The version of a component by its name, such as 'cni-plugins'."""
        version: str = getattr(self, component.replace("-", "_"))
        return version


RELEASES: Mapping[str, Release] = {
    release.kubernetes: release
    for release in (
        Release("1.36.3"),
        Release("1.36.1"),
        Release("1.35.4", etcd="3.6.16"),
        Release("1.34.4", etcd="3.6.16"),
    )
}
DEFAULT_VERSION = "1.36.3"
VERSIONS: tuple[str, ...] = tuple(RELEASES)
"""Newest first."""
MINORS: tuple[str, ...] = tuple(dict.fromkeys(release.minor for release in RELEASES.values()))

KUBERNETES_BINARIES = (
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
    "kubeadm",
)
CNI_BINARIES = ("cni-bridge", "cni-host-local", "cni-loopback", "cni-portmap", "cni-flannel")
"""Of these only cni-flannel is specific to a pod network."""
NODE_BINARIES = ("kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "runc")
CONTROL_PLANE_BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
ETCD_BINARIES = ("etcd", "etcdctl", "etcdutl")
IMAGES = ("image-pause", "image-coredns", "image-flannel", "image-metrics-server")

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "kubernetes": KUBERNETES_BINARIES,
    "etcd": ETCD_BINARIES,
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "cni-plugins": ("cni-bridge", "cni-host-local", "cni-loopback", "cni-portmap"),
    "cni-flannel": ("cni-flannel",),
    "coredns": ("coredns", "image-coredns"),
    "flannel": ("flanneld", "image-flannel"),
    "metrics-server": ("metrics-server", "image-metrics-server"),
    "pause": ("image-pause",),
}
"""The artifacts of each component."""

_COMPONENT_OF = {artifact: component for component, names in COMPONENTS.items() for artifact in names}
ARTIFACTS: tuple[str, ...] = tuple(_COMPONENT_OF)
"""Every artifact name there is."""


def release(version: str) -> Release:
    """The release of a Kubernetes version; an error that lists the versions offered otherwise."""
    try:
        return RELEASES[version]
    except KeyError:
        raise ArtifactError(
            f"Kubernetes {version[:40]!r} is not in the catalog.",
            remedy=f"choose one of {', '.join(VERSIONS)}",
        ) from None


def component_of(artifact: str) -> str:
    """The component that an artifact belongs to: 'etcdctl' -> 'etcd'."""
    try:
        return _COMPONENT_OF[artifact]
    except KeyError:
        raise ArtifactError(
            f"There is no artifact {artifact[:60]!r}.", remedy=f"the names are {', '.join(ARTIFACTS)}"
        ) from None


def is_image(artifact: str) -> bool:
    """Whether an artifact is an image, else a binary."""
    return artifact.startswith("image-")


def image_reference(component: str, version: str) -> str:
    """The name under which containerd knows the image of a component: anykube.local/coredns:1.15.0."""
    return f"{REGISTRY}/{component}:{version}"
