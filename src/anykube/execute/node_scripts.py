"""The shell that changes a node: place files, remove them, set a unit, clean the node. Used by node.py only.

Every script starts with the fence and is complete in itself: killed at any line, it can be run again.
Names come as arguments or on standard input, never as part of the text. Needs a POSIX sh, coreutils, tar.
"""

from __future__ import annotations

from anykube.content.paths import INPUTS, LEDGER, OWNER, STAMP_THRESHOLD, STAMPS, STATE, UNITS
from anykube.facts.probe_script import STAMP_SHELL

FENCED = 75
"""Exit status of a refusal by the fence; together with the word below on stderr."""
FENCED_WORD = "anykube-fenced:"

HEAD = (
    f"STATE={STATE} OWNER={OWNER} LEDGER={LEDGER} STAMPS={STAMPS} INPUTS={INPUTS} UNITS={UNITS}\n"
    f"THRESHOLD={STAMP_THRESHOLD} FENCED={FENCED} FENCED_WORD={FENCED_WORD}\n"
    + r"""
export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
lineage=$1 epoch=$2
shift 2
newline='
'
half= temporaries=
fail() { printf '%s\n' "$*" >&2; exit 1; }
sweep() {
    [ -z "$half" ] || rm -f "$half"
    [ -z "$temporaries" ] || printf %s "$temporaries" | each rm -f
}
trap sweep EXIT
trap 'exit 1' HUP INT TERM
refuse_when_fenced() {
    owner= seen= rest=
    [ ! -s "$OWNER" ] || read -r owner seen rest <"$OWNER" || :
    if [ -n "$owner" ] && [ "$owner" != "$lineage" ]; then
        printf '%s other lineage %s\n' "$FENCED_WORD" "$owner" >&2; exit "$FENCED"
    fi
    case ${seen:-0} in *[!0-9]* | ???????????????????*)
        printf '%s unreadable epoch\n' "$FENCED_WORD" >&2; exit "$FENCED" ;; esac
    if [ "${seen:-0}" -gt "$epoch" ]; then
        printf '%s newer epoch %s\n' "$FENCED_WORD" "$seen" >&2; exit "$FENCED"
    fi
}
# Two runs, or two steps of one run, may come at once: owner and ledger change only under the lock.
lock() {
    mkdir -p "$STATE" && exec 9>"$STATE/lock" || fail "cannot write in $STATE"
    ! command -v flock >/dev/null || flock 9
}
unlock() { exec 9>&-; }
claim() {
    lock
    refuse_when_fenced
    [ "$owner $seen" = "$lineage $epoch" ] || replace "$OWNER" "$lineage $epoch$newline"
    load_ledger
}
replace() {
    half=$1.new
    printf '%s' "$2" >"$half" && { sync "$half" 2>/dev/null || sync; } && mv -f "$half" "$1" ||
        fail "cannot write $1"
    half=
}
load_ledger() {
    known=$newline additions=
    [ ! -r "$LEDGER" ] || known="$newline$(cat "$LEDGER")$newline"
}
noted() { case $known$additions in *"$newline$1$newline"*) return 0 ;; esac; return 1; }
note() { noted "$1" || additions="$additions$1$newline"; }
forget() { known="${known%%"$newline$1$newline"*}$newline${known#*"$newline$1$newline"}"; }
write_ledger() {
    lines=$(printf '%s' "$known$additions" | sort -u)
    replace "$LEDGER" "${lines#"$newline"}$newline"
}
save_ledger() { [ -z "$additions" ] || write_ledger; }
of_kind() { [ ! -r "$LEDGER" ] || while IFS= read -r line; do
    case $line in "$1 "*) printf '%s\n' "${line#"$1 "}" ;; esac; done <"$LEDGER"; }
temporary_of() { temporary="${1%/*}/.${1##*/}.anykube-new"; }
# Reads paths, one a line, and gives them to a command as arguments.
each() { tr '\n' '\0' | xargs -0 -r "$@"; }
"""
    + STAMP_SHELL
)

