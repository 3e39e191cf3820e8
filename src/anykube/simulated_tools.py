"""Programs of a simulated host (testing.py): a stand-in for systemd, and tools that answer from files.

`systemctl` keeps loaded and active units in /run, so that a reboot forgets them, and enabled ones as the
usual symbolic links. Starting a unit really runs its ExecStartPre and ExecStartPost lines and needs its
ExecStart to exist. Units named in /etc/simulated/real run for real.
"""

from __future__ import annotations

SYSTEMCTL = r"""#!/bin/sh
RUN=/run/simulated
WANTS=/etc/systemd/system/multi-user.target.wants
mkdir -p $RUN/active $RUN/loaded $RUN/failed
now= quiet= properties= verb= units=
while [ $# -gt 0 ]; do
    case $1 in
        --version) echo 'systemd 252 (252-simulated)'; echo '+PAM -APPARMOR'; exit 0 ;;
        --now) now=yes ;;
        --quiet | -q) quiet=yes ;;
        -p) properties="$properties $2"; shift ;;
        --property=*) properties="$properties $(echo "${1#*=}" | tr , ' ')" ;;
        --lines | -n) shift ;;
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$1; else units="$units $1"; fi ;;
    esac
    shift
done
file_of() {
    for file in "/etc/systemd/system/$1" "/lib/systemd/system/$1"; do [ ! -f "$file" ] || return 0; done
    file=
}
load() {
    file_of "$1"
    [ -e "$RUN/loaded/$1" ] || [ -z "$file" ] || cp "$file" "$RUN/loaded/$1"
    [ -e "$RUN/loaded/$1" ]
}
lines_of() {
    sed -e ':again' -e '/\\$/N' -e 's/\\\n */ /' -e 't again' "$RUN/loaded/$1" | sed -n "s/^$2=//p"
}
history() { echo "$*" >>$RUN/history; }
run_line() {
    line=$1 tolerant=
    while :; do case $line in
        -*) tolerant=yes; line=${line#?} ;;
        [+!@:]*) line=${line#?} ;;
        *) break ;;
    esac; done
    line=$(printf '%s' "$line" | sed -e 's/%%/%/g' -e 's/\$\$/\\$/g')
    sh -c "$line" >>"/var/log/simulated/$2" 2>&1 || [ -n "$tolerant" ]
}
broken() {
    touch "$RUN/failed/$1"
    echo "$2" >>"/var/log/simulated/$1"
    echo "Job for $1 failed because $2" >&2
    return 1
}
# A unit that really runs is started and stopped by a supervisor outside the tree (simulated_units.py).
real() { [ -e "/etc/simulated/real/$1" ]; }
ask() {
    job=$RUN/jobs/$$.$1.$2
    mkdir -p $RUN/jobs
    touch "$job"
    while [ ! -e "$job.done" ]; do sleep 0.05; done
    read -r answer <"$job.done"
    rm -f "$job.done"
    [ -z "$answer" ] || { echo "Job for $2 failed because $answer" >&2; return 1; }
}
start() {
    load "$1" || { echo "Failed to start $1: Unit $1 not found." >&2; return 5; }
    [ ! -e "$RUN/active/$1" ] || return 0
    history start "$1"
    ! real "$1" || { ask start "$1"; return; }
    [ ! -e "/etc/simulated/fail/$1" ] || { broken "$1" 'the simulation was told so.'; return; }
    lines_of "$1" ExecStartPre >"$RUN/before.$$"
    while IFS= read -r before; do
        run_line "$before" "$1" || { broken "$1" 'a command before it failed.'; return; }
    done <"$RUN/before.$$"
    program=$(lines_of "$1" ExecStart | head -n 1)
    program=${program%% *}
    [ -x "$program" ] || { broken "$1" "its program $program is not there (203/EXEC)."; return; }
    # An etcd that was never seen to have data counts as one that has lost it.
    case $1 in etcd.service) mkdir -p /var/lib/etcd/member/wal ;; esac
    lines_of "$1" ExecStartPost >"$RUN/after.$$"
    while IFS= read -r after; do
        run_line "$after" "$1" || { broken "$1" 'a command after it failed.'; return; }
    done <"$RUN/after.$$"
    rm -f "$RUN/before.$$" "$RUN/after.$$" "$RUN/failed/$1"
    touch "$RUN/active/$1"
}
stop() {
    [ -e "$RUN/active/$1" ] || [ -e "$RUN/activating/$1" ] || return 0
    history stop "$1"
    ! real "$1" || ask stop "$1"
    rm -f "$RUN/active/$1"
}
reload() {
    lines_of "$1" ExecReload >"$RUN/again.$$"
    if [ ! -e "$RUN/active/$1" ] || [ ! -s "$RUN/again.$$" ]; then
        rm -f "$RUN/again.$$"
        history restart "$1"
        stop "$1"
        start "$1"
        return
    fi
    history reload "$1"
    while IFS= read -r again; do
        # There is no process that could be sent a signal.
        case $again in *MAINPID*) continue ;; esac
        run_line "$again" "$1" || { echo "Job for $1 failed." >&2; rm -f "$RUN/again.$$"; return 1; }
    done <"$RUN/again.$$"
    rm -f "$RUN/again.$$"
}
enable() {
    file_of "$1"
    [ -n "$file" ] || { echo "Failed to enable unit: Unit file $1 does not exist." >&2; return 1; }
    mkdir -p $WANTS
    ln -sf "$file" "$WANTS/$1"
}
disable() { rm -f "$WANTS/$1"; }
state_of() {
    state=inactive
    [ ! -e "$RUN/failed/$1" ] || state=failed
    [ ! -e "$RUN/activating/$1" ] || state=activating
    [ ! -e "$RUN/active/$1" ] || state=active
}
show() {
    found=not-found reload=no enabled=
    file_of "$1"
    if load "$1"; then found=loaded; cmp -s "$RUN/loaded/$1" "$file" || reload=yes; fi
    file_of "$1"
    [ -z "$file" ] || enabled=disabled
    [ ! -L "$WANTS/$1" ] || enabled=enabled
    state_of "$1"
    for property in $properties; do
        case $property in
            Id) echo "Id=$1" ;;
            LoadState) echo "LoadState=$found" ;;
            ActiveState) echo "ActiveState=$state" ;;
            UnitFileState) echo "UnitFileState=$enabled" ;;
            NeedDaemonReload) echo "NeedDaemonReload=$reload" ;;
        esac
    done
}
result=0
case $verb in
    daemon-reload)
        for copy in $RUN/loaded/*; do
            [ -e "$copy" ] || continue
            file_of "${copy##*/}"
            if [ -n "$file" ]; then cp "$file" "$copy"
            elif [ ! -e "$RUN/active/${copy##*/}" ]; then rm -f "$copy"; fi
        done ;;
    start) for unit in $units; do start "$unit" || result=$?; done ;;
    stop) for unit in $units; do stop "$unit"; done ;;
    reload-or-restart) for unit in $units; do reload "$unit" || result=$?; done ;;
    restart) for unit in $units; do history restart "$unit"; stop "$unit"; start "$unit" || result=$?; done ;;
    enable)
        for unit in $units; do
            enable "$unit" || result=$?
            [ -z "$now" ] || start "$unit" || result=$?
        done ;;
    disable) for unit in $units; do disable "$unit"; [ -z "$now" ] || stop "$unit"; done ;;
    reset-failed) if [ -n "$units" ]; then for unit in $units; do rm -f "$RUN/failed/$unit"; done
        else rm -f $RUN/failed/*; fi ;;
    is-active)
        for unit in $units; do
            state_of "$unit"
            [ -n "$quiet" ] || echo $state
            [ $state = active ] || result=3
        done ;;
    is-enabled) for unit in $units; do [ -L "$WANTS/$unit" ] || result=1; done ;;
    status)
        for unit in $units; do
            state_of "$unit"
            printf '%s\n     Active: %s\n' "$unit" "$state"
            [ $state = active ] || result=3
        done ;;
    show) first=yes; for unit in $units; do [ -n "$first" ] || echo; first=; show "$unit"; done ;;
    *) echo "simulated systemctl does not know '$verb'" >&2; result=64 ;;
esac
exit $result
"""

