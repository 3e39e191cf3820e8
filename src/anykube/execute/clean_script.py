"""The shell that takes from a node all that its ledger names (facts/ledger.py), and nothing else.

Every part finds its own work done: killed at any line, the script is run again. The ledger goes last. Nothing
that others may use is flushed, restarted or restored as a whole: their rules, routes and sessions go on.
"""

from __future__ import annotations

from anykube.execute.node_scripts import HEAD
from anykube.facts.ledger import KINDS

STOP_SECONDS = 20
"""A unit that does not stop within is killed."""

CLEAN = (
    HEAD
    + f"KINDS='{' '.join(KINDS)}' STOP_SECONDS={STOP_SECONDS}\n"
    + r"""
claim
refuse_unknown() {
    [ ! -r "$LEDGER" ] || while read -r kind name; do
        case " $KINDS " in *" $kind "*) ;; *) fail "the ledger is of a newer anykube: $kind $name" ;; esac
    done <"$LEDGER"
}
# Containers of others in our containerd would lose the ground they stand on.
refuse_others() {
    of_kind containers | while IFS= read -r folder; do
        for found in "${folder%/*}"/*/*; do
            case $found in "$folder"/* | */\*) continue ;; esac
            fail "containers of others run in this containerd: ${found#"${folder%/*}"/}"
        done
    done || exit 1
}
stop_units() {
    units=$(of_kind unit | tr '\n' ' ')
    # The kubelet first, as it starts again what others stop; etcd last, as API servers wait for it.
    first= rest= last=
    for unit in $units; do
        case $unit in
            kubelet.service) first=$unit ;;
            etcd.service) last=$unit ;;
            *) rest="$rest $unit" ;;
        esac
    done
    for some in "$first" "$rest" "$last"; do
        [ -n "$some" ] || continue
        timeout "$STOP_SECONDS" systemctl stop -- $some || {
            systemctl kill --signal=KILL -- $some
            systemctl stop -- $some
        }
    done 2>/dev/null
    for unit in $units; do
        systemctl disable --quiet --no-reload -- "$unit" 2>/dev/null
        rm -f "$UNITS/multi-user.target.wants/$unit"
        ! systemctl is-active --quiet -- "$unit" || fail "$unit does not stop"
    done
}
# Pods and their shims outlive containerd on purpose. A shim works in the folder of its container.
processes() {
    for process in /proc/[0-9]*; do
        place=$(readlink "$process/cwd" 2>/dev/null)
        for folder in $folders; do
            case $place in "$folder"/*) printf '%s\n' "${process#/proc/}"; continue 2 ;; esac
        done
        [ ! -r "$process/cgroup" ] || while IFS= read -r line; do
            for group in $groups; do
                case $line in *":/$group"[./]*) printf '%s\n' "${process#/proc/}"; break 2 ;; esac
            done
        done 2>/dev/null <"$process/cgroup"
    done
}
end_processes() {
    folders=$(of_kind containers) groups=$(of_kind cgroup) rounds=0
    [ -n "$folders$groups" ] || return 0
    while left=$(processes) && [ -n "$left" ]; do
        [ "$rounds" -lt 100 ] || fail "processes of pods do not end: $(printf '%s ' $left)"
        kill -9 $left 2>/dev/null
        rounds=$((rounds + 1))
        sleep 0.1
    done
}
unmount() {
    prefixes=$(of_kind mounts)
    [ ! -r /proc/mounts ] || while read -r device point rest; do
        for prefix in $prefixes; do
            case $point in "$prefix"*) printf '%b\n' "$point" ;; esac
        done
    done </proc/mounts | sort -r | each sh -c 'for point do umount "$point" || umount -l "$point"; done' sh
    # Others have network namespaces in the same place: ours are those that our containers and networks name.
    { of_kind containers | sed 's,$,/,'; of_kind files; } | while IFS= read -r prefix; do
        for file in "$prefix"*/config.json "$prefix"*; do
            [ ! -f "$file" ] || grep -o '/netns/cni-[0-9a-f-]*' "$file"
        done
    done | sort -u | while IFS= read -r name; do
        umount "/run$name" 2>/dev/null
        rm -f "/run$name"
    done
}
remove_groups() {
    for group in $(of_kind cgroup); do
        systemctl stop -- "$group.slice" 2>/dev/null
        for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ ! -d "$root/$group" ] || find "$root/$group" -depth -type d -exec rmdir {} + 2>/dev/null
        done
    done
}
remove_network() {
    of_kind routes | while IFS= read -r file; do
        network=$(sed -n 's/^FLANNEL_NETWORK=//p' "$file" 2>/dev/null)
        [ -z "$network" ] || ip route show root "$network" | while read -r route; do
            case $route in *' via '*) ip route delete $route ;; esac
        done
    done
    for device in $(of_kind device); do
        # Else the kernel would remove the ends of pods' cables a moment later.
        for port in "/sys/class/net/$device/brif"/*; do
            [ ! -e "$port" ] || ip link delete "${port##*/}"
        done
        [ ! -e "/sys/class/net/$device" ] || ip link delete "$device"
    done
    of_kind table | while IFS= read -r table; do nft delete table $table 2>/dev/null; done
    remove_chains
    of_kind builtin | while IFS= read -r table; do
        rules=$(nft list table $table 2>/dev/null) || continue
        printf '%s\n' "$rules" | grep -Eqv "$IDLE" || nft delete table $table
    done
}
IDLE='^(#.*|table .*|	chain [A-Z]+ \{|		type .* policy accept;|	?\}|)$'
is_ours() { for prefix in $prefixes; do case $1 in "$prefix"*) return 0 ;; esac; done; return 1; }
# From what iptables-save prints to what iptables-restore --noflush takes: our chains go, and the rules that
# lead to them, each by itself. What others add meanwhile is not touched.
deletions() {
    while IFS= read -r line; do
        case $line in
            \**) table=$line chains= jumps= ;;
            :*) name=${line#:} name=${name%% *}; ! is_ours "$name" || chains="$chains$name$newline" ;;
            '-A '*)
                name=${line#-A } name=${name%% *} bare=$line
                ! is_ours "$name" || continue
                # A comment may say anything.
                while :; do case $bare in *\"*\"*)
                    rest=${bare#*\"} bare=${bare%%\"*}${rest#*\"} ;; *) break ;; esac; done
                case $bare in
                    *' -j '*) name=${bare##* -j } ;;
                    *' -g '*) name=${bare##* -g } ;;
                    *) continue ;;
                esac
                ! is_ours "${name%% *}" || jumps="$jumps-D ${line#-A }$newline" ;;
            COMMIT)
                [ -n "$chains" ] || continue
                printf '%s\n' "$table"
                printf %s "$jumps"
                printf %s "$chains" | sed 's/^/-F /'
                printf %s "$chains" | sed 's/^/-X /'
                echo COMMIT ;;
        esac
    done
}
remove_chains() {
    prefixes=$(of_kind chains)
    [ -n "$prefixes" ] || return 0
    for family in iptables ip6tables; do
        command -v "$family-save" >/dev/null || continue
        going=$("$family-save" 2>/dev/null | deletions)
        [ -z "$going" ] || printf '%s\n' "$going" | "$family-restore" --noflush ||
            fail "chains of $family cannot be removed"
    done
}
remove_files() {
    of_kind files | while IFS= read -r prefix; do rm -rf "$prefix"*; done
    of_kind data | while IFS= read -r folder; do
        [ -d "$folder" ] || continue
        rm -rf "$folder"/* "$folder"/.[!.]* "$folder"/..?* || fail "cannot empty $folder"
    done || exit 1
    { of_kind file; of_kind original; } | while IFS= read -r path; do
        temporary_of "$path"
        printf '%s\n' "$temporary"
    done | each rm -f
    of_kind file | while IFS= read -r path; do
        [ -d "$path" ] && [ ! -L "$path" ] || printf '%s\n' "$path"
    done | each rm -f ||
        fail 'files cannot be removed'
    of_kind original | while IFS= read -r path; do put_back "$path"; done || exit 1
    of_kind mode | while read -r path mode owner; do
        [ ! -d "$path" ] || { chown "$owner" "$path" && chmod "$mode" "$path"; }
    done
    of_kind directory | sort -r | while IFS= read -r folder; do
        [ ! -d "$folder" ] || [ -L "$folder" ] || rmdir "$folder" 2>/dev/null
    done
}
forwarding_is_used() { for link in /sys/class/net/*/bridge; do [ ! -d "$link" ] || return 0; done; return 1; }
restore_settings() {
    of_kind sysctl | while read -r name value; do
        # Bridges of others rely on it, whoever turned it on.
        case $name in *forward*) ! forwarding_is_used || continue ;; esac
        file=/proc/sys/$(printf %s "$name" | tr . /)
        [ ! -w "$file" ] || printf '%s\n' "$value" >"$file"
    done 2>/dev/null
}
remove_users() {
    for user in $(of_kind user); do
        ! id "$user" >/dev/null 2>&1 || userdel "$user" || fail "the user $user cannot be removed"
    done
}
if [ -s "$LEDGER" ]; then
    refuse_unknown
    refuse_others
    stop_units
    end_processes
    unmount
    remove_groups
    remove_network
    restore_settings
    remove_files
    remove_users
    units=$(of_kind unit)
    ! command -v systemctl >/dev/null || { systemctl daemon-reload
        [ -z "$units" ] || systemctl reset-failed -- $units; } 2>/dev/null
fi
rm -rf "$INPUTS" "$STAMPS" "$ORIGINALS"
rmdir "${INPUTS%/*}" 2>/dev/null
rm -f "$LEDGER"
rm -f "$OWNER" "$STATE/lock" "$STATE"/*.new
rmdir "$STATE" 2>/dev/null
exit 0
"""
)
"""Arguments: lineage, epoch."""