PUT = (
    HEAD
    + r"""
directories= files= complete=
while IFS= read -r line; do
    case $line in
        end) complete=yes; break ;;
        "directory "*) directories="$directories${line#directory }$newline" ;;
        "file "*) files="$files${line#file }$newline" ;;
        *) fail "not a line of a manifest: $line" ;;
    esac
done
[ -n "$complete" ] || fail 'the connection ended inside the manifest'

claim
note_folder() {
    folder=$1
    while [ -n "$folder" ] && [ ! -d "$folder" ]; do note "directory $folder"; folder=${folder%/*}; done
}
is_empty() { [ -z "$(ls -A "$1" 2>/dev/null)" ]; }
while read -r mode owner path; do
    [ -n "$path" ] || continue
    noted "directory $path" || if [ -d "$path" ]; then ! is_empty "$path" || note "directory $path"
    else note_folder "$path"; fi
done <<LIST
$directories
LIST
hashes= folders= large=
while read -r sha256 mode owner size path; do
    [ -n "$path" ] || continue
    [ ! -d "$path" ] || fail "$path is a directory; a file should be there"
    [ -e "$path" ] || [ -L "$path" ] || note "file $path"
    note_folder "${path%/*}"
    temporary_of "$path"
    temporaries="$temporaries$temporary$newline"
    hashes="$hashes$sha256  $temporary$newline"
    folders="$folders${path%/*}/$newline"
    [ "$size" -lt "$THRESHOLD" ] || large="$large$sha256 $path$newline"
done <<LIST
$files
LIST
save_ledger
unlock

make_folder() { [ -d "$1" ] || (umask 022; mkdir -p "$1") || fail "cannot make $1"; }
while read -r mode owner path; do
    [ -n "$path" ] || continue
    make_folder "$path"
    chown "$owner" "$path" && chmod "$mode" "$path" || fail "cannot set owner $owner and mode $mode of $path"
done <<LIST
$directories
LIST
[ -n "$files" ] || exit 0
folders=$(printf '%s' "$folders" | sort -u)
while IFS= read -r path; do make_folder "$path"; done <<LIST
$folders
LIST

printf '%s' "$temporaries" | each rm -f
tar -x -m -o -p -f - -C / || fail 'the files did not arrive whole'
wrong=$(printf '%s' "$hashes" | sha256sum -c - 2>&1) ||
    fail "what arrived is not what was sent: $(printf '%s\n' "$wrong" | grep -v ': OK$')"
while read -r sha256 mode owner size path; do
    case $owner in root:root | '') continue ;; esac
    temporary_of "$path"
    chown "$owner" "$temporary" && chmod "$mode" "$temporary" || fail "cannot give $path to $owner"
done <<LIST
$files
LIST
printf '%s' "$temporaries" | each sync 2>/dev/null || sync
refuse_when_fenced
while read -r sha256 mode owner size path; do
    [ -n "$path" ] || continue
    temporary_of "$path"
    mv -f "$temporary" "$path" || fail "cannot place $path"
done <<LIST
$files
LIST
temporaries=
printf '%s\n' "$folders" | each sync 2>/dev/null || sync
printf '%s' "$large" | while read -r hash path; do
    stat -c '%s %y %z' "$path" | {
        read -r size mday mtime mzone cday ctime czone
        write_stamp "$path" "$size:${mday}T$mtime:${cday}T$ctime" "$hash"
    }
done
exit 0
"""
)
"""Arguments: lineage, epoch. Input: lines 'directory MODE OWNER PATH', 'file SHA256 MODE OWNER SIZE PATH',
'end', then a tar of the files under their temporary names. Nothing is renamed before all is verified."""

