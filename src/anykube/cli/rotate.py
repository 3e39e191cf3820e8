"""anykube certs rotate-ca and rotate-key: an authority or a key is replaced, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anykube.cli.options import File, Format, Name, Output, Yes
from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.cli.progress import Progress
    from anykube.execute.engine import StopFlag
    from anykube.facts.record import Record
    from anykube.rotation import Rotated


class Authority(StrEnum):
    """Which authority."""

    CLUSTER = "cluster"
    ETCD = "etcd"
    FRONT_PROXY = "front-proxy"
    ALL = "all"


class Key(StrEnum):
    """Which key."""

    SERVICE_ACCOUNT = "service-account"
    ENCRYPTION = "encryption"


class Until(StrEnum):
    """How far to go in one command."""

    NEXT = "next"
    FINISH = "finish"


Stage = Annotated[
    Until, typer.Option("--stage", help="next: one of the three stages; finish: all that are left.")
]
Abort = Annotated[
    bool, typer.Option("--abort", help="Go back to the old key; possible until the last stage has begun.")
]


def authority(
    which: Annotated[Authority, typer.Argument(help="The authority.")] = Authority.ALL,
    stage: Stage = Until.FINISH,
    abort: Abort = False,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
) -> int:
    """Replace a certificate authority in three stages.

    First every node, kubeconfig and pod trusts both, then all certificates come from the new one, then the
    old one goes. Each stage waits until the one before is complete everywhere. kubeconfigs handed out before
    work until the last. Killed, run it again.
    """
    from anykube.plan.rotation import AUTHORITIES

    names = tuple(AUTHORITIES.values()) if which is Authority.ALL else (AUTHORITIES[which.value],)
    again = f"rotate-ca {which.value}"
    return _run(names, again, stage, file, cluster, output, abort=abort, at_once=False, yes=yes)


def key(
    which: Annotated[Key, typer.Argument(help="The key.")],
    stage: Stage = Until.FINISH,
    abort: Abort = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="service-account: end tokens of the old key, not waiting until they end."),
    ] = False,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
) -> int:
    """Replace the key of service-account tokens, or that of encryption at rest.

    In three stages as rotate-ca: all API servers know the new key, then it is used, then the old one goes.
    Secrets are all stored anew under a new encryption key before the old one goes. Tokens of the old
    service-account key stay valid until the last stage, which waits until none is left.
    """
    from anykube.plan.rotation import KEYS

    names, again = (KEYS[which.value],), f"rotate-key {which.value}"
    return _run(names, again, stage, file, cluster, output, abort=abort, at_once=now, yes=yes)


def _run(  # noqa: PLR0913  options
    names: Sequence[str],
    again: str,
    until: Until,
    file: Path | None,
    name: str | None,
    output: Output,
    *,
    abort: bool,
    at_once: bool,
    yes: bool,
) -> int:
    from anykube.cli.printing import message
    from anykube.cli.running import approval, run_to_its_end
    from anykube.cli.target import target
    from anykube.rotation import Goal, rotate

    if abort and until is Until.NEXT:
        raise UsageError("--abort goes all the way back.", remedy="leave --stage away")
    if yes and file is None and name is None:
        raise UsageError("Replacing keys with --yes does not guess the cluster.", remedy="name it: -c or -f")
    found = target(file, name)

    async def work(stop: StopFlag, show: Progress) -> Rotated:
        return await rotate(
            found.cluster,
            names,
            Goal.BACK if abort else Goal(until.value),
            text=found.text,
            source=found.source,
            at_once=at_once,
            approve=approval(f"Do this stage for {', '.join(names)}?", show, output, yes=yes),
            emit=show,
            stop=stop,
        )

    ended = run_to_its_end(work, output)
    if output is not Output.JSON:
        for line in _told(names, f"anykube certs {again} -c {ended.record.name}", ended, abort=abort):
            message(line)
    return 0


def _told(names: Sequence[str], again: str, ended: Rotated, *, abort: bool) -> list[str]:
    if not ended.report.approved:
        return ["nothing was changed"]
    under_way = [name for name in names if name in ended.record.rotations]
    if not under_way:
        return [f"{', '.join(names)}: {'the old key is the only one' if abort else 'replaced'}"]
    lines = [f"{name}: {_standing(name, ended.record)}" for name in under_way]
    if ended.waiting is not None:
        lines.append(f"the last token of the old key ends at {ended.waiting:%H:%M} UTC; then: {again}")
        return [*lines, "sooner: restart what uses tokens (kubectl rollout restart), then add --now"]
    return [*lines, f"go on with: {again}   back with: {again} --abort"]


def _standing(name: str, record: Record) -> str:
    from anykube.plan.rotation import STAGES

    return STAGES[record.rotations[name].stage]
