"""The shell that changes a node: place files, remove them, set a unit. Used by node.py only; clean_script.py
takes all of it away again.

Every script starts with the fence and is complete in itself: killed at any line, it can be run again.
Names come as arguments or on standard input, never as part of the text. Needs a POSIX sh, coreutils, tar.
"""

from __future__ import annotations

from anykube.content.paths import INPUTS, LEDGER, ORIGINALS, OWNER, STAMP_THRESHOLD, STAMPS, STATE, UNITS
from anykube.facts.probe_script import STAMP_SHELL

FENCED = 75
"""Exit status of a refusal by the fence; together with the word below on stderr."""
FENCED_WORD = "anykube-fenced:"

HEAD = (
    f"STATE={STATE} OWNER={OWNER} LEDGER={LEDGER} STAMPS={STAMPS} INPUTS={INPUTS} UNITS={UNITS}\n"
    f"THRESHOLD={STAMP_THRESHOLD} FENCED={FENCED} FENCED_WORD={FENCED_WORD} ORIGINALS={ORIGINALS}\n"
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
note_folder() {
    folder=$1
    while [ -n "$folder" ] && [ ! -d "$folder" ]; do note "directory $folder"; folder=${folder%/*}; done
}
# How a folder was that we only use; once.
note_mode() {
    case $known$additions in *"${newline}mode $1 "*) return ;; esac
    was=$(stat -c '%a %U:%G' "$1") || fail "cannot look at $1"
    [ "$was" = "$2" ] || note "mode $1 $was"
}
temporary_of() { temporary="${1%/*}/.${1##*/}.anykube-new"; }
original_of() { stamp_of "$1"; original=$ORIGINALS/${stamp##*/}; }
# Puts back what was there before us, if it is still kept: a run that was killed here may have done it.
put_back() {
    original_of "$1"
    ! { [ -e "$original" ] || [ -L "$original" ]; } || mv -f "$original" "$1" || fail "cannot put back $1"
}
# Reads paths, one a line, and gives them to a command as arguments.
each() { tr '\n' '\0' | xargs -0 -r "$@"; }
"""
    + STAMP_SHELL
)

PUT = (
    HEAD
    + r"""
directories= files= complete= made=$1
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
# What is in the place of a file of ours, and is not ours, is kept before it is replaced.
keep_original() {
    ! noted "file $1" && ! noted "original $1" || return 0
    original_of "$1"
    mkdir -p "$ORIGINALS" && rm -rf "$original.new" && cp -a "$1" "$original.new" &&
        mv -f "$original.new" "$original" || fail "cannot keep what was at $1"
    note "original $1"
}
while read -r mode owner path; do
    [ -n "$path" ] || continue
    if [ ! -d "$path" ]; then note_folder "$path"
    else noted "directory $path" || note_mode "$path" "$mode $owner"; fi
done <<LIST
$directories
LIST
hashes= folders= large=
while read -r sha256 mode owner size path; do
    [ -n "$path" ] || continue
    [ ! -d "$path" ] || fail "$path is a directory; a file should be there"
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then noted "original $path" || note "file $path"
    elif [ -z "$made" ]; then keep_original "$path"; fi
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
"""Arguments: lineage, epoch, 'made' for a machine on which nothing is somebody else's. Input: lines
'directory MODE OWNER PATH', 'file SHA256 MODE OWNER SIZE PATH', 'end', then a tar of the files under their
temporary names. Nothing is renamed before all is verified."""

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
    noted "file $path" || noted "original $path" || continue
    stamp_of "$path"
    temporary_of "$path"
    rm -f "$stamp" "$temporary" || fail "cannot remove $temporary"
    if noted "file $path"; then rm -f "$path" || fail "cannot remove $path"; else put_back "$path"; fi
    for kind in file original; do ! noted "$kind $path" || forget "$kind $path"; done
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
unit=$1 state=$2 made=$3 said=
shift 3
explain() {
    systemctl status --no-pager --full --lines=0 -- "$unit" 2>&1 | cut -c 1-300 | head -n 12 >&2
    journalctl --no-pager --output=cat --lines=30 --unit="$unit" 2>&1 | cut -c 1-300 | tail -n 30 >&2
    # What systemd said comes last: of long evidence the end is kept.
    printf '%s\n' "$said" | cut -c 1-300 | tail -n 5 >&2
    exit 1
}
ask() { said=$("$@" 2>&1) || explain; }
# Whether something is there already, and so not ours: nothing of that may be noted.
is_there() {
    [ -z "$made" ] || return 1
    case $1 in
        data)
            for found in "$2"/* "$2"/.[!.]*; do
                [ -e "$found" ] || [ -L "$found" ] || continue
                noted "file $found" || noted "directory $found" || return 0
            done
            return 1 ;;
        file | directory) [ -e "$2" ] || [ -L "$2" ] ;;
        files) set -- "$2"*; [ -e "$1" ] ;;
        device) [ -e "/sys/class/net/$2" ] ;;
        table | builtin) ! command -v nft >/dev/null || nft list table $2 >/dev/null 2>&1 ;;
        chains) (iptables-save; ip6tables-save) 2>/dev/null | grep -q "^:$2" ;;
        user) id "$2" >/dev/null 2>&1 ;;
        *) return 1 ;;
    esac
}
# A setting as it is before it becomes the second word, if that is known; once.
note_sysctl() {
    case $known$additions in *"${newline}sysctl $1 "*) return ;; esac
    file=/proc/sys/$(printf %s "$1" | tr . /) before=
    # Not by 'read': shells read byte by byte, and these files answer the first read only.
    [ ! -w "$file" ] || before=$(cat "$file" 2>/dev/null)
    [ -z "$before" ] || [ "$before" = "$2" ] || note "sysctl $1 $before"
}
note_sysctls() {
    [ ! -r "$1" ] || while IFS=' =' read -r name value; do
        case $name in '' | '#'*) ;; *) note_sysctl "${name#-}" "$value" ;; esac
    done <"$1"
}
note_users() {
    [ ! -r "$1" ] || while read -r kind name rest; do
        case $kind in u) is_there user "$name" || note "user $name" ;; esac
    done <"$1"
}
# What a folder holds will be ours; the folder itself may have been there, with a mode that the unit changes.
note_data() {
    if [ ! -d "$1" ]; then note_folder "$1"
    elif ! noted "directory $1"; then note_mode "$1" ''; fi
}
note_traces() {
    for trace do
        kind=${trace%% *} name=${trace#* }
        case $kind in
            sysctl) note_sysctl "$name"; continue ;;
            sysctls) note_sysctls "$name"; continue ;;
            users) note_users "$name"; continue ;;
        esac
        noted "$trace" || is_there "$kind" "$name" || {
            case $kind in data) note_data "$name" ;; directory) note_folder "$name" ;; esac
            note "$trace"
        }
    done
}
prepare() {
    note_traces "$@"
    note_folder "$UNITS/multi-user.target.wants"
    note "unit $unit"
    save_ledger
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
"""Arguments: lineage, epoch, unit, state, 'made' as above, then what the unit leaves (facts/ledger.py). Of
that, what is absent when the unit is started is ours from then on. 'stopped' lasts until the next start of
the unit or of the machine: its files stay, and it stays enabled."""
