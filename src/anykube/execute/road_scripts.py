"""The shell of the road (plan/road.py), behind the same fence as node_scripts.py: software that lies ready,
and the way back. Used by road.py only.

Killed at any line, each can be run again.
"""

from __future__ import annotations

from anykube.content.paths import KEPT, SOFTWARE
from anykube.execute.node_scripts import HEAD

_READ_PATHS = r"""
paths= complete=
while IFS= read -r line; do
    case $line in end) complete=yes; break ;; esac
    paths="$paths$line$newline"
done
[ -n "$complete" ] || fail 'the connection ended inside the list of paths'
"""
_KEPT = (
    f"KEPT={KEPT}\n"
    + r"""
way=$KEPT/$1 index=$KEPT/$1/index
kept_of() { stamp_of "$1"; kept=$way/${stamp##*/}; }
# A second name for the same file costs nothing; on layered file systems it may be a copy.
link_or_copy() { rm -f "$2" && { ln "$1" "$2" 2>/dev/null || cp -a "$1" "$2"; } || fail "cannot keep $1"; }
"""
)

PLACE = (
    HEAD
    + f"SOFTWARE={SOFTWARE}\n"
    + _READ_PATHS
    + r"""
claim
unlock
hashes=
while read -r sha256 mode owner path; do
    [ -n "$path" ] || continue
    staged=$SOFTWARE/$sha256
    temporary_of "$path"
    [ ! -e "$staged" ] || mv -f "$staged" "$temporary" || fail "cannot move $staged"
    [ -e "$temporary" ] || fail "$path: its new content is not in $SOFTWARE any more"
    chown "$owner" "$temporary" && chmod "$mode" "$temporary" || fail "cannot give $path to $owner"
    hashes="$hashes$sha256  $temporary$newline"
    temporaries="$temporaries$temporary$newline"
done <<LIST
$paths
LIST
wrong=$(printf '%s' "$hashes" | sha256sum -c - 2>&1) ||
    fail "staged software is damaged: $(printf '%s\n' "$wrong" | grep -v ': OK$')"
printf '%s' "$temporaries" | each sync 2>/dev/null || sync
refuse_when_fenced
while read -r sha256 mode owner path; do
    [ -n "$path" ] || continue
    temporary_of "$path"
    mv -f "$temporary" "$path" || fail "cannot place $path"
    [ "$(stat -c %s "$path")" -lt "$THRESHOLD" ] || stat -c '%s %y %z' "$path" | {
        read -r size mday mtime mzone cday ctime czone
        write_stamp "$path" "$size:${mday}T$mtime:${cday}T$ctime" "$sha256"
    }
done <<LIST
$paths
LIST
temporaries=
lock
load_ledger
while read -r sha256 rest; do
    [ -z "$sha256" ] || ! noted "file $SOFTWARE/$sha256" || forget "file $SOFTWARE/$sha256"
done <<LIST
$paths
LIST
write_ledger
"""
)
"""Input: lines 'SHA256 MODE OWNER PATH', 'end'."""

KEEP = (
    HEAD
    + _KEPT
    + _READ_PATHS
    + r"""
claim
[ -d "$KEPT" ] || { note_folder "$KEPT"; note "data $KEPT"; }
save_ledger
unlock
for other in "$KEPT"/*; do
    case $other in "$way" | */\*) ;; *) rm -rf "$other" ;; esac
done
mkdir -p "$way" || fail "cannot make $way"
known=$newline
[ ! -r "$index" ] || known=$newline$(cat "$index")$newline
additions=
while IFS= read -r path; do
    [ -n "$path" ] && ! noted "file $path" && ! noted "absent $path" || continue
    kept_of "$path"
    if [ -e "$path" ]; then link_or_copy "$path" "$kept"; note "file $path"; else note "absent $path"; fi
done <<LIST
$paths
LIST
[ -z "$additions" ] || replace "$index" "${known#"$newline"}$additions"
sync "$way" 2>/dev/null || sync
"""
)
"""Argument: a name for the change. Input: paths, 'end'. Nothing is replaced before the index is written."""

RETURN = (
    HEAD
    + _KEPT
    + r"""
claim
unlock
shift
[ -s "$index" ] || exit 0
while read -r kind path; do
    [ -n "$path" ] || continue
    kept_of "$path"
    temporary_of "$path"
    case $kind in
        file)
            # Not replaced yet: two names of one file.
            [ "$(stat -c %d:%i "$kept")" != "$(stat -c %d:%i "$path" 2>/dev/null)" ] || continue
            link_or_copy "$kept" "$temporary"
            mv -f "$temporary" "$path" || fail "cannot put back $path" ;;
        absent) rm -f "$path" "$temporary" ;;
    esac
done <"$index"
sync
systemctl daemon-reload
failed=
for unit do
    if systemctl is-active --quiet -- "$unit" && sha256sum --status -c "$INPUTS/$unit" 2>/dev/null; then
        continue
    fi
    systemctl reset-failed -- "$unit" 2>/dev/null
    systemctl restart -- "$unit" || {
        failed="$failed $unit"
        journalctl --no-pager --output=cat --lines=10 --unit="$unit" 2>&1 | cut -c 1-300 >&2
    }
done
[ -z "$failed" ] || fail "does not start again:$failed"
rm -rf "$way"
"""
)
"""Arguments: the name of the change, then units in the order in which they are restarted, if they run with
anything else than what lies there now."""

FORGET = (
    HEAD
    + f"KEPT={KEPT}\n"
    + r"""
claim
unlock
rm -rf "$KEPT/$1"
"""
)
"""Argument: the name of the change that is done."""
