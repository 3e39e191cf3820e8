"""etcd: one member of the store behind the API. Flags, not a file, as CIS section 2 looks for them."""

from __future__ import annotations

from collections.abc import Sequence

from anykube.content import system
from anykube.content.context import NodeContext
from anykube.content.files import CONFIG_MODE, authority, binary, certificate_and_key
from anykube.content.model import Component, File, Text
from anykube.content.paths import ETCD, STATE, install_path
from anykube.content.unit import Service, command_line, flags, oom_score

NAME = "etcd"
SERVICE = "etcd.service"
OWNER = "etcd:etcd"
FOLDER = "/etc/etcd"
PKI = f"{FOLDER}/pki"
"""Not under /etc/kubernetes/pki: CIS 1.1.19 wants that to be root's, and etcd does not run as root."""
MEMBERS = f"{FOLDER}/members.env"
BIRTH = f"{STATE}/etcd"
BORN = f"{BIRTH}/born.env"
"""Written when the member first serves, apart from its data: one that loses its data then does not start, and
neither founds a second cluster (kubespray#13261) nor votes again on what it has forgotten."""
FIRST_START = f"{BIRTH}/first-start.env"
"""How a member starts the first time: at birth as part of a new cluster, or with the members that it joins.
Gone as soon as it serves; from then on only its data counts."""
CLIENT_PORT = 2379
PEER_PORT = 2380
STATE_NAME = "ETCD_INITIAL_CLUSTER_STATE"
METRICS_URL = "http://127.0.0.1:2381"
QUOTA_BYTES = 8 * 1024**3
"""What etcd itself calls the largest sensible database; its default of 2 GiB ends in a read-only cluster."""
BINARIES = ("etcd", "etcdctl", "etcdutl")

_HAS_DATA = (
    f"[ -d {ETCD}/member/wal ] || [ ! -e {BORN} ] || "
    "{ echo 'the data of this etcd member is gone; see: anykube replace' >&2; exit 1; }"
)
_SERVES = f"echo {STATE_NAME}=existing >{BORN}; rm -f {FIRST_START}"


def component(context: NodeContext) -> Component:
    """The member's binaries, certificates, list of members and unit."""
    node = f"nodes/{context.node.name}"
    own = (
        *certificate_and_key("server", f"{node}/etcd-server", PKI, OWNER),
        *certificate_and_key("peer", f"{node}/etcd-peer", PKI, OWNER),
    )
    certificates = (authority(f"{PKI}/ca.crt", "ca/etcd", OWNER), *own)
    service = Service(
        name=SERVICE,
        description="etcd key-value store",
        command=(install_path("etcd"), *_flags(context)),
        kind="notify",
        # MEMBERS is not an input: etcd reads it only when it has no data yet, so a change needs no restart.
        inputs=(*(file.path for file in certificates), install_path("etcd")),
        # Read anew for each handshake (client/pkg/transport/listener.go); of the CA only at the start.
        live=tuple(file.path for file in own),
        after=(system.SERVICE,),
        settings=(
            ("EnvironmentFile", MEMBERS),
            ("EnvironmentFile", f"-{FIRST_START}"),
            ("EnvironmentFile", f"-{BORN}"),
            ("ExecStartPre", "+" + command_line(("/bin/sh", "-c", _HAS_DATA))),
            ("ExecStartPost", "-+" + command_line(("/bin/sh", "-c", _SERVES))),
            ("User", "etcd"),
            ("Group", "etcd"),
            ("StateDirectory", "etcd"),
            ("StateDirectoryMode", "0700"),
            *oom_score(context.system.constrained),
        ),
    )
    files = (
        *(binary(name) for name in BINARIES),
        *certificates,
        File(MEMBERS, Text(_members(context)), CONFIG_MODE),
        *((File(FIRST_START, Text(f"{STATE_NAME}=new\n"), CONFIG_MODE),) if context.birth else ()),
        service.file(),
    )
    directories = (
        ("755", "root:root", FOLDER),
        ("700", OWNER, PKI),
        ("700", OWNER, ETCD),
        ("700", "root:root", BIRTH),
    )
    traces = (f"data {ETCD}", f"data {BIRTH}")
    return Component(NAME, files, service.unit, directories, (system.NAME,), traces=traces)


def client_url(address: str, port: int = CLIENT_PORT) -> str:
    """Where clients reach a member."""
    return f"https://{_host(address)}:{port}"


def peer_url(address: str) -> str:
    """Where the other members reach a member."""
    return f"https://{_host(address)}:{PEER_PORT}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def initial_cluster(members: Sequence[tuple[str, str]]) -> str:
    """Members (name, peer URL) as etcd takes them at its first start."""
    return ",".join(f"{name}={url}" for name, url in members)


def _members(context: NodeContext) -> str:
    """The members as the object has them. Read at a first start only, and FIRST_START goes before it."""
    members = initial_cluster([(name, peer_url(address)) for name, address in context.etcd_members])
    return f'ETCD_INITIAL_CLUSTER="{members}"\n{STATE_NAME}=existing\n'


def _flags(context: NodeContext) -> tuple[str, ...]:
    return flags(
        {
            "name": context.node.name,
            "data-dir": ETCD,
            "initial-cluster-token": context.cluster.name,
            "initial-advertise-peer-urls": peer_url(context.address),
            "advertise-client-urls": client_url(context.address),
            "listen-peer-urls": peer_url(context.address),
            "listen-client-urls": (client_url("127.0.0.1"), client_url(context.address)),
            "listen-metrics-urls": METRICS_URL,
            "cert-file": f"{PKI}/server.crt",
            "key-file": f"{PKI}/server.key",
            "trusted-ca-file": f"{PKI}/ca.crt",
            "client-cert-auth": True,
            "peer-cert-file": f"{PKI}/peer.crt",
            "peer-key-file": f"{PKI}/peer.key",
            "peer-trusted-ca-file": f"{PKI}/ca.crt",
            "peer-client-cert-auth": True,
            # Only our own programs speak to etcd.
            "tls-min-version": "TLS1.3",
            # A member whose data differs from the others' stops instead of spreading it.
            "feature-gates": ("CompactHashCheck=true", "InitialCorruptCheck=true"),
            # The API server's watch cache waits for this after each start.
            "watch-progress-notify-interval": "5s",
            "quota-backend-bytes": QUOTA_BYTES,
        }
    )
