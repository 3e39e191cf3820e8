"""anykube doctor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anykube.cli.options import File, Format, Name, Output

if TYPE_CHECKING:
    from anykube.facts.checks import Check
    from anykube.spec.model import Cluster

PROBLEM = 1


def command(file: File = None, cluster: Name = None, output: Format = Output.TABLE) -> int:
    """Say what is in the way on this machine and on the nodes. With remedies; changes nothing."""
    import asyncio
    from dataclasses import asdict

    from anykube.checkup import checkup
    from anykube.cli.printing import document
    from anykube.facts.checks import Verdict

    checks = asyncio.run(checkup(_cluster(file, cluster)))
    problems = sum(check.verdict is Verdict.PROBLEM for check in checks)
    if output in (Output.JSON, Output.YAML):
        items = [{**asdict(check), "verdict": str(check.verdict)} for check in checks]
        document("Checkup", {"problems": problems, "checks": items}, output)
    elif output is Output.NAME:
        print(
            "\n".join(f"{check.target}/{check.name}" for check in checks if check.verdict is not Verdict.OK)
        )
    else:
        _print(checks)
    return PROBLEM if problems else 0


def _cluster(file: Path | None, name: str | None) -> Cluster | None:
    """The cluster to look at; none is needed to look at this machine."""
    from anykube.cli.target import DEFAULT_FILE, target

    if file is None and name is None and not DEFAULT_FILE.exists():
        return None
    return target(file, name).cluster


def _print(checks: Sequence[Check]) -> None:
    from anykube.cli.printing import show
    from anykube.facts.checks import Verdict

    for target in dict.fromkeys(check.target for check in checks):
        show(target)
        for check in checks:
            if check.target == target:
                show(f"  {check.verdict:<8} {check.name:<13} {check.seen}")
                if check.verdict is not Verdict.OK and check.remedy:
                    show(f"{'':<25}do: {check.remedy}")
        show("")
    counted = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    warnings, problems = counted[Verdict.WARNING], counted[Verdict.PROBLEM]
    show(f"{len(checks)} checks, {problems} problems, {warnings} warnings")
