"""The shell that makes etcd anew from one member or from a snapshot, behind the fence. For recovery.py only.

Old data is moved or copied beside, under the number of the run, and never removed. Killed at any line, the
scripts can be run again by another run.
"""

from __future__ import annotations

from anykube.content.etcd import BIRTH, BORN, FIRST_START, STATE_NAME
from anykube.content.paths import ETCD, install_path
from anykube.execute.node_scripts import HEAD

_PLACES = f"DATA={ETCD} FOLDER={BIRTH} BORN={BORN} FIRST_START={FIRST_START} STATE_NAME={STATE_NAME}\n"

HALT = (
    HEAD
    + r"""
claim
unlock
running() {
    for state in $(systemctl is-active -- "$@"); do
        case $state in inactive | failed | unknown) ;; *) return 0 ;; esac
    done
    return 1
}
systemctl stop --no-block -- "$@" 2>/dev/null
rounds=0
while running "$@"; do
    [ "$rounds" -ne 30 ] || systemctl kill --signal=KILL -- "$@" 2>/dev/null
    [ "$rounds" -lt 200 ] || fail "does not stop: $(systemctl list-units --plain --no-legend -- "$@")"
    rounds=$((rounds + 1))
    sleep 0.1
done
"""
)
"""Arguments: units. Three seconds to end by themselves, twenty in all (more where systemd is slow)."""

UNPACK = (
    HEAD
    + _PLACES
    + f"ETCDUTL={install_path('etcdutl')}\n"
    + r"""
claim
unlock
file=$1 name=$2 peer=$3 token=$4 bump=$5
[ -f "$file" ] || fail "there is no file $file"
[ -d "$DATA" ] || fail "there is no folder $DATA"
rm -rf "$DATA"/restored-*
# It compares the checksum that a snapshot ends with. Revisions jump ahead of all that clients may have seen.
"$ETCDUTL" snapshot restore "$file" --name "$name" --initial-cluster "$name=$peer" \
    --initial-cluster-token "$token" --initial-advertise-peer-urls "$peer" \
    --bump-revision "$bump" --mark-compacted --data-dir "$DATA/restored-$epoch" >/dev/null ||
    { rm -rf "$DATA/restored-$epoch"; fail "the snapshot $file is not whole, or cannot be unpacked"; }
chown -R etcd:etcd "$DATA/restored-$epoch" && chmod -R go= "$DATA/restored-$epoch" ||
    fail "cannot give $DATA/restored-$epoch to etcd"
sync
"""
)
"""Arguments: the file, the member's name and peer URL, the token of the new cluster, by how much revisions
jump."""

BEGIN_ANEW = (
    HEAD
    + _PLACES
    + r"""
claim
note "directory $FOLDER"
note "file $FIRST_START"
note "unit etcd.service"
save_ledger
unlock
from=$1
systemctl stop -- etcd.service 2>/dev/null
! systemctl is-active --quiet -- etcd.service || fail 'etcd.service does not stop'
aside=$DATA/aside-$epoch number=0
while [ -e "$aside" ]; do number=$((number + 1)); aside=$DATA/aside-$epoch-$number; done
mkdir -p "$FOLDER" || fail "cannot make $FOLDER"
case $from in
    snapshot)
        new=$DATA/restored-$epoch
        [ -d "$new/member/wal" ] || fail "there is no unpacked snapshot in $new"
        [ ! -e "$DATA/member" ] || mv "$DATA/member" "$aside" || fail "cannot move $DATA/member aside"
        mv "$new/member" "$DATA/member" || fail "cannot place the unpacked snapshot"
        rmdir "$new"
        rm -f "$FIRST_START" ;;
    survivor)
        [ -d "$DATA/member/wal" ] || fail "there is no data of a member in $DATA"
        rm -rf "$DATA"/.copy-*
        copy=$DATA/.copy-$epoch
        cp -a "$DATA/member" "$copy" && sync && mv "$copy" "$aside" ||
            { rm -rf "$copy"; fail "cannot keep a copy of $DATA/member"; }
        replace "$FIRST_START" "ETCD_FORCE_NEW_CLUSTER=true$newline" ;;
    *) fail "not a source: $from" ;;
esac
sync
refuse_when_fenced
# Its unit file may be a new one, or another than before.
systemctl daemon-reload 2>/dev/null
systemctl reset-failed -- etcd.service 2>/dev/null
said=$(systemctl start -- etcd.service 2>&1) || {
    journalctl --no-pager --output=cat --lines=30 --unit=etcd.service 2>&1 | cut -c 1-300 | tail -n 30 >&2
    fail "$said"
}
# The unit removes it when it serves. Were it left, a later start would throw the other members out again.
rm -f "$FIRST_START"
[ ! -e "$FIRST_START" ] || fail "cannot remove $FIRST_START"
"""
)
"""Argument: 'survivor' or 'snapshot'."""

GIVE_BACK = (
    HEAD
    + _PLACES
    + r"""
claim
unlock
since=$1
systemctl stop -- etcd.service 2>/dev/null
! systemctl is-active --quiet -- etcd.service || fail 'etcd.service does not stop'
kept() {
    for path in "$DATA"/aside-*; do [ ! -d "$path" ] || printf '%s\n' "${path##*/aside-}"; done |
        sort -t - -k 1,1n -k 2,2n
}
drop() {
    dropped=$DATA/dropped-$epoch number=0
    while [ -e "$dropped" ]; do number=$((number + 1)); dropped=$DATA/dropped-$epoch-$number; done
    mv "$1" "$dropped" || fail "cannot move $1 aside"
}
# What was moved aside first is what the node had before; all later ones came from the archive.
original=
for name in $(kept); do
    [ "${name%%-*}" -ge "$since" ] || continue
    if [ -z "$original" ]; then original=$name; else drop "$DATA/aside-$name"; fi
done
rm -rf "$DATA"/restored-*
[ -n "$original" ] || exit 0
[ ! -e "$DATA/member" ] || drop "$DATA/member"
mkdir -p "$FOLDER" || fail "cannot make $FOLDER"
replace "$BORN" "$STATE_NAME=existing$newline"
rm -f "$FIRST_START"
refuse_when_fenced
mv "$DATA/aside-$original" "$DATA/member" || fail "cannot move the data back"
sync
"""
)
"""Argument: the number of the first run of the restore. The last move decides; all before can be repeated."""
