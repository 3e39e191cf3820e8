"""The shell that a node of etcd runs to make a backup by itself. Its settings and units: content/backup.py.

Only the member that leads makes one, so that the others do not make the same. Nothing counts before it is
verified: the snapshot is restored beside, and its hash compared with what the member says of itself. Archives
get their name when they are whole. Killed at any line, the next one sweeps up.
"""

from __future__ import annotations

SCRIPT = r"""#!/bin/sh
# backup
# Saves etcd, if the member on this node leads: restores the snapshot into a scratch folder and compares it,
# packs and encrypts it with the sealed state, sends it to S3, and keeps the newest archives.
export LC_ALL=C TZ=UTC PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
. /etc/anykube/backup/settings

mkdir -p "$BACKUPS" && exec 9>"$BACKUPS/lock" || exit 1
flock -n 9 || { echo 'another backup is under way'; exit 0; }
work=$BACKUPS/work
sweep() { rm -rf "$work" "$BACKUPS"/.*.part; }
trap sweep EXIT
trap 'exit 1' HUP INT TERM
sweep

fail() {
    sweep
    printf '%s %s\n' "$(date +%s)" "$*" | tr -d '\000-\011\013-\037' | cut -c 1-400 >"$BACKUPS/failed"
    printf '%s\n' "$*" >&2
    exit 1
}
said() { tail -n 1 "$work/said" 2>/dev/null | cut -c 1-200; }
number() { sed -n "s/^\"$1\" : \([0-9]*\)\$/\1/p"; }

about=$($CLIENT endpoint status -w fields 2>/dev/null) || fail 'etcd does not answer'
[ "$(printf '%s\n' "$about" | number MemberID)" = "$(printf '%s\n' "$about" | number Leader)" ] || {
    echo 'another member leads; its node makes the backup'
    exit 0
}
read -r lineage rest <"$OWNER" && [ -s "$STATE" ] || fail 'the sealed state is not here yet: anykube apply'

# Snapshot, what is restored of it, and archive: etcd must not run out of space for it.
size=$(printf '%s\n' "$about" | number DBSize)
free=$(df -Pk "$BACKUPS" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
needed=$((size * 3 / 1024 + RESERVE))
[ "${free:-0}" -ge "$needed" ] ||
    fail "too little space in $BACKUPS: $((needed / 1024)) MiB needed, $((free / 1024)) MiB free"

# Sets revision, keys, live and found: hash and compaction as the member and as the restored copy say.
take() {
    rm -rf "$work"
    mkdir "$work" || fail "cannot make $work"
    taken=$(date +%s)
    $CLIENT --command-timeout=900s snapshot save "$work/snapshot.db" >/dev/null 2>"$work/said" ||
        fail "etcd gives no snapshot: $(said)"
    revision=$("$ETCDUTL" snapshot status "$work/snapshot.db" -w fields 2>"$work/said" | number Revision)
    [ -n "$revision" ] || fail "the snapshot is damaged: $(said)"
    live=$($CLIENT --command-timeout=60s endpoint hashkv --rev "$revision" -w json 2>"$work/said" |
        sed -n 's/.*"hash":\([0-9]*\),"compact_revision":\(-*[0-9]*\).*/\1 \2/p')
    keys=$($CLIENT --command-timeout=60s get '' --prefix --count-only --rev "$revision" -w fields \
        2>>"$work/said" | number Count)
    [ -n "$live" ] && [ -n "$keys" ] || fail "etcd does not say what it holds: $(said)"
    "$ETCDUTL" snapshot restore "$work/snapshot.db" --data-dir "$work/restored" >/dev/null 2>"$work/said" ||
        fail "the snapshot cannot be restored: $(said)"
    found=$("$ETCDUTL" hashkv "$work/restored/member/snap/db" --rev "$revision" -w json 2>"$work/said" |
        sed -n 's/.*"hash":\([0-9]*\),.*"compactRevision":\(-*[0-9]*\).*/\1 \2/p')
    [ -n "$found" ] || fail "what was restored cannot be read: $(said)"
    rm -rf "$work/restored"
}
# A compaction in between changes what a hash is made of: then another try.
for try in 1 2 3; do
    take
    [ "${found#* }" != "${live#* }" ] || break
done
[ "$found" = "$live" ] || fail "what was restored is not what etcd holds: $found, expected $live"

cp "$STATE" "$work/state.age" || fail 'the sealed state cannot be copied'
sha256() { sha256sum <"$1" | cut -d ' ' -f 1; }
cat >"$work/manifest.json" <<MANIFEST
{
 "format": 1,
 "cluster": "$CLUSTER",
 "lineage": "$lineage",
 "anykube": "$ANYKUBE",
 "kubernetes": "$KUBERNETES",
 "etcd": "$ETCD_VERSION",
 "node": "$NODE",
 "taken": $taken,
 "snapshot": {
  "sha256": "$(sha256 "$work/snapshot.db")",
  "size": $(stat -c %s "$work/snapshot.db"),
  "revision": $revision,
  "compacted": ${live#* },
  "keys": $keys,
  "hash": ${live% *}
 },
 "state": {
  "sha256": "$(sha256 "$work/state.age")",
  "size": $(stat -c %s "$work/state.age")
 }
}
MANIFEST

series=$CLUSTER-$(printf %.8s "$lineage")
archive=$series-$(date -d "@$taken" +%Y%m%dT%H%M%SZ)-$NODE.age
partial=$BACKUPS/.$archive.part
{ tar -c -f - -C "$work" manifest.json snapshot.db state.age || echo failed >"$work/torn"; } 2>"$work/said" |
    age -R "$RECIPIENTS" -o "$partial" 2>>"$work/said" || fail "the archive cannot be written: $(said)"
[ ! -e "$work/torn" ] && [ -s "$partial" ] || fail "the archive cannot be written: $(said)"
{ sync "$partial" 2>/dev/null || sync; } && mv "$partial" "$BACKUPS/$archive" ||
    fail 'the archive cannot be placed'

# Names of archives of this cluster, the oldest first. What counts as the newest is what was just made: a
# clock that went back must not remove it.
ours() { grep -E "^$series-[0-9]{8}T[0-9]{6}Z-[a-z0-9.-]*\.age\$" | sort -u; }
surplus() { ours | grep -v -x -F "$archive" | head -n "-$((KEEP - 1))"; }
ls -1 "$BACKUPS" | surplus | while read -r old; do rm -f "$BACKUPS/$old"; done

# The server refuses a body that does not have the sha256 that is signed.
empty=$(sha256 /dev/null)
s3() {
    body=$1
    shift
    curl --silent --show-error --fail --config "$CREDENTIALS" --aws-sigv4 "aws:amz:$REGION:s3" \
        --header "x-amz-content-sha256: $body" --connect-timeout 10 --speed-limit 1000 --speed-time 30 \
        --retry 3 --retry-max-time 300 "$@" 2>"$work/said"
}
if [ -n "$URL" ]; then
    [ -s "$CREDENTIALS" ] || fail 'there are no credentials for S3'
    s3 "$(sha256 "$BACKUPS/$archive")" --upload-file "$BACKUPS/$archive" "$URL/$PREFIX$archive" >/dev/null ||
        fail "S3 takes no archive: $(said)"
    head=$(s3 "$empty" --head "$URL/$PREFIX$archive") || fail "S3 does not show the archive: $(said)"
    sent=$(printf '%s\n' "$head" | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: *\([0-9]*\)$/\1/p')
    [ "$sent" = "$(stat -c %s "$BACKUPS/$archive")" ] || fail "S3 has ${sent:-no} bytes of $archive"
fi

printf '%s %s\n' "$(date +%s)" "$archive" >"$BACKUPS/last.new" && mv "$BACKUPS/last.new" "$BACKUPS/last" ||
    fail "cannot write $BACKUPS/last"
rm -f "$BACKUPS/failed"
echo "made and verified $archive: revision $revision, $keys keys"

if [ -n "$URL" ]; then
    listed=$(s3 "$empty" "$URL/?list-type=2&prefix=$LISTED$series-") || fail "S3 gives no list: $(said)"
    printf '%s\n' "$listed" | tr '<' '\n' | sed -n 's/^Key>//p' | sed "s|^$PREFIX||" | surplus >"$work/old"
    while read -r old; do
        s3 "$empty" --request DELETE "$URL/$PREFIX$old" >/dev/null || fail "S3 keeps $old: $(said)"
    done <"$work/old"
fi
"""
