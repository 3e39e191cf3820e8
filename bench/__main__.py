"""python -m bench [NAME...]: run what is chosen, print one table, keep every single run in bench/results/."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import add_worker, backup, bring_up, certificates, failover, no_op, plan_time, upgrade
from bench.figures import Row, load_average, table
from bench.images import software
from bench.shape import Shape, shape

RESULTS = Path(__file__).parent / "results"
NAMES = (
    *("plan", "no-op", "bring-up", "high-availability", "failover", "add-worker"),
    *("certificates", "backup", "upgrade"),
)
CONTESTS = ("bring-up", "high-availability", "upgrade")
"""Those whose rounds may fail, each by itself."""


def main() -> int:
    """Measure, print, keep."""
    options = _options()
    rows: list[Row] = []
    kept: dict[str, Any] = {"started": _now(), "machine": platform.platform(), "cpus": os.cpu_count()}
    kept["load at start"] = load_average()
    try:
        for name in options.names or NAMES:
            found, raw = asyncio.run(_measure(name, options))
            rows += found
            kept[name] = raw
    finally:
        if rows:
            _write({**kept, "ended": _now(), "load at end": load_average()}, rows)
            print(table(rows))
    contests = [contest for name in CONTESTS for contest in kept.get(name, ())]
    return 1 if any(contest["failures"] for contest in contests) else 0


async def _measure(name: str, options: argparse.Namespace) -> tuple[list[Row], Any]:
    runs: int = options.runs or (1 if options.quick else 5)
    if name == "plan":
        hosts = (5, 50, 500) if options.quick else plan_time.SIZES
        times = plan_time.measure(hosts, max(runs, 3), _say)
        return plan_time.report(times), [time.as_dict() for time in times]
    if os.geteuid() != 0:
        raise SystemExit("Real clusters need root: make bench")
    lock = await software()
    chosen = tuple(map(shape, options.topologies or ()))
    match name:
        case "no-op":
            shapes = chosen or ((Shape(1), Shape(1, 1)) if options.quick else no_op.SHAPES)
            applies = [await no_op.measure(one, max(runs, 3), lock, _say) for one in shapes]
            return no_op.report(applies), [apply.as_dict() for apply in applies]
        case "failover":
            cuts = await failover.measure(runs, lock, _say)
            return failover.report(cuts), cuts
        case "add-worker":
            found = await add_worker.measure(runs, lock, _say)
            return add_worker.report(found), found
        case "backup":
            archives = await backup.measure(runs, lock, _say)
            return backup.report(archives), archives
        case "certificates":
            renewals = await certificates.measure(runs, lock, _say)
            return certificates.report(renewals), renewals
        case "upgrade":
            sizes = (chosen or upgrade.SHAPES)[: 1 if options.quick else None]
            upgrades = await upgrade.measure(sizes, runs, say=_say)
            return upgrade.report(upgrades), [contest.as_dict() for contest in upgrades]
    several = name == "high-availability"
    topologies = chosen or (bring_up.HIGH_AVAILABILITY if several else bring_up.BRING_UP)
    contests = await bring_up.measure(topologies[: 1 if options.quick else None], runs, lock, _say)
    return bring_up.report(contests), [contest.as_dict() for contest in contests]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none is given"
    )
    parser.add_argument("--runs", type=int, help="of each way (default 5)")
    parser.add_argument(
        "--topologies", nargs="+", help="such as 1 1+2 3+2 3+3+2, instead of those by default"
    )
    parser.add_argument("--quick", action="store_true", help="one run, small sizes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        list(map(shape, options.topologies or ()))
    except ValueError as error:
        parser.error(str(error))
    return options


def _write(kept: dict[str, Any], rows: Sequence[Row]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{kept['started'].replace(':', '-')}.json"
    path.write_text(json.dumps({**kept, "rows": [row.as_dict() for row in rows]}, indent=1) + "\n")
    print(f"kept in {path}")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
