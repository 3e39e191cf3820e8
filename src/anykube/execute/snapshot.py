"""Our hand that saves what etcd holds into a file on a node: what handlers.py calls for SaveSnapshot.

Before an upgrade the file stays on the node; a backup takes it from there (anykube backup).
"""

from __future__ import annotations

from anykube.content.paths import SNAPSHOTS, install_path
from anykube.errors import EtcdError
from anykube.execute.archive import require_plain
from anykube.execute.node import NodeHand
from anykube.execute.node_scripts import HEAD
from anykube.facts.probe_script import ETCD_CLIENT
from anykube.facts.snapshot import SnapshotFacts, parse

SECONDS = 900.0
"""For 8 GiB, the largest sensible database, on a slow disk."""
KEPT = 3

SAVE = (
    HEAD
    + f"FOLDER={SNAPSHOTS} ETCDUTL={install_path('etcdutl')} KEPT={KEPT}\n"
    + f"ETCD_CLIENT='{ETCD_CLIENT} --command-timeout={SECONDS:.0f}s'\n"
    + r"""
claim
[ -d "$FOLDER" ] || { note_folder "$FOLDER"; note "data $FOLDER"; }
save_ledger
unlock
file=$1
case $file in "$FOLDER"/*.db) ;; *) fail "not a file for a snapshot: $file" ;; esac
mkdir -p "$FOLDER" || fail "cannot make $FOLDER"
tell() { date -u -r "$file" '+%Y-%m-%d %H:%M:%S UTC' && printf '%s\n' "$status"; }
if [ -f "$file" ] && status=$("$ETCDUTL" snapshot status "$file" --write-out=json); then tell; exit 0; fi
rm -f "$file" "$FOLDER"/*.new "$FOLDER"/*.part
temporaries="$file.new$newline$file.new.part$newline"
$ETCD_CLIENT snapshot save "$file.new" >/dev/null || fail "etcd gives no snapshot"
# A snapshot ends with the hash of all that is before it.
hash=$(head -c -32 "$file.new" | sha256sum)
end=$(tail -c 32 "$file.new" | od -A n -v -t x1 | tr -d ' \n')
[ "${hash%% *}" = "$end" ] || fail "the snapshot did not arrive whole"
status=$("$ETCDUTL" snapshot status "$file.new" --write-out=json) || fail "the snapshot is damaged"
sync "$file.new" 2>/dev/null || sync
refuse_when_fenced
mv "$file.new" "$file" || fail "cannot write $file"
temporaries=
sync "$FOLDER" 2>/dev/null || sync
ls -1t "$FOLDER"/*.db | tail -n "+$((KEPT + 1))" | each rm -f
tell
"""
)
"""Argument: the file. Prints when it was written, and what etcdutl says of it (facts/snapshot.py)."""


async def save_snapshot(hand: NodeHand, file: str) -> SnapshotFacts:
    """Save a snapshot, verified, and say what it holds. Only the newest few of a node are kept."""
    require_plain(file)
    text = await hand.script("saving a snapshot of etcd", SAVE, (file,), SECONDS)
    try:
        return parse(file, text)
    except ValueError as error:
        raise EtcdError("etcdutl's answer is not understood.", evidence=[str(error)[:300]]) from None
