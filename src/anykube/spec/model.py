"""The cluster object, anykube.dev/v1alpha1: the start of the flow. Frozen: read by all, edited by none.

Only the shape and the rules of a single field live here. Rules between fields are in `validate.py`,
line numbers in `load.py`, text for people in `template.py`. A field exists only if it does something.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from anykube.spec import patterns

API_VERSION = "anykube.dev/v1alpha1"

# Names become host names ("<cluster>-<pool>-<n>", at most 63 characters), so each part is kept short.
Name = Annotated[str, Field(pattern=patterns.NAME, max_length=40)]
HostName = Annotated[str, Field(pattern=patterns.NAME, max_length=63)]
StrictVersion = Annotated[str, Field(pattern=patterns.VERSION, max_length=20, examples=["1.36.3"])]
Address = Annotated[str, Field(pattern=patterns.ADDRESS, max_length=253)]
Network = Annotated[str, Field(pattern=patterns.NETWORK, max_length=64)]
AbsolutePath = Annotated[str, Field(pattern=patterns.PATH, max_length=1024)]
LabelKey = Annotated[str, Field(pattern=patterns.QUALIFIED_NAME, max_length=317)]
LabelValue = Annotated[str, Field(pattern=patterns.LABEL_VALUE, max_length=63)]


Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def _as_text(value: object) -> object:
    """A number where it may also be a part of all."""
    return str(value) if type(value) is int else value


Share = Annotated[
    str,
    Field(pattern=patterns.SHARE),
    BeforeValidator(_as_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 999},
                {"type": "string", "pattern": patterns.SHARE},
            ]
        }
    ),
]


class Model(BaseModel):
    """Base of all parts: unknown keys are errors, values never change.

    Strict: validate JSON text (`model_validate_json`), where lists become tuples and names become roles.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Role(StrEnum):
    """What a machine does."""

    CONTROL_PLANE = "control-plane"
    ETCD = "etcd"
    WORKER = "worker"
    LOAD_BALANCER = "load-balancer"


class Metadata(Model):
    """Who the cluster is."""

    name: Annotated[Name, Field(examples=["demo"])]


class Kubernetes(Model):
    """The Kubernetes release; `version` is a quoted string from the catalog, such as "1.36.3"."""

    version: StrictVersion


class Lxc(Model):
    """Containers on this machine. `subnet` is a /16 to /28 network of the nodes, chosen free when absent."""

    subnet: Network | None = None


class Machine(Model):
    """A machine that exists already and answers SSH."""

    name: Annotated[HostName, Field(examples=["machine-1"])]
    """Its host name, and its name as a Kubernetes node."""
    address: Annotated[Address, Field(examples=["192.168.1.11"])]
    """IPv4 address or DNS name."""
    port: int = Field(default=22, ge=1, le=65535)
    """Port of the SSH server."""
    user: Annotated[str, Field(pattern=patterns.USER, max_length=32)] = "root"
    """Who logs in: root, or a user who may use sudo without a password."""
    host_key: Annotated[
        str,
        Field(alias="hostKey", max_length=2048, pattern=patterns.HOST_KEY, examples=["ssh-ed25519 AAAA..."]),
    ]
    """The public host key, one line as in /etc/ssh/ssh_host_ed25519_key.pub."""
    pool: Annotated[Name, Field(examples=["worker"])]
    """The pool that says what this machine does."""


class Machines(Model):
    """Machines that exist already, reached with one private key."""

    key: Annotated[AbsolutePath, Field(examples=["/root/.ssh/id_ed25519"])]
    """Path of the SSH private key on this machine."""
    hosts: Annotated[tuple[Machine, ...], Field(min_length=1, max_length=2000)]


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

    key: Annotated[LabelKey, Field(examples=["dedicated"])]
    value: LabelValue = ""
    effect: Annotated[Literal["NoSchedule", "PreferNoSchedule", "NoExecute"], Field(examples=["NoSchedule"])]


