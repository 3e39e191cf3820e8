"""The text of the probe: what a host runs to tell everything about itself. probe.py sends and parses it.

Sections begin with '@'. A POSIX shell and coreutils are enough; whatever else is missing leaves its line out.
"""

from __future__ import annotations

LEDGER = "/var/lib/anykube/ledger"
OWNER = "/var/lib/anykube/owner"
STAMPS = "/var/lib/anykube/stamps"
STAMP_THRESHOLD = 1024 * 1024
INPUTS = "/run/anykube/inputs"
BORN = "/var/lib/anykube/etcd/born.env"
ETCD_DATA = "/var/lib/etcd/member/wal"
BACKUPS = "/var/lib/anykube/backups"
ETCD_PKI = "/etc/etcd/pki"
ETCD_CLIENT = (
    "/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --dial-timeout=1s --command-timeout=2s "
    f"--cacert={ETCD_PKI}/ca.crt --cert={ETCD_PKI}/server.crt --key={ETCD_PKI}/server.key --write-out=json"
)
"""The same as in content/paths.py and content/etcd.py, which this room must not import (a test compares)."""

DISKS = ("/", "/var/lib/etcd", "/var/lib/containerd", "/var/lib/kubelet")

STAMP_SHELL = r"""
stamp_of() {
    rest=${1#/}
    stamp=%
    while :; do case $rest in */*) stamp="$stamp${rest%%/*}%"; rest=${rest#*/} ;; *) break ;; esac; done
    stamp="$STAMPS/$stamp$rest"
}
write_stamp() {
    stamp_of "$1"
    mkdir -p "$STAMPS" && printf '%s %s\n' "$2" "$3" >"$stamp.new" && mv -f "$stamp.new" "$stamp"
}
"""
"""Shell functions, shared with execute/node.py: where the stamp of a path is, and how it is written."""

