"""The step between servers and nodes: a shared address answers as the API before anybody is sent there.

Called by bootstrap.py. A new address that is wrong then breaks no node that works. There is no such step
where nodes balance for themselves: their haproxy is in place before their kubelet looks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from anykube.content.haproxy import KEEPALIVED_SERVICE as ADDRESS_SERVICE
from anykube.content.haproxy import NAME as BALANCER
from anykube.content.keepalived import NAME as ADDRESS
from anykube.facts.cluster import Facts
from anykube.plan.effects import WaitFor
from anykube.plan.model import CLUSTER, Change, Phase, Step
from anykube.spec.endpoint import API_PORT, ApiEndpoint
from anykube.spec.model import EndpointKind

ENDPOINT = f"{CLUSTER}/endpoint"
SECONDS = 60.0
"""A virtual address is there after two seconds; balancers of users may look at their servers rarely."""
TITLE = "API endpoint"


def plan_endpoint(
    api: ApiEndpoint, steps: Sequence[Step], servers: Sequence[str], facts: Facts
) -> Step | None:
    """Wait until a shared address serves, unless it does already and nothing behind it changes."""
    if not api.shared:
        return None
    known = {step.id: step for step in steps}
    carriers = (f"{node}/{name}" for node, _ in api.balancers for name in (BALANCER, ADDRESS))
    needs = tuple(dict.fromkeys((*servers, *(name for name in carriers if name in known))))
    changing = any(not known[name].skipped for name in needs if name in known)
    trouble = facts.kubernetes.endpoint
    if facts.kubernetes.ready and not changing and not trouble:
        return Step(ENDPOINT, Phase.BOOTSTRAP, CLUSTER, TITLE, f"{api.url} answers", needs=needs)
    reason = "what it leads to is started" if changing else trouble or "does not answer"
    change = Change("wait", "condition", f"{api.url} ready", reason)
    wait = WaitFor("endpoint-ready", api.url, SECONDS, remedy(api))
    return Step(ENDPOINT, Phase.BOOTSTRAP, CLUSTER, TITLE, reason, (change,), (wait,), needs)


def remedy(api: ApiEndpoint) -> str:
    """What helps when a shared address does not serve."""
    if api.kind is EndpointKind.VIRTUAL_IP:
        nodes = ", ".join(name for name, _ in api.balancers)
        return f"anykube logs NODE {ADDRESS_SERVICE.removesuffix('.service')}, with NODE one of: {nodes}"
    servers = ", ".join(f"{address}:{API_PORT}" for _, address in api.servers)
    return (
        f"have your load balancer pass TCP, without ending TLS, from {api.host}:{api.port} to {servers}, "
        "and ask each for GET /readyz over TLS: 200 is healthy"
    )