REMOVE = (
    HEAD
    + r"""
paths= complete= reload=
while IFS= read -r line; do
    case $line in end) complete=yes; break ;; esac
    paths="$paths$line$newline"
done
[ -n "$complete" ] || fail 'the connection ended inside the list of paths'
claim
while IFS= read -r path; do
    noted "file $path" || continue
    stamp_of "$path"
    temporary_of "$path"
    rm -f "$path" "$stamp" "$temporary" || fail "cannot remove $path"
    forget "file $path"
    case $path in "$UNITS"/*) reload=yes ;; esac
done <<LIST
$paths
LIST
write_ledger
# Units that name each other stay in systemd's memory without their files, and would be seen as inactive.
[ -z "$reload" ] || systemctl daemon-reload
"""
)
"""Arguments: lineage, epoch. Input: paths, 'end'. What the ledger does not list is not ours and stays."""

SET_UNIT = (
    HEAD
    + r"""
claim
unit=$1 state=$2 said=
shift 2
explain() {
    systemctl status --no-pager --full --lines=0 -- "$unit" 2>&1 | cut -c 1-300 | head -n 12 >&2
    journalctl --no-pager --output=cat --lines=30 --unit="$unit" 2>&1 | cut -c 1-300 | tail -n 30 >&2
    # What systemd said comes last: of long evidence the end is kept.
    printf '%s\n' "$said" | cut -c 1-300 | tail -n 5 >&2
    exit 1
}
ask() { said=$("$@" 2>&1) || explain; }
prepare() {
    if ! noted "unit $unit"; then
        for data do [ -n "$(ls -A "$data" 2>/dev/null)" ] || note "directory $data"; done
        note "unit $unit"
        save_ledger
    fi
    unlock
    about=$(systemctl show -p LoadState -p NeedDaemonReload -p UnitFileState -p ActiveState -- "$unit") ||
        explain
    reload=
    case $about in
        *NeedDaemonReload=yes*) reload=yes ;;
        *LoadState=loaded*) ;;
        *)  # A unit that runs without its file is not loaded from the new one, unless it is stopped before.
            reload=yes
            case $about in *ActiveState=inactive*) ;; *) ask systemctl stop -- "$unit" ;; esac ;;
    esac
    case $about in *UnitFileState=enabled*) ;;
        *)  ask systemctl enable --quiet --no-reload -- "$unit"
            # systemd keeps its idea of a unit that runs.
            case $about in *ActiveState=inactive*) ;; *) reload=yes ;; esac ;;
    esac
    [ -z "$reload" ] || ask systemctl daemon-reload
    case $about in *ActiveState=failed*) systemctl reset-failed -- "$unit" ;; esac
}
case $state in
    started) prepare "$@"; ask systemctl start -- "$unit" ;;
    restarted) prepare "$@"; ask systemctl restart -- "$unit" ;;
    reloaded) prepare "$@"; ask systemctl reload-or-restart -- "$unit" ;;
    stopped)
        unlock
        systemctl stop -- "$unit" 2>/dev/null
        ! systemctl is-active --quiet -- "$unit" || explain ;;
    absent)
        unlock
        systemctl stop -- "$unit" 2>/dev/null
        systemctl disable --quiet --no-reload -- "$unit" 2>/dev/null
        rm -f "$UNITS/multi-user.target.wants/$unit" "$INPUTS/$unit"
        ! systemctl is-active --quiet -- "$unit" || explain
        claim
        ! noted "unit $unit" || { forget "unit $unit"; write_ledger; } ;;
esac
"""
)
"""Arguments: lineage, epoch, unit, state, then the folders the unit keeps its data in. A data folder that is
absent or empty when the unit first starts is ours from then on. 'stopped' lasts until the next start of the
unit or of the machine: its files stay, and it stays enabled."""