JOURNALCTL = r"""#!/bin/sh
unit=
while [ $# -gt 0 ]; do case $1 in --unit=*) unit=${1#*=} ;; -u) unit=$2; shift ;; esac; shift; done
log=/var/log/simulated/$unit
if [ -f "$log" ]; then tail -n 30 "$log"; else echo '-- No entries --'; fi
"""

IP = r"""#!/bin/sh
case " $* " in *' addr show '*)
    while read -r address; do
        echo "2: eth0    inet $address/24 brd 10.255.255.255 scope global eth0"
    done </etc/simulated/addresses ;;
esac
"""

UNAME = r"""#!/bin/sh
read -r name </etc/hostname
case $* in
    '-n -r -m') echo "$name 6.1.0-simulated x86_64" ;;
    -n) echo "$name" ;;
    -r) echo 6.1.0-simulated ;;
    -m) echo x86_64 ;;
    *) echo Linux ;;
esac
"""

PROGRAMS = {
    "systemctl": SYSTEMCTL,
    "journalctl": JOURNALCTL,
    "ip": IP,
    "uname": UNAME,
    "hostname": "#!/bin/sh\ncat /etc/hostname\n",
    "systemd-detect-virt": "#!/bin/sh\necho none\nexit 1\n",
    "systemd-sysusers": "#!/bin/sh\nexit 0\n",
    "modprobe": "#!/bin/sh\nexit 0\n",
    "umount": "#!/bin/sh\nexit 0\n",
}

DISTRIBUTION = ("usr/sbin/haproxy", "usr/sbin/keepalived", "bin/nft")
"""Programs of packages that nodes need: here they do nothing."""

APPLETS = (
    *("[", "awk", "base64", "basename", "cat", "chgrp", "chmod", "chown", "cmp", "cp", "cut", "date", "dd"),
    *("df", "diff", "dirname", "du", "echo", "egrep", "env", "expr", "false", "fgrep", "find", "grep"),
    *("gunzip", "gzip", "head", "id", "install", "ln", "ls", "md5sum", "mkdir", "mktemp", "mv", "nl"),
    *("nproc", "od", "printenv", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq"),
    *("sha256sum", "sleep", "sort", "stat", "sync", "tac", "tail", "tar", "tee", "test", "timeout"),
    *("touch", "tr", "true", "truncate", "uniq", "wc", "which", "whoami", "xargs", "xxd", "yes"),
)
"""What busybox does on a simulated host. Nothing that reaches beyond the tree: no mounts, network, power."""

FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Simulated host"\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\netcd:x:990:990::/:/bin/sh\n",
    "etc/group": "root:x:0:\netcd:x:990:\n",
    "etc/resolv.conf": "nameserver 127.0.0.1\n",
    "proc/meminfo": "MemTotal:        4194304 kB\nSwapTotal:             0 kB\n",
    "proc/1/status": "Name:\tsystemd\nCapBnd:\t000001ffffffffff\n",
    "proc/mounts": "",
    "proc/net/route": "Iface\tDestination\tGateway\neth0\t00000000\t0100000A\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
}
"""Files of a fresh tree that say what kind of machine it is; a test may rewrite them."""
