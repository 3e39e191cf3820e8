"""keepalived: gives the virtual address of the API to one of the machines that balance it (VRRPv3).

No script watches haproxy: the unit is bound to haproxy's, so the address leaves at once when haproxy ends,
and comes back with it. VRRP has no password that would help: only the listed machines are listened to.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from anykube.content.context import NodeContext
from anykube.content.haproxy import KEEPALIVED_SERVICE, SHARED_SERVICE
from anykube.content.haproxy import NAME as BALANCER
from anykube.content.model import Component, File, Text
from anykube.content.paths import OWN_CONFIGS
from anykube.content.unit import Service, oom_score

NAME = "keepalived"
PROGRAM = "/usr/sbin/keepalived"
CONFIG = f"{OWN_CONFIGS}/keepalived.conf"
ADVERT_SECONDS = 0.5
"""A holder that is silent for three and a bit of these has lost the address."""
FIRST_PRIORITY = 200
DEFAULT_INTERFACE = "eth0"


def component(context: NodeContext) -> Component:
    """The configuration and the unit."""
    service = Service(
        name=KEEPALIVED_SERVICE,
        description="Virtual address of the Kubernetes API",
        command=(PROGRAM, "--dont-fork", "--vrrp", "--log-console", f"--use-file={CONFIG}"),
        kind="exec",
        inputs=(CONFIG,),
        # The holder keeps the address while it reads its new peers.
        reload=("/bin/kill -HUP $MAINPID",),
        bound_to=SHARED_SERVICE,
        settings=(("KillMode", "mixed"), *oom_score(context.system.constrained)),
    )
    files = (File(CONFIG, Text(_config(context)), "600"), service.file())
    directories = (("755", "root:root", OWN_CONFIGS),)
    return Component(NAME, files, service.unit, directories, (BALANCER,), programs=(NAME,))


def _config(context: NodeContext) -> str:
    """The machine that is first in the object takes the address first; it does not take it back later."""
    address = context.endpoint.host
    names = [name for name, _ in context.endpoint.balancers]
    peers = [peer for name, peer in context.endpoint.balancers if name != context.node.name]
    interface = context.system.interfaces.get(context.address, DEFAULT_INTERFACE)
    lines = [
        "global_defs {",
        f"    router_id {context.node.name}",
        "    vrrp_version 3",
        "}",
        "",
        "vrrp_instance api {",
        "    state BACKUP",
        "    nopreempt",
        f"    interface {interface}",
        # Unicast is heard by the peers only, so the number need not be unique in the network.
        f"    virtual_router_id {int(IPv4Address(address)) % 255 + 1}",
        f"    priority {FIRST_PRIORITY - names.index(context.node.name)}",
        f"    advert_int {ADVERT_SECONDS}",
        f"    unicast_src_ip {context.address}",
        "    check_unicast_src",
        "    unicast_peer {",
        *(f"        {peer}" for peer in peers),
        "    }",
        "    virtual_ipaddress {",
        f"        {address}/32 dev {interface}",
        "    }",
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)
