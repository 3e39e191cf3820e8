"""How each component is built from its Go modules: packages, version variables, tags. Data for gomod.py.

The modules themselves are pinned in artifacts/gomod/<component>-<version>/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anykube.spec import catalog


@dataclass(frozen=True, slots=True)
class Recipe:
    """`variables` are set by the linker; {version}, {major} and {minor} are filled in.

    `seconds` is what a cold build takes on two cores, for a first estimate. `cgo` lists the architectures
    that need the C compiler (flannel's UDP backend does, on amd64 only, as in its own releases).
    """

    packages: Mapping[str, str]
    variables: tuple[str, ...] = ()
    tags: str = ""
    seconds: float = 60
    cgo: frozenset[str] = frozenset()

    def linker_flags(self, version: str, arch: str) -> str:
        """The value of -ldflags."""
        major, minor, *_ = version.split(".")
        values = [text.format(version=version, major=major, minor=minor) for text in self.variables]
        flags = ["-s", "-w", *(part for value in values for part in ("-X", value))]
        return " ".join([*flags, "-extldflags", "-static"] if arch in self.cgo else flags)


_KUBERNETES = "k8s.io/kubernetes/cmd/"
_ETCD = "go.etcd.io/etcd/"
_CONTAINERD = "github.com/containerd/containerd/v2/"
_CNI = "github.com/containernetworking/plugins/"
_FLANNEL = "github.com/flannel-io/flannel"
_METRICS = "sigs.k8s.io/metrics-server/"
_CNI_VERSION = f"{_CNI}pkg/utils/buildversion.BuildVersion=v{{version}}"
_KUBERNETES_VERSION = tuple(
    f"{package}.{variable}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for variable in ("gitVersion=v{version}", "gitMajor={major}", "gitMinor={minor}", "gitTreeState=clean")
)

RECIPES: Mapping[str, Recipe] = {
    "kubernetes": Recipe(
        packages={name: _KUBERNETES + name for name in catalog.KUBERNETES_BINARIES},
        variables=_KUBERNETES_VERSION,
        seconds=320,
    ),
    "etcd": Recipe(
        packages={
            "etcd": f"{_ETCD}server/v3",
            "etcdctl": f"{_ETCD}etcdctl/v3",
            "etcdutl": f"{_ETCD}etcdutl/v3",
        },
        seconds=25,
    ),
    "containerd": Recipe(
        packages={
            name: f"{_CONTAINERD}cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        variables=(f"{_CONTAINERD}version.Version=v{{version}}",),
        tags="urfave_cli_no_docs",
        seconds=45,
    ),
    "cni-plugins": Recipe(
        packages={
            "cni-bridge": f"{_CNI}plugins/main/bridge",
            "cni-loopback": f"{_CNI}plugins/main/loopback",
            "cni-host-local": f"{_CNI}plugins/ipam/host-local",
            "cni-portmap": f"{_CNI}plugins/meta/portmap",
        },
        variables=(_CNI_VERSION,),
        seconds=15,
    ),
    "cni-flannel": Recipe(
        packages={"cni-flannel": f"{_CNI}plugins/meta/flannel"}, variables=(_CNI_VERSION,), seconds=5
    ),
    "coredns": Recipe(packages={"coredns": "github.com/coredns/coredns"}, seconds=85),
    "flannel": Recipe(
        packages={"flanneld": _FLANNEL},
        variables=(f"{_FLANNEL}/pkg/version.Version=v{{version}}",),
        tags="osusergo,netgo",
        seconds=55,
        cgo=frozenset({"amd64"}),
    ),
    "metrics-server": Recipe(
        packages={"metrics-server": f"{_METRICS}cmd/metrics-server"},
        variables=_KUBERNETES_VERSION,
        seconds=75,
    ),
}
