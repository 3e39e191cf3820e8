"""haproxy: TCP balancing over all API servers, each asked /readyz. TLS goes through to the servers.

Two places for it (spec/endpoint.py): on the loopback address of every node that runs pods and has no API
server, where it serves that node only; and on the machines that carry a virtual address, for everybody.
Each has a unit and a configuration of its own, so that a change of the kind of endpoint has both for a while.
"""

from __future__ import annotations

from collections.abc import Sequence

from anykube.content.authorities import CLUSTER_CA
from anykube.content.authorities import NAME as AUTHORITIES
from anykube.content.context import NodeContext
from anykube.content.model import Component, File, Text
from anykube.content.paths import OWN_CONFIGS
from anykube.content.system import NAME as SYSTEM
from anykube.content.system import SERVICE as SYSTEM_SERVICE
from anykube.content.unit import Service, command_line, oom_score
from anykube.spec.endpoint import API_PORT, LOOPBACK
from anykube.spec.model import EndpointKind

NAME = "haproxy"
PROGRAM = "/usr/sbin/haproxy"
"""Of the distribution, with its user of the same name: it is patched with the rest of the machine."""
LOCAL_SERVICE = "anykube-haproxy-local.service"
LOCAL_CONFIG = f"{OWN_CONFIGS}/haproxy-local.cfg"
SHARED_SERVICE = "anykube-haproxy.service"
SHARED_CONFIG = f"{OWN_CONFIGS}/haproxy.cfg"
KEEPALIVED_SERVICE = "anykube-keepalived.service"
"""Named here too, because each of the two units names the other."""
LOCAL_CONNECTIONS = 1000
"""A node has a handful of components that talk to the API, over few connections each."""
SHARED_CONNECTIONS = 8000
SERVER_NAME = "kubernetes"
"""A name that the certificate of every API server bears: haproxy compares names only, no addresses."""

Section = tuple[str, Sequence[str]]


def local(context: NodeContext) -> bool:
    """Whether the node reaches the API through a balancer of its own."""
    node = context.node
    return context.endpoint.kind is EndpointKind.NODE_LOCAL and node.kubelet and not node.control_plane


def shared(context: NodeContext) -> bool:
    """Whether the node may carry the virtual address of the API."""
    return any(name == context.node.name for name, _ in context.endpoint.balancers)


def component(context: NodeContext) -> Component:
    """The configuration and the unit, for whichever of the two places the node is."""
    everybody = shared(context)
    config = SHARED_CONFIG if everybody else LOCAL_CONFIG
    service = Service(
        name=SHARED_SERVICE if everybody else LOCAL_SERVICE,
        description="Load balancer for the Kubernetes API",
        # -Ws: a master that tells systemd when the worker serves, and replaces it on SIGUSR2.
        command=(PROGRAM, "-Ws", "-f", config),
        kind="notify",
        inputs=(config, CLUSTER_CA),
        # Connections live on in the old worker: a change of membership is noticed by nobody.
        reload=(command_line((PROGRAM, "-c", "-q", "-f", config)), "/bin/kill -USR2 $MAINPID"),
        after=(SYSTEM_SERVICE,),
        # haproxy that was restarted after a failure brings the virtual address back.
        wants=(KEEPALIVED_SERVICE,) if everybody else (),
        settings=(
            ("User", NAME),
            ("Group", NAME),
            ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
            ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
            ("NoNewPrivileges", "yes"),
            ("KillMode", "mixed"),
            ("SuccessExitStatus", "143"),
            *oom_score(context.system.constrained),
        ),
    )
    files = (File(config, Text(_config(context, everybody)), "644"), service.file())
    directories = (("755", "root:root", OWN_CONFIGS),)
    return Component(NAME, files, service.unit, directories, (SYSTEM, AUTHORITIES), programs=(NAME,))


def _config(context: NodeContext, everybody: bool) -> str:
    port = context.endpoint.port if everybody else API_PORT
    sections: tuple[Section, ...] = (
        ("global", _global(everybody)),
        ("defaults", _DEFAULTS),
        ("frontend api", (f"bind {'*' if everybody else LOOPBACK}:{port}", "default_backend servers")),
        ("backend servers", _servers(context)),
    )
    return "\n".join(_section(name, lines) for name, lines in sections)


def _section(name: str, lines: Sequence[str]) -> str:
    return "".join((f"{name}\n", *(f"    {line}\n" for line in lines)))


def _global(everybody: bool) -> Sequence[str]:
    # One thread moves far more than a node's own traffic, and does not wake 64 of a large machine.
    alone = () if everybody else ("nbthread 1",)
    return ("log stdout format raw daemon notice", f"maxconn {_connections(everybody)}", *alone)


def _connections(everybody: bool) -> int:
    return SHARED_CONNECTIONS if everybody else LOCAL_CONNECTIONS


_DEFAULTS = (
    "mode tcp",
    "log global",
    "option dontlog-normal",
    # A connection that is refused goes to another server at once, and the client notices nothing.
    "option redispatch 1",
    "retries 3",
    "timeout connect 2s",
    "timeout check 1s",
    # Watches and attached shells may be silent for long; dead peers are found by keep-alives.
    "option clitcpka",
    "option srvtcpka",
    "timeout client 4h",
    "timeout server 4h",
    "timeout client-fin 30s",
    "timeout server-fin 30s",
)


def _servers(context: NodeContext) -> Sequence[str]:
    """Health by what the API server says of itself, over TLS that is verified as clients verify it."""
    check = f"check check-ssl verify required ca-file {CLUSTER_CA} check-sni {SERVER_NAME}"
    pace = "inter 1s fastinter 250ms downinter 500ms fall 2 rise 1"
    return (
        # Long connections stay where they are, so new ones go where few are.
        "balance leastconn",
        "option httpchk GET /readyz",
        "http-check expect status 200",
        # Clients of a server that is gone without a word are told at once, and connect again.
        f"default-server {check} {pace} on-marked-down shutdown-sessions",
        *(f"server {name} {_host(address)}:{API_PORT}" for name, address in context.endpoint.servers),
    )


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
