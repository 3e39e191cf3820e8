"""Whether etcd is only between two leaders: then a second look is worth while before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping

from anykube.facts.etcd import quorum
from anykube.facts.host import HostFacts, UnitFacts, Unreachable, etcd_of

SERVICE = "etcd.service"
"""The same as in content/etcd.py, which this room must not import; a test keeps them equal."""


def electing(hosts: Mapping[str, HostFacts | Unreachable]) -> bool:
    """Whether enough members run for a quorum, and there is none yet: a leader is about to be elected.

    A member that never served is not counted: it waits for others that have not begun.
    """
    etcd = etcd_of(hosts)
    if etcd.quorate:
        return False
    known = [host for host in hosts.values() if isinstance(host, HostFacts)]
    up = [host for host in known if host.etcd_born and host.etcd_data and _up(host)]
    return bool(up) and len(up) >= quorum(len(etcd.voters) or len(up))


def doubtful(hosts: Mapping[str, HostFacts | Unreachable]) -> bool:
    """Whether a member follows a leader though too few answer: one that leads alone soon gives up."""
    etcd = etcd_of(hosts)
    return not etcd.quorate and any(view.healthy for view in etcd.views.values())


def _up(host: HostFacts) -> bool:
    """Whether its member answers, or is about to. One that runs and does not answer is frozen."""
    return host.etcd is not None or host.units.get(SERVICE, UnitFacts()).active == "activating"
