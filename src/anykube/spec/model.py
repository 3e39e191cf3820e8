"""The cluster object, anykube.dev/v1alpha1: the start of the flow. Frozen: read by all, edited by none.

Only the shape and the rules of a single field live here. Rules between fields are in `validate.py`,
line numbers in `load.py`, text for people in `template.py`. A field exists only if it does something.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

API_VERSION = "anykube.dev/v1alpha1"

# RFC 1123 label, as Kubernetes uses it for node names; anykube keeps names short because they
# become host names ("<cluster>-<pool>-<n>", at most 63 characters).
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", min_length=1, max_length=40)]
StrictVersion = Annotated[str, Field(strict=True, pattern=r"^\d+\.\d+\.\d+$", max_length=20)]
Address = Annotated[str, Field(max_length=64)]
Network = Annotated[str, Field(max_length=64)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$", max_length=1024)]


class Model(BaseModel):
    """Base of all parts: unknown keys are errors, values never change.

    Strict: validate JSON text (`model_validate_json`), where lists become tuples and names become roles.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Role(StrEnum):
    """What a machine does."""

    CONTROL_PLANE = "control-plane"
    ETCD = "etcd"
    WORKER = "worker"


class Metadata(Model):
    """Who the cluster is."""

    name: Name


class Kubernetes(Model):
    """The Kubernetes release; `version` is a quoted string from the catalog, such as "1.36.3"."""

    version: StrictVersion


class Lxc(Model):
    """Containers on this machine. `subnet` is a /16 to /28 network of the nodes, chosen free when absent."""

    subnet: Network | None = None


class Machine(Model):
    """A machine that exists already and answers SSH."""

    name: Name
    address: Address
    port: int = Field(default=22, ge=1, le=65535)
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)] = "root"
    host_key: Annotated[
        str, Field(alias="hostKey", max_length=2048, pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$")
    ]
    """The public host key, one line as in /etc/ssh/ssh_host_ed25519_key.pub."""
    pool: Name


class Machines(Model):
    """Machines that exist already, reached with one private key."""

    key: AbsolutePath
    """Path of the SSH private key on this machine."""
    hosts: Annotated[tuple[Machine, ...], Field(min_length=1)]


class Provider(Model):
    """Where machines come from: exactly one of the keys."""

    lxc: Lxc | None = None
    machines: Machines | None = None

    @property
    def kind(self) -> str:
        """The name of the one provider that is set."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class Taint(Model):
    """A Kubernetes taint of every node in a pool."""

    key: Annotated[str, Field(max_length=317)]
    value: Annotated[str, Field(max_length=63)] = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Pool(Model):
    """Machines that are alike. `memory` is in MiB, `cpus` may be a fraction; absent means no limit."""

    name: Name
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    count: int = Field(default=1, ge=0, le=1000)
    cpus: float | None = Field(default=None, gt=0, le=1024)
    memory: int | None = Field(default=None, ge=512, le=16_777_216)
    labels: dict[str, str] = Field(default_factory=dict)
    taints: Annotated[tuple[Taint, ...], Field(strict=False)] = ()


class MachineSet(Model):
    """The provider and the pools."""

    provider: Provider
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]


class Endpoint(Model):
    """How the API server is reached. `single`: the address of the one control plane."""

    kind: Literal["single"] = "single"


class Flannel(Model):
    """The flannel pod network; `host-gw` needs all nodes in one layer 2 network."""

    backend: Literal["vxlan", "host-gw"] = "vxlan"


class Cni(Model):
    """The pod network: exactly one of the keys."""

    flannel: Flannel | None = None


class ClusterNetwork(Model):
    """Addresses of pods and Services, and the pod network that carries them."""

    pods: Network = "10.244.0.0/16"
    services: Network = "10.96.0.0/16"
    domain: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)] = (
        "cluster.local"
    )
    cni: Cni = Cni(flannel=Flannel())


class Containerd(Model):
    """The containerd runtime."""


class Runtime(Model):
    """The container runtime: exactly one of the keys."""

    containerd: Containerd | None = Containerd()


class Artifacts(Model):
    """Where software comes from. `mirror` is an https base URL that replaces the upstream hosts."""

    source: Literal["auto", "upstream", "gomod", "distro", "mirror"] = "auto"
    mirror: Annotated[str, Field(pattern=r"^https://[^\s\x00-\x1f]+$", max_length=2048)] | None = None


class Security(Model):
    """Safeguards that are on unless turned off."""

    encryption_at_rest: bool = Field(default=True, alias="encryptionAtRest")
    audit: bool = True


class Dns(Model):
    """CoreDNS as the cluster's DNS."""

    replicas: int = Field(default=2, ge=1, le=100)


class Metrics(Model):
    """metrics-server: what `kubectl top` and autoscaling by load need."""


class Addons(Model):
    """What runs in the cluster from the start. null turns one off."""

    dns: Dns | None = Dns()
    metrics: Metrics | None = None


class ClusterSpec(Model):
    """Everything about a cluster but its name."""

    kubernetes: Kubernetes
    machines: MachineSet
    endpoint: Endpoint = Endpoint()
    network: ClusterNetwork = ClusterNetwork()
    runtime: Runtime = Runtime()
    artifacts: Artifacts = Artifacts()
    security: Security = Security()
    addons: Addons = Addons()


class Cluster(Model):
    """The cluster object."""

    api_version: Literal["anykube.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Cluster"]
    metadata: Metadata
    spec: ClusterSpec

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.metadata.name