CLEAN = (
    HEAD
    + r"""
claim
in_ledger() { case $known in *"$newline$1"*) return 0 ;; esac; return 1; }
is_data() { for data in $DATA; do [ "$1" != "$data" ] || return 0; done; return 1; }
DATA=$*
"""
    + r"""
stop_units() {
    units=$(of_kind unit)
    [ -n "$units" ] || return 0
    # The kubelet first: it would start again what the others stop.
    case $units in *kubelet.service*) systemctl stop -- kubelet.service 2>/dev/null ;; esac
    printf '%s\n' "$units" | each systemctl stop -- 2>/dev/null
    printf '%s\n' "$units" | each systemctl disable --quiet --no-reload -- 2>/dev/null
    for unit in $units; do
        rm -f "$UNITS/multi-user.target.wants/$unit"
        ! systemctl is-active --quiet -- "$unit" || fail "$unit does not stop"
    done
}
# Pods and their shims outlive containerd on purpose, so they are found by their control group and binary.
of_pods() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null) in
            /usr/local/bin/containerd-shim*) printf '%s\n' "${process#/proc/}"; continue ;;
        esac
        [ ! -r "$process/cgroup" ] || while IFS= read -r group; do
            case $group in *:/kubepods*) printf '%s\n' "${process#/proc/}"; break ;; esac
        done 2>/dev/null <"$process/cgroup"
    done
}
end_pods() {
    rounds=0
    while left=$(of_pods) && [ -n "$left" ]; do
        [ "$rounds" -lt 100 ] || fail "processes of pods do not end: $(printf '%s ' $left)"
        kill -9 $left 2>/dev/null
        rounds=$((rounds + 1))
        sleep 0.1
    done
}
unmount_pods() {
    [ ! -r /proc/mounts ] || while read -r device point rest; do
        case $point in
            /var/lib/kubelet/* | /run/containerd/* | /run/netns/cni-*) printf '%b\n' "$point" ;;
        esac
    done </proc/mounts | sort -r | each sh -c 'for point do umount "$point" || umount -l "$point"; done' sh
    rm -f /run/netns/cni-*
}
remove_network() {
    for device in cni0 flannel.1 flannel-v6.1; do
        [ ! -e "/sys/class/net/$device" ] || ip link delete "$device"
    done
    ! command -v nft >/dev/null || for table in 'ip kube-proxy' 'ip6 kube-proxy' \
        'ip flannel-ipv4' 'ip6 flannel-ipv6'; do nft delete table $table 2>/dev/null; done
    for family in iptables ip6tables; do
        command -v "$family-save" >/dev/null || continue
        rules=$("$family-save" 2>/dev/null)
        case $rules in *KUBE-* | *FLANNEL-* | *CNI-*)
            printf '%s\n' "$rules" | grep -Ev 'KUBE-|FLANNEL-|CNI-' | "$family-restore" ;;
        esac
    done
    rm -rf /run/flannel /var/lib/cni /etc/cni/net.d/10-flannel.conflist
}
remove_files() {
    of_kind file | while IFS= read -r path; do
        [ ! -d "$path" ] || continue
        temporary_of "$path"
        printf '%s\n%s\n' "$path" "$temporary"
    done | each rm -f || fail 'files cannot be removed'
    of_kind directory | sort -r | while IFS= read -r folder; do
        [ -d "$folder" ] && [ ! -L "$folder" ] || continue
        ! is_data "$folder" || rm -rf "$folder"/* "$folder"/.[!.]* "$folder"/..?* ||
            fail "cannot empty $folder"
        rmdir "$folder" 2>/dev/null
    done
}
if [ -s "$LEDGER" ]; then
    stop_units
    if in_ledger 'unit kubelet.service' || in_ledger 'unit containerd.service'; then
        end_pods
        unmount_pods
        remove_network
    fi
    remove_files
    ! command -v systemctl >/dev/null || { systemctl daemon-reload; systemctl reset-failed; } 2>/dev/null
fi
rm -rf "$INPUTS" "$STAMPS"
rmdir "${INPUTS%/*}" 2>/dev/null
rm -f "$LEDGER"
rm -f "$OWNER" "$STATE/lock" "$STATE"/*.new
rmdir "$STATE" 2>/dev/null
exit 0
"""
)
"""Arguments: lineage, epoch, then every folder that holds data of units. The ledger goes last."""