class Pool(Model):
    """Machines that are alike."""

    name: Annotated[Name, Field(examples=["worker"])]
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=8, examples=[["worker"]])]
    """What each of them does: any of control-plane, etcd, worker, load-balancer."""
    count: int = Field(default=1, ge=0, le=1000)
    """How many; with the provider `machines` the listed hosts say it."""
    cpus: float | None = Field(default=None, gt=0, le=1024)
    """Processors of each machine, may be a fraction; no limit when absent."""
    memory: int | None = Field(default=None, ge=512, le=16_777_216)
    """Memory of each machine in MiB; no limit when absent."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Kubernetes labels of each node."""
    taints: Annotated[tuple[Taint, ...], Field(max_length=100)] = ()
    """Kubernetes taints of each node."""


class MachineSet(Model):
    """The provider and the pools."""

    provider: Annotated[Provider, Field(examples=[{"lxc": {}}])]
    pools: Annotated[
        tuple[Pool, ...],
        Field(
            min_length=1,
            max_length=100,
            examples=[[{"name": "node", "roles": ["control-plane", "etcd", "worker"]}]],
        ),
    ]
    """Groups of machines that are alike."""


class EndpointKind(StrEnum):
    """How nodes and users reach the API servers."""

    SINGLE = "single"
    NODE_LOCAL = "node-local"
    VIRTUAL_IP = "virtual-ip"
    EXTERNAL = "external"


class Endpoint(Model):
    """How the API is reached. Without a kind, one control plane is `single`, several are `node-local`."""

    kind: EndpointKind | None = None
    """`single`: the address of the one control plane. `node-local`: a load balancer on the loopback address
    of every node. `virtual-ip`: an address that moves between the machines with the role load-balancer, or
    between the control planes when there are none. `external`: a load balancer of yours."""
    address: Annotated[Address, Field(examples=["192.168.1.10"])] | None = None
    """The virtual address (with lxc chosen when absent), or the address or DNS name of your load balancer."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port; 6443 when absent, and 8443 for a virtual address on the control planes."""


class Flannel(Model):
    """The flannel pod network; `host-gw` needs all nodes in one layer 2 network."""

    backend: Literal["vxlan", "host-gw"] = "vxlan"


class Cni(Model):
    """The pod network: exactly one of the keys."""

    flannel: Flannel | None = None


class ClusterNetwork(Model):
    """Addresses of pods and Services, and the pod network that carries them."""

    pods: Network = "10.244.0.0/16"
    """Addresses of pods; each node takes a /24 of it."""
    services: Network = "10.96.0.0/16"
    """Addresses of Services."""
    domain: Annotated[str, Field(pattern=patterns.DOMAIN, max_length=253)] = "cluster.local"
    """The DNS domain of Services."""
    cni: Cni = Cni(flannel=Flannel())


class Containerd(Model):
    """The containerd runtime."""


class Runtime(Model):
    """The container runtime: exactly one of the keys."""

    containerd: Containerd | None = Containerd()


class Artifacts(Model):
    """Where software comes from. `mirror` is an https base URL that replaces the upstream hosts."""

    source: Literal["auto", "upstream", "gomod", "distro", "mirror"] = "auto"
    """`auto` takes the first that answers."""
    mirror: Annotated[str, Field(pattern=patterns.MIRROR, max_length=2048)] | None = None


class Security(Model):
    """Safeguards that are on unless turned off."""

    encryption_at_rest: bool = Field(default=True, alias="encryptionAtRest")
    """Secrets are encrypted in etcd."""
    audit: bool = True
    """The API server writes an audit log."""
    external_authorities: bool = Field(default=False, alias="externalAuthorities")
    """Certificates are signed by authorities of yours, and anykube has the key of none; see anykube certs
    requests."""


class Dns(Model):
    """CoreDNS as the cluster's DNS."""

    replicas: int = Field(default=2, ge=1, le=100)


