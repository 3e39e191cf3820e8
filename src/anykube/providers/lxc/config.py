"""The text of a node: its container configuration and the few files that are its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import PurePosixPath

from anykube.providers.lxc.addressing import cgroup_names, gateway, hardware_address, interface_name

DISKS = ("containerd", "kubelet", "etcd")
"""Folders under /var/lib that need a real file system: containerd's own overlays do not work on an overlay,
and etcd's log wants an fsync that reaches the disk."""
DEVICES = ("/dev/kmsg", "/dev/net/tun", "/dev/fuse")
CPU_PERIOD = 100_000
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that a container's configuration depends on.

    layers: read-only lower folders, topmost first.  devices, modules: what of it this machine has.
    """

    name: str
    folder: PurePosixPath
    layers: tuple[PurePosixPath, ...]
    address: str
    subnet: IPv4Network
    bridge: str
    settings: Mapping[str, str]
    devices: tuple[str, ...] = DEVICES
    modules: bool = False


def container_config(container: Container) -> str:
    """The file that lxc-start reads."""
    layers = ":".join(str(layer) for layer in container.layers)
    group, monitor_group = cgroup_names(container.folder)
    lines = [
        "# Made by anykube; a change by hand is lost when the machine's size changes.",
        f"lxc.uts.name = {container.name}",
        f"lxc.rootfs.path = overlay:{layers}:{container.folder}/delta",
        f"lxc.log.file = {container.folder}/lxc.log",
        "lxc.log.level = WARN",
        "lxc.mount.auto = proc:rw sys:rw cgroup:rw:force",
        "lxc.cap.drop =",
        "lxc.apparmor.profile = unconfined",
        f"lxc.cgroup.dir.container = {group}",
        f"lxc.cgroup.dir.monitor = {monitor_group}",
        "lxc.cgroup.devices.allow = a",
        "lxc.cgroup2.devices.allow = a",
        *_mounts(container),
        *_network(container),
    ]
    lines += [f"{prefix}.{key} = {value}" for prefix, key, value in limits(container.settings)]
    return "\n".join(lines) + "\n"


def limits(settings: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """The cgroup settings for a size: (prefix, key, value) for both cgroup versions.

    An absent size is written as 'no limit', so that a limit that was taken away ends in a running node too.
    """
    memory, cpus = settings.get("memory"), settings.get("cpus")
    size = str(int(memory) * MEBIBYTE) if memory else ""
    quota = str(round(float(cpus) * CPU_PERIOD)) if cpus else ""
    return (
        ("lxc.cgroup", "memory.limit_in_bytes", size or "-1"),
        ("lxc.cgroup", "cpu.cfs_period_us", str(CPU_PERIOD)),
        ("lxc.cgroup", "cpu.cfs_quota_us", quota or "-1"),
        ("lxc.cgroup2", "memory.max", size or "max"),
        ("lxc.cgroup2", "cpu.max", f"{quota or 'max'} {CPU_PERIOD}"),
    )


def resolver(servers: Sequence[str], subnet: IPv4Network) -> str:
    """resolv.conf: this machine's servers that answer, else an address that refuses at once.

    A server that does not answer costs every lookup tens of seconds; a loopback address would make the
    cluster's DNS ask itself. Nothing listens on the gateway's port 53.
    """
    chosen = servers[:3] or [str(gateway(subnet))]
    return "".join(f"nameserver {server}\n" for server in chosen)


def hosts(name: str, address: str) -> str:
    """/etc/hosts of a node."""
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {name}\n"


def _mounts(container: Container) -> list[str]:
    entries = [f"{container.folder}/disks/{disk} var/lib/{disk} none bind,create=dir 0 0" for disk in DISKS]
    entries += [f"{device} {device[1:]} none bind,create=file 0 0" for device in container.devices]
    if container.modules:
        # The target is usr/lib, because a mount target must not pass through a symbolic link.
        entries.append("/lib/modules usr/lib/modules none bind,ro,create=dir 0 0")
    return [f"lxc.mount.entry = {entry}" for entry in entries]


def _network(container: Container) -> list[str]:
    settings = {
        "type": "veth",
        "link": container.bridge,
        "name": "eth0",
        "flags": "up",
        "hwaddr": hardware_address(container.folder),
        "veth.pair": interface_name(container.folder),
        "ipv4.address": f"{container.address}/{container.subnet.prefixlen}",
        "ipv4.gateway": str(gateway(container.subnet)),
    }
    return [f"lxc.net.0.{key} = {value}" for key, value in settings.items()]
