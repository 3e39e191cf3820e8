"""Looks at a snapshot file of etcd on a node, without changing anything."""

from __future__ import annotations

from anykube.content.paths import install_path
from anykube.errors import PlanError
from anykube.facts.snapshot import SnapshotFacts, parse
from anykube.transports.base import Transport

SECONDS = 120.0
LOOK = """set -e
[ -f "$1" ] || { echo "$1 is not a file there" >&2; exit 1; }
[ -x "$2" ] || { echo "$2 is not there: this node never had the role etcd" >&2; exit 1; }
date -u -r "$1" '+%Y-%m-%d %H:%M:%S UTC'
"$2" snapshot status "$1" --write-out=json"""


async def look_at_snapshot(transport: Transport, file: str) -> SnapshotFacts:
    """What a snapshot holds. PlanError if there is none, or if it is damaged so that this shows at once."""
    argv = ["sh", "-c", LOOK, "anykube", file, install_path("etcdutl")]
    result = await transport.run(argv, seconds=SECONDS)
    remedy = f"put a file there that `etcdctl snapshot save` made; on that node: {file}"
    if result.status:
        evidence = result.stderr.strip().splitlines()[-3:]
        raise PlanError(f"{transport.name}: the snapshot cannot be used.", evidence=evidence, remedy=remedy)
    try:
        return parse(file, result.stdout)
    except ValueError as error:
        raise PlanError(
            f"{transport.name}: what etcdutl says of the snapshot is not understood.",
            evidence=[str(error)[:300]],
            remedy=remedy,
        ) from None
