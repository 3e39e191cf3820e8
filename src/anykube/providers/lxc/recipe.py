"""What the root file system of a node consists of. Pure: packages, files, units that are turned off.

`identity` is a digest of all of it, so that a changed recipe is a new root file system and an old one
stays with the nodes that were made from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from anykube.plan.blueprint import settings_digest

VERSION = "1"
"""Raise it when rootfs.py does something different with the same recipe."""

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "ethtool",
    "socat",
    "ipset",
    "kmod",
    "procps",
    "ca-certificates",
    "haproxy",
    "keepalived",
    "wireguard-tools",
    "age",
    "curl",
    "libseccomp2",
    "iputils-ping",
    "tar",
    "coreutils",
    "util-linux",
    "mount",
)
MASKED = (
    # They act on the hardware or the kernel of the host, which a container shares.
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-udev-settle.service",
    "systemd-modules-load.service",
    "systemd-pstore.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "fstrim.timer",
    # Nobody logs in at a console; SSH sessions need no seat.
    "console-getty.service",
    "getty.target",
    "systemd-logind.service",
    # The network is set from outside before init starts.
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
    "networking.service",
    # Packages of a node change by a new root file system, not behind the user's back.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "motd-news.timer",
    # Packages start these with a configuration that is not ours.
    "haproxy.service",
    "keepalived.service",
    "nftables.service",
)
FILES: Mapping[str, str] = {
    "etc/ssh/sshd_config.d/anykube.conf": (
        "# Keys only, one host key, and no lookup that could wait for a name server.\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "UseDNS no\n"
        "MaxSessions 100\n"
        "MaxStartups 100\n"
    ),
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/machine-id": "",
    "etc/hostname": "",
    "etc/fstab": "",
}
DIRECTORIES = (
    "etc/systemd/system",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/lib/etcd",
    "usr/lib/modules",
)
REMOVED = (
    "etc/ssh/ssh_host_*",
    "etc/resolv.conf",
    "etc/apt/sources.list.d/*",
    "usr/lib/sysctl.d/*",
    "etc/sysctl.d/*",
    "etc/systemd/system/multi-user.target.wants/haproxy.service",
    "etc/systemd/system/multi-user.target.wants/keepalived.service",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/cache/debconf/*-old",
    "var/log/*.log",
    "var/log/apt",
)
"""Keys that all nodes would share; kernel settings of the host, which are not a node's to change; bulk."""


def settings(suite: str) -> dict[str, str]:
    """What the site part `rootfs` is made with."""
    content = {
        "version": VERSION,
        "suite": suite,
        "packages": " ".join(PACKAGES),
        "masked": " ".join(MASKED),
        "removed": " ".join(REMOVED),
        "directories": " ".join(DIRECTORIES),
        **FILES,
    }
    return {"suite": suite, "id": settings_digest(content)}
