"""Observing many hosts at once: one round trip each, and a host that fails is a fact."""

from __future__ import annotations

import asyncio

import pytest

from anykube.facts.host import HostFacts, Unreachable
from anykube.observe.hosts import probe_hosts
from anykube.testing import simulated_hosts, why_unavailable

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")


async def test_each_host_is_asked_once_and_failures_are_facts() -> None:
    async with simulated_hosts(4) as hosts:
        transports = {host.name: host.transport() for host in hosts}
        await hosts[1].stop()
        hosts[2].faults.fail_command = 1
        os_release = hosts[3].path("/etc/os-release")
        os_release.write_text("ID=debian\x1b[31m\n")
        facts = await probe_hosts(transports, ["/etc/passwd", "/etc/absent"], ["etcd.service"])
        assert list(facts) == [host.name for host in hosts]
        assert [len(host.commands) for host in hosts] == [1, 0, 1, 1]
        assert [transport.round_trips for transport in transports.values()] == [1, 0, 1, 1]
        await asyncio.gather(*(transport.close() for transport in transports.values()))
    first, refused, failed, garbage = facts.values()
    assert isinstance(first, HostFacts)
    assert first.system.hostname == "node-1"
    assert list(first.files) == ["/etc/passwd"]
    assert first.units["etcd.service"].load == "not-found"
    for host, word in (
        (refused, "SSH connection"),
        (failed, "simulated failure"),
        (garbage, "not understood"),
    ):
        assert isinstance(host, Unreachable)
        assert word in host.reason
        assert host.reason.isprintable()
