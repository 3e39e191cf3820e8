"""Simulated hosts are what their documentation promises: others build their tests on them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from anykube.observe.hosts import probe_hosts
from anykube.testing import SimulatedHost, simulated_hosts, why_unavailable

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")

UNIT = """[Service]
ExecStartPre=-+/bin/sh -c "echo $$HOME 100%% >>/var/log/started"
ExecStart=/bin/cat \\
    --endless
[Install]
WantedBy=multi-user.target
"""


def _install(host: SimulatedHost) -> None:
    host.path("/etc/systemd/system/app.service").write_text(UNIT)


async def test_a_host_keeps_its_tree_its_keys_and_its_port(tmp_path: Path) -> None:
    async with simulated_hosts(1, tmp_path) as (host,):
        endpoint = host.endpoint
        await host.transport().run(["touch", "/etc/mark"])
        await host.stop()
        await host.start()
        assert host.endpoint == endpoint
    again = SimulatedHost("node-1", tmp_path / "node-1")
    await again.start()
    assert again.endpoint.host_key == endpoint.host_key
    assert (await again.transport().run(["ls", "/etc/mark"])).status == 0
    await again.stop()


async def test_a_reboot_forgets_what_runs_and_starts_what_is_enabled(tmp_path: Path) -> None:
    async with simulated_hosts(1, tmp_path) as (host,):
        _install(host)
        transport = host.transport()
        assert (await transport.run(["systemctl", "enable", "--now", "app.service"])).status == 0
        host.path("/run/leftover").touch()
        boot = host.path("/proc/sys/kernel/random/boot_id").read_text()
        await host.reboot()
        assert host.path("/proc/sys/kernel/random/boot_id").read_text() != boot
        assert not host.path("/run/leftover").exists()
        assert (await transport.run(["systemctl", "is-active", "app.service"])).stdout == "active\n"
        assert host.path("/var/log/started").read_text() == "/root 100%\n" * 2
        assert host.unit_history == ["start app.service"]
        await transport.close()


async def test_commands_do_not_reach_beyond_the_tree() -> None:
    async with simulated_hosts(1) as (host,):
        transport = host.transport()
        listed = (await transport.run(["ls", "/etc"])).stdout.split()
        assert "simulated" in listed
        for program in ("reboot", "mount", "insmod", "ifconfig", "busybox reboot"):
            assert (await transport.run([program])).status == 127
        await transport.close()


async def test_faults_count_commands() -> None:
    async with simulated_hosts(1) as (host,):
        transport = host.transport()
        host.faults.fail_command = 2
        statuses = [(await transport.run(["true"])).status for _ in range(3)]
        assert statuses == [0, 1, 0]
        host.faults.slow = 0.2
        begin = time.monotonic()
        await transport.run(["true"])
        assert time.monotonic() - begin >= 0.2
        assert len(host.commands) == 4
        await transport.close()


async def test_many_hosts_are_cheap() -> None:
    begin = time.process_time()
    async with simulated_hosts(30) as hosts:
        started = time.process_time() - begin
        transports = {host.name: host.transport() for host in hosts}
        facts = await probe_hosts(transports, [], [])
        assert {fact.name for fact in facts.values()} == {host.name for host in hosts}
        await asyncio.gather(*(transport.close() for transport in transports.values()))
    assert started < 3