_BODY = (
    r"""
export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$2"; }
first_line() { line=; [ ! -r "$2" ] || IFS= read -r line <"$2"; say "$1" "$line"; }
noted() { [ ! -r "$LEDGER" ] || while IFS= read -r line; do
    case $line in "$1 "*) printf '%s\n' "${line#"$1 "}" ;; esac; done <"$LEDGER"; }
in_system() {
    [ ! -r /etc/os-release ] || while IFS='=' read -r key value; do
        case $key in ID) say os "$value" ;; VERSION_ID) say os-version "$value" ;; esac
    done </etc/os-release
    say uname "$(uname -n -r -m)"
    first_line machine-id /etc/machine-id
    first_line boot-id /proc/sys/kernel/random/boot_id
    say systemd "$(systemctl --version 2>/dev/null)"
    contained=
    [ ! -r /run/systemd/container ] || IFS= read -r contained </run/systemd/container
    [ -n "$contained" ] || contained=$(systemd-detect-virt -c 2>/dev/null)
    say container "$contained"
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup 2
    elif [ -d /sys/fs/cgroup ]; then say cgroup 1; fi
    [ ! -r /proc/1/status ] || while read -r key value; do
        case $key in CapBnd:) say capabilities "$value" ;; esac
    done </proc/1/status
    say cpus "$(nproc 2>/dev/null)"
    [ ! -r /proc/meminfo ] || while read -r key value unit; do
        case $key in MemTotal:) say memory "$value" ;; SwapTotal:) say swap "$value" ;; esac
    done </proc/meminfo
    say clock "$(date +%s.%N)"
    device=
    [ ! -r /proc/net/route ] || while read -r name target rest; do
        case $target in 00000000) device=$name; break ;; esac
    done </proc/net/route
    [ -n "$device" ] || device=$(ip -6 route show default 2>/dev/null |
        awk '{ for (i = 1; i < NF; i++) if ($i == "dev") { print $(i + 1); exit } }')
    [ -z "$device" ] || first_line mtu "/sys/class/net/$device/mtu"
    ip -o addr show scope global 2>/dev/null | while read -r number name family address rest; do
        case $family in inet | inet6) say address "${address%%/*} ${name%%@*}" ;; esac
    done
    free_space
}
free_space() {
    set --
    for disk in $DISKS; do
        while [ ! -d "$disk" ]; do disk=${disk%/*}; disk=${disk:-/}; done
        set -- "$@" "$disk"
    done
    stat -f -c 'free %a %S' "$@" 2>/dev/null
}
in_files() {
    pending=
    stats=$({ printf '%s\n' "$1"; noted file; noted original; } | sort -u | tr '\n' '\0' |
        xargs -0 -r stat -c '%f %a %U:%G %s %y %z %n' 2>/dev/null)
    while read -r type mode owner size mday mtime mzone cday ctime czone path; do
        [ -n "$path" ] || continue
        printf 'stat %s %s %s %s\n' "$type" "$mode" "$owner" "$path"
        case $type in 8???) ;; *) continue ;; esac
        if [ "$size" -lt "$THRESHOLD" ]; then pending="$pending$path$newline"
        else large_file "$path" "$size:${mday}T$mtime:${cday}T$ctime"; fi
    done <<STATS
$stats
STATS
    printf '%s' "$pending" | tr '\n' '\0' | xargs -0 -r sha256sum 2>/dev/null |
        while read -r hash path; do printf 'hash %s %s\n' "$hash" "$path"; done
}
large_file() {
    known= hash=
    stamp_of "$1"
    [ ! -r "$stamp" ] || read -r known hash <"$stamp"
    if [ "$known" != "$2" ] || [ ${#hash} -ne 64 ]; then
        hash=$(sha256sum "$1" 2>/dev/null) || return
        hash=${hash%% *}
        write_stamp "$1" "$2" "$hash" 2>/dev/null
    fi
    printf 'hash %s %s\n' "$hash" "$1"
}
in_units() {
    units=$({ printf '%s\n' "$1"; noted unit; } | sort -u)
    set -f
    IFS=$newline
    set -- $units
    unset IFS
    set +f
    [ $# -gt 0 ] || return 0
    printf 'asked %s\n' "$@"
    systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -- "$@" 2>/dev/null
}
in_inputs() {
    for file in "$INPUTS"/*; do
        [ ! -r "$file" ] || while read -r hash path; do
            printf 'input %s %s %s\n' "${file##*/}" "$hash" "$path"
        done <"$file"
    done
}
in_ledger() {
    first_line owner "$OWNER"
    [ ! -r "$LEDGER" ] || while IFS= read -r line; do say noted "$line"; done <"$LEDGER"
    noted containers | while IFS= read -r folder; do
        for found in "${folder%/*}"/*/*; do
            case $found in "$folder"/* | */\*) ;; *) say other "${found#"${folder%/*}"/}" ;; esac
        done
    done
}
in_etcd() {
    [ ! -d "$ETCD_DATA" ] || echo data
    [ ! -e "$BORN" ] || echo born
    first_line backup "$BACKUPS/last"
    first_line backup-failed "$BACKUPS/failed"
    [ -x "${ETCD_CLIENT%% *}" ] && systemctl -q is-active etcd.service >/dev/null 2>&1 || return 0
    timeout 5 $ETCD_CLIENT member list --consistency=s 2>/dev/null &
    timeout 5 $ETCD_CLIENT endpoint status 2>/dev/null &
    wait
}
in_tools() {
    [ -z "$1" ] || printf '%s\n' "$1" | while IFS= read -r program; do
        ! command -v "$program" >/dev/null || printf '%s\n' "$program"
    done
}
newline='
'
"""
    + STAMP_SHELL
    + r"""
echo '@anykube-probe'
echo '@system'; in_system
echo '@files'; in_files "$1"
echo '@units'; in_units "$2"
echo '@inputs'; in_inputs
echo '@ledger'; in_ledger
echo '@etcd'; in_etcd
echo '@tools'; in_tools "$3"
echo '@end'
"""
)
_HEAD = (
    f"LEDGER={LEDGER} OWNER={OWNER} STAMPS={STAMPS} THRESHOLD={STAMP_THRESHOLD} INPUTS={INPUTS}\n"
    f"DISKS='{' '.join(DISKS)}'\n"
    f"BACKUPS={BACKUPS} BORN={BORN} ETCD_DATA={ETCD_DATA} ETCD_CLIENT='{ETCD_CLIENT}'\n"
)
TEXT = _HEAD + _BODY
"""Arguments: paths, units and programs to ask for, each joined by line feeds."""