class Metrics(Model):
    """metrics-server: what `kubectl top` and autoscaling by load need."""


class Addons(Model):
    """What runs in the cluster from the start. null turns one off."""

    dns: Dns | None = Dns()
    metrics: Metrics | None = None


class Window(Model):
    """When upgrades may begin, in UTC."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = get_args(Day)
    """Days on which it opens; all when absent."""
    start: Annotated[str, Field(pattern=patterns.TIME, examples=["22:00"])]
    """When it opens, such as "22:00"."""
    hours: Annotated[int, Field(ge=1, le=24, examples=[4])]
    """How long it is open."""


class UpgradePolicy(Model):
    """How changes that restart nodes go through the cluster."""

    max_unavailable: Share = Field(default="1", alias="maxUnavailable")
    """How many workers may be missing at once: a number or a part of all workers, such as "20%"."""
    drain_timeout: int | None = Field(default=None, alias="drainTimeout", ge=1, le=86_400)
    """Seconds that the pods of a node may take to leave; 300 when absent."""
    window: Window | None = None
    """Outside of it an upgrade does not begin, unless told to."""


class S3(Model):
    """A bucket of S3, or of what speaks its protocol."""

    bucket: Annotated[str, Field(pattern=patterns.BUCKET, min_length=3, max_length=63, examples=["backups"])]
    prefix: Annotated[str, Field(pattern=patterns.KEY_PREFIX, max_length=256)] | None = None
    """What the names of all objects begin with, such as clusters/demo."""
    endpoint: Annotated[str, Field(pattern=patterns.ENDPOINT_URL, max_length=253)] | None = None
    """URL of the server; Amazon's when absent."""
    region: Annotated[str, Field(pattern=patterns.NAME, max_length=40)] = "us-east-1"
    credentials: Annotated[AbsolutePath, Field(examples=["/root/.aws/credentials"])]
    """Path on this machine of a file as the AWS tools have it; its profile 'default' counts."""


class BackupTarget(Model):
    """Where archives go: exactly one of the keys."""

    folder: AbsolutePath | None = None
    """A folder of this machine, for `anykube backup create`; each node keeps those that it makes itself."""
    s3: S3 | None = None


class Backup(Model):
    """Scheduled backups of etcd, of keys and certificates and of this object, made by the nodes of etcd."""

    recipients: Annotated[
        tuple[Annotated[str, Field(pattern=patterns.AGE_RECIPIENT, max_length=62)], ...],
        Field(max_length=20),
    ] = ()
    """Public keys of age; who has one of the private keys can read archives. Without any, the cluster has a
    key of its own, which must be kept elsewhere too: anykube backup key."""
    every: Annotated[str, Field(pattern=patterns.PERIOD, max_length=5)] = "6h"
    """How often, in minutes, hours or days."""
    keep: int = Field(default=28, ge=1, le=1000)
    """How many archives are kept in each place."""
    to: BackupTarget | None = None
    """Where archives go besides the nodes that make them."""


class ClusterSpec(Model):
    """Everything about a cluster but its name."""

    kubernetes: Kubernetes
    machines: MachineSet
    """Machines, where they come from and what they do."""
    endpoint: Endpoint = Endpoint()
    network: ClusterNetwork = ClusterNetwork()
    runtime: Runtime = Runtime()
    artifacts: Artifacts = Artifacts()
    security: Security = Security()
    addons: Addons = Addons()
    backup: Backup | None = None
    """Scheduled backups; none when absent."""
    upgrade: UpgradePolicy = UpgradePolicy()


class Cluster(Model):
    """The cluster object."""

    api_version: Literal["anykube.dev/v1alpha1"] = Field(alias="apiVersion", examples=[API_VERSION])
    kind: Annotated[Literal["Cluster"], Field(examples=["Cluster"])]
    metadata: Metadata
    spec: ClusterSpec

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.metadata.name
