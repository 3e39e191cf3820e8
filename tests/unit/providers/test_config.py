"""The text of a container: what lxc-start, the kernel and the resolver read."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import PurePosixPath

import pytest

from anykube.providers.lxc.config import Container, container_config, hosts, limits, resolver

SUBNET = IPv4Network("10.81.0.0/24")
CONTAINER = Container(
    name="demo-cp-1",
    folder=PurePosixPath("/r/demo/nodes/demo-cp-1"),
    layers=(PurePosixPath("/c/software"), PurePosixPath("/c/rootfs")),
    address="10.81.0.11",
    subnet=SUBNET,
    bridge="ak-demo",
    settings={"cpus": "1.5", "memory": "2048"},
    devices=("/dev/kmsg",),
    modules=True,
)


def settings_of(container: Container) -> list[tuple[str, str]]:
    lines = container_config(container).splitlines()
    return [
        (key.strip(), value.strip())
        for key, found, value in (line.partition("=") for line in lines)
        if found and not key.startswith("#")
    ]


def test_the_whole_configuration() -> None:
    found = settings_of(CONTAINER)
    for wanted in [
        ("lxc.uts.name", "demo-cp-1"),
        ("lxc.rootfs.path", "overlay:/c/software:/c/rootfs:/r/demo/nodes/demo-cp-1/delta"),
        ("lxc.cap.drop", ""),
        ("lxc.net.0.link", "ak-demo"),
        ("lxc.net.0.ipv4.address", "10.81.0.11/24"),
        ("lxc.net.0.ipv4.gateway", "10.81.0.1"),
        ("lxc.mount.entry", "/dev/kmsg dev/kmsg none bind,create=file 0 0"),
        ("lxc.mount.entry", "/lib/modules usr/lib/modules none bind,ro,create=dir 0 0"),
        (
            "lxc.mount.entry",
            "/r/demo/nodes/demo-cp-1/disks/etcd var/lib/etcd none bind,create=dir 0 0",
        ),
    ]:
        assert wanted in found


def test_mount_targets_are_relative_and_pass_through_no_symbolic_link() -> None:
    targets = [value.split()[1] for key, value in settings_of(CONTAINER) if key == "lxc.mount.entry"]
    assert len(targets) == 5
    assert all(target.split("/")[0] in ("var", "dev", "usr") for target in targets)


def test_what_this_machine_lacks_is_not_mounted() -> None:
    text = container_config(replace(CONTAINER, devices=(), modules=False))
    assert "/dev/kmsg" not in text
    assert "modules" not in text


def test_limits_for_both_cgroup_versions() -> None:
    assert {key: value for _, key, value in limits({"cpus": "1.5", "memory": "2048"})} == {
        "memory.limit_in_bytes": str(2048 * 1024 * 1024),
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "memory.max": str(2048 * 1024 * 1024),
        "cpu.max": "150000 100000",
    }


def test_an_absent_limit_is_written_as_none() -> None:
    assert {value for _, _, value in limits({})} == {"-1", "100000", "max", "max 100000"}


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        ([], "nameserver 10.81.0.1\n"),
        (["192.0.2.53"], "nameserver 192.0.2.53\n"),
        (
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
            "".join(f"nameserver 192.0.2.{n}\n" for n in (1, 2, 3)),
        ),
    ],
)
def test_the_resolver(servers: list[str], text: str) -> None:
    assert resolver(servers, SUBNET) == text


def test_a_node_knows_its_own_name() -> None:
    assert "10.81.0.11 demo-cp-1\n" in hosts("demo-cp-1", "10.81.0.11")
