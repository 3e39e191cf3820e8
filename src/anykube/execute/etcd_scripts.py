"""The shell that speaks to etcd on a node, behind the same fence as node_scripts.py. Used by etcd.py only."""

from __future__ import annotations

from anykube.content.etcd import BIRTH, BORN, FIRST_START
from anykube.content.paths import ETCD
from anykube.execute.node_scripts import HEAD
from anykube.facts.probe_script import ETCD_CLIENT

CONTROL = (
    HEAD
    + f"ETCD_CLIENT='{ETCD_CLIENT}'\n"
    + r"""
refuse_when_fenced
exec $ETCD_CLIENT "$@"
"""
)
"""Arguments: those of etcdctl. It asks the node's own member, with the node's own certificate."""

FIRST = (
    HEAD
    + f"FOLDER={BIRTH} FIRST_START={FIRST_START}\n"
    + r"""
claim
note "directory $FOLDER"
note "file $FIRST_START"
save_ledger
unlock
mkdir -p "$FOLDER" || fail "cannot make $FOLDER"
replace "$FIRST_START" "ETCD_INITIAL_CLUSTER=\"$1\"$newline"
"""
)
"""Argument: the members as they are now, for the first start of one that joins."""

SET_ASIDE = (
    HEAD
    + f"DATA={ETCD} BORN={BORN} FIRST_START={FIRST_START}\n"
    + r"""
claim
unlock
systemctl stop etcd.service 2>/dev/null
if [ -d "$DATA/member" ]; then
    aside="$DATA/aside-$epoch"
    number=0
    while [ -e "$aside" ]; do number=$((number + 1)); aside="$DATA/aside-$epoch-$number"; done
    mv "$DATA/member" "$aside" || fail "cannot move $DATA/member aside"
    sync "$DATA" 2>/dev/null || sync
fi
rm -f "$BORN" "$FIRST_START"
"""
)
"""What an earlier member left is kept beside, under the number of the run."""
