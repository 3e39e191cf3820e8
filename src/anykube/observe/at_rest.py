"""Looks under which encryption key Secrets are stored, through a member of etcd. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anykube.errors import AnykubeError, CommandError
from anykube.facts.at_rest import parse, script
from anykube.facts.host import HostFacts, Unreachable, etcd_of
from anykube.transports.base import Transport

SECONDS = 120.0


async def secrets_at_rest(
    hosts: Mapping[str, HostFacts | Unreachable], transport: Callable[[str], Transport]
) -> Mapping[str, int] | None:
    """How many Secrets there are under each key, as the first member tells that can; None if none can."""
    for name, view in sorted(etcd_of(hosts).views.items()):
        if not view.healthy or view.learner:
            continue
        try:
            result = await transport(name).run(script(), seconds=SECONDS)
            if result.status:
                raise CommandError(name, "looking at Secrets in etcd", result.status, result.stderr)
            return parse(name, result.stdout)
        except AnykubeError:
            continue
    return None
