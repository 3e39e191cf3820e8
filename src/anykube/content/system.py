"""The ground under everything: kernel modules, sysctls, the user of etcd, the helper that records inputs."""

from __future__ import annotations

from anykube.content.context import NodeContext
from anykube.content.files import BINARY_MODE
from anykube.content.model import Component, File, Text
from anykube.content.paths import INPUTS, KEPT, LIBRARY, SNAPSHOTS, SOFTWARE, STAMPS
from anykube.content.unit import RECORD_INPUTS, Service, command_line
from anykube.facts.probe_script import STAMP_SHELL

NAME = "system"
SERVICE = "anykube-system.service"
SYSCTLS = "/etc/sysctl.d/90-anykube.conf"
USERS = "/etc/sysusers.d/anykube.conf"
PREPARE = f"{LIBRARY}/prepare-system"
RESOLV_CONF = "/run/anykube/resolv.conf"
"""A link to the real name servers: with the stub of systemd-resolved CoreDNS would ask itself."""

TRACES = (
    f"sysctls {SYSCTLS}",
    f"users {USERS}",
    f"file {RESOLV_CONF}",
    *(f"data {folder}" for folder in (SNAPSHOTS, SOFTWARE, KEPT)),
)
"""Kernel modules are not among them: unloading one could take it from others, and they end with the boot."""

MODULES = ("overlay", "br_netfilter", "nf_conntrack", "vxlan")

NETWORK_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    # Pods of one node that talk through a Service share a bridge: their answers must pass the packet filter.
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
KERNEL_SYSCTLS = {
    # What the kubelet demands with protectKernelDefaults.
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
    # The usual defaults run out with a few dozen pods that watch files.
    "fs.inotify.max_user_instances": "8192",
    "fs.inotify.max_user_watches": "524288",
}

# Positional parameters serve as the list of paths, because POSIX sh has no arrays. A missing input is left
# out of the record, so that the planner sees a difference.
_RECORD_INPUTS = f"""#!/bin/sh
# record-inputs UNIT PATH...
# Notes the sha256 of every input a unit starts with, so that a change after the start is seen as such.
umask 077
unit=$1
shift
directory={INPUTS}
temporary=$directory/.$unit.$$
mkdir -p "$directory"
rm -f "$directory/$unit"

# Prints the kept hash of a large file, if the file has not changed since it was hashed.
stamped() {{
    stamp_of "$1"
    [ -r "$stamp" ] && read -r known hash <"$stamp" || return 1
    [ ${{#hash}} -eq 64 ] && [ "$known" = "$(identity "$1")" ] || return 1
    printf '%s  %s\n' "$hash" "$1"
}}
identity() {{
    TZ=UTC stat -c '%s %y %z' -- "$1" | {{
        read -r size mday mtime mzone cday ctime czone
        printf %s "$size:${{mday}}T$mtime:${{cday}}T$ctime"
    }}
}}
STAMPS={STAMPS}
{STAMP_SHELL}
{{
    for path do
        shift
        stamped "$path" || set -- "$@" "$path"
    done
    [ $# -eq 0 ] || sha256sum -- "$@"
}} >"$temporary"
mv "$temporary" "$directory/$unit" || {{
    rm -f "$temporary"
    exit 1
}}
"""

_PREPARE = f"""#!/bin/sh
# prepare-system MODULE...
# Everything here is best effort: in a container the host decides, and 'anykube doctor' says what is missing.
for module do
    modprobe -q "$module" 2>/dev/null
done

while IFS=' =' read -r name value; do
    file=/proc/sys/$(printf %s "${{name#-}}" | tr . /)
    case $name in
        '' | '#'*) continue ;;
    esac
    [ -w "$file" ] && printf '%s\\n' "$value" 2>/dev/null >"$file"
done <{SYSCTLS}

mkdir -p {RESOLV_CONF.rpartition("/")[0]}
resolver=/etc/resolv.conf
if grep -qs '^nameserver 127\\.0\\.0\\.53' "$resolver" && [ -r /run/systemd/resolve/resolv.conf ]; then
    resolver=/run/systemd/resolve/resolv.conf
fi
ln -sfn "$resolver" {RESOLV_CONF}

[ ! -r {USERS} ] || systemd-sysusers {USERS}
"""


def component(context: NodeContext) -> Component:
    """Helper scripts, sysctls and users, put in effect by a unit that runs at every boot."""
    files = [
        File(RECORD_INPUTS, Text(_RECORD_INPUTS), BINARY_MODE),
        File(PREPARE, Text(_PREPARE), BINARY_MODE),
        File(SYSCTLS, Text(_sysctls(context))),
    ]
    if context.node.etcd:
        files.append(File(USERS, Text('u etcd - "etcd key-value store" /var/lib/etcd\n')))
    service = Service(
        name=SERVICE,
        description="Kernel modules, sysctls and users for Kubernetes",
        command=(PREPARE, *MODULES),
        kind="oneshot",
        inputs=[file.path for file in files],
        settings=(("ExecStop", command_line(("/bin/rm", "-f", RESOLV_CONF))),),
    )
    directories = (("755", "root:root", LIBRARY),)
    return Component(NAME, (*files, service.file()), service.unit, directories, traces=TRACES)


def _sysctls(context: NodeContext) -> str:
    """'-' makes systemd's own loader ignore a key that is not there yet.

    In a container the kernel's own settings belong to its host.
    """
    values = NETWORK_SYSCTLS if context.system.container else NETWORK_SYSCTLS | KERNEL_SYSCTLS
    return "".join(f"-{name} = {value}\n" for name, value in values.items())
