"""All that a host is made of, as text to compare: files and their hashes, units, network, rules, settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCRIPT = r"""
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo '@files'
for root in / /run /var/lib/containerd /var/lib/etcd /var/lib/kubelet; do
    find "$root" -xdev \( -path '/tmp/systemd-*' -o -path /run/systemd -o -path /run/user -o -path /run/udev \
        -o -path /run/log -o -path /run/lock -o -path /var/log -o -path /var/lib/systemd -o -path /run/sshd \
        \) -prune -o -printf '%p %y %m %u:%g %l\n'
done
echo '@hashes'
find /etc /opt /usr/local /root /var/lib /srv -xdev -path /var/lib/systemd -prune -o -type f -print0 |
    xargs -0 sha256sum
echo '@logs'; find /var/log -mindepth 1 -maxdepth 1 -printf '%f\n'
echo '@unit files'; systemctl list-unit-files --no-pager --no-legend
echo '@units'
systemctl list-units --all --no-pager --no-legend --plain --type=service,timer,slice,mount,socket |
    awk '{ print $1, $2, $3 }'
echo '@links'; ip -o link | awk '{ print $2, $9 }'
echo '@routes'; ip route show table all; ip -6 route show table all
echo '@policies'; ip rule; ip -6 rule
echo '@nft'; nft -s list ruleset
echo '@iptables'; iptables-save; ip6tables-save
echo '@mounts'; cut -d ' ' -f 2-4 /proc/mounts
echo '@settings'
find /proc/sys/net /proc/sys/vm /proc/sys/kernel /proc/sys/fs -type f -readable 2>/dev/null |
    xargs grep -Hs '' 2>/dev/null
echo '@users'; cat /etc/passwd /etc/group
echo '@groups'; find /sys/fs/cgroup -type d \( -name 'kube*' -o -name 'k8s*' -o -name '*containerd*' \)
echo '@processes'; ps -eo comm | sort -u
"""
VOLATILE = re.compile(
    r"/proc/sys/(kernel/(random|ns_last_pid|pty/nr|tainted)|fs/(dentry|file-|inode|aio-nr|quota|mqueue)"
    r"|net/netfilter/nf_conntrack_count|vm/stat|net/core/netdev_rss|net/ipv[46]/(neigh|conf)/veth)"
    r"|/etc/(passwd|shadow|group|gshadow)-( |$)|^(local|anycast) fe80::|^# (Generated|Completed)|[cC]ounter"
    r"|^(ps|find|sort|awk|sh|sleep|sshd|sudo|systemd.*|\(.*|agetty|cut)$|session-\d+|user@|user-"
    r"|^:[A-Z]+ ACCEPT"
)


def parts(text: str) -> Mapping[str, list[str]]:
    """The sections of an answer, without what changes by itself."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            lines = found.setdefault(line[1:], [])
        elif not VOLATILE.search(line):
            lines.append(re.sub(r" \[\d+:\d+\]$", "", line))
    return found


def differences(before: str, after: str) -> list[str]:
    """What is there now and was not, or was and is not, each line with its section and sign."""
    old, new = parts(before), parts(after)
    assert old.keys() == new.keys()
    return [
        f"{sign} {section}: {line}"
        for section in old
        for sign, lines in (
            ("-", sorted(set(old[section]) - set(new[section]))),
            ("+", sorted(set(new[section]) - set(old[section]))),
        )
        for line in lines
    ]
