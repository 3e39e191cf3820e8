"""Facts of hosts: one round trip each, all at once. A host that fails is a fact too, not an error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from anykube.errors import AnykubeError, CommandError, HostKeyError
from anykube.facts.host import HostFacts, Unreachable, WrongHostKey
from anykube.facts.probe import parse, script
from anykube.transports.base import Transport

PROBE_SECONDS = 30


async def probe_hosts(
    transports: Mapping[str, Transport],
    paths: Sequence[str],
    units: Sequence[str],
    programs: Sequence[str] = (),
) -> Mapping[str, HostFacts | Unreachable]:
    """What each host answers, by its name."""
    argv = script(paths, units, programs)
    answers = await asyncio.gather(*(_probe(name, host, argv) for name, host in transports.items()))
    return dict(zip(transports, answers, strict=True))


async def _probe(name: str, transport: Transport, argv: Sequence[str]) -> HostFacts | Unreachable:
    try:
        result = await transport.run(argv, seconds=PROBE_SECONDS)
        if result.status:
            raise CommandError(name, "the probe", result.status, result.stderr)
        return parse(name, result.stdout)
    except AnykubeError as error:
        kind = WrongHostKey if isinstance(error, HostKeyError) else Unreachable
        return kind(name, " ".join([error.brief, *error.evidence[:2]]), error.remedy or "")
