"""From the object's artifacts.source to the sources to ask, in order.

The sources are imported when they are needed: a cluster whose software is in the store loads no HTTP client.
"""

from __future__ import annotations

from collections.abc import Mapping

from anykube.artifacts.sources.base import Source
from anykube.errors import UsageError


def choose(choice: str, mirror: str | None = None) -> tuple[Source, ...]:
    """The sources to ask, in order."""
    from anykube.artifacts.sources.distro import DistroSource
    from anykube.artifacts.sources.gomod import GoModSource
    from anykube.artifacts.sources.upstream import MirrorSource, UpstreamSource

    if choice == "mirror" or (choice in {"auto", "upstream"} and mirror):
        if not mirror:
            raise UsageError("artifacts.source is mirror, but artifacts.mirror has no URL.")
        first: Source = MirrorSource(mirror)
    else:
        first = UpstreamSource()
    known: Mapping[str, tuple[Source, ...]] = {
        "auto": (first, GoModSource(), DistroSource()),
        "upstream": (first,),
        "mirror": (first,),
        "gomod": (GoModSource(),),
        "distro": (DistroSource(),),
    }
    if choice not in known:
        raise UsageError(
            f"There is no artifacts.source {choice!r}.", remedy=f"choose one of {', '.join(known)}"
        )
    return known[choice]
