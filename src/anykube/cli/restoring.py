"""Running restore and adopt from the command line: which keys, which object, and the question before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anykube.cli.options import Output
from anykube.cli.printing import message, typed
from anykube.cli.progress import Progress, is_live
from anykube.cli.running import run_to_its_end
from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.execute.engine import StopFlag
    from anykube.plan.model import Plan
    from anykube.run import Report
    from anykube.secret import Secret


def run_restore(
    archive: Path,
    identities: Sequence[Path],
    node: str,
    lost: Sequence[str],
    file: Path | None,
    output: Output,
    *,
    yes: bool,
) -> int:
    """anykube restore ARCHIVE."""
    from anykube.objectfile import read
    from anykube.restore import restore

    text, source = read(file) if file else ("", "")
    if file and str(file) != "-":
        source = str(file.absolute())
    keys = keys_of(identities)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await restore(
            archive,
            keys,
            text=text,
            source=source,
            node=node,
            lost=lost,
            approve=_approval("restore it", yes=yes),
            emit=show,
            stop=stop,
        )

    return _ended(run_to_its_end(work, output), output)


def run_go_on(name: str, output: Output, *, yes: bool, back: bool) -> int:
    """anykube restore -c NAME, with or without --abort."""
    from anykube.restore import abort, go_on

    call, what = (abort, "take the restore back") if back else (go_on, "finish the restore")

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await call(name, approve=_approval(what, yes=yes), emit=show, stop=stop)

    return _ended(run_to_its_end(work, output), output)


def keys_of(files: Sequence[Path]) -> tuple[Secret, ...]:
    """The identities of age in these files."""
    from anykube.backup.age import identities
    from anykube.errors import BackupError

    found: list[Secret] = []
    for path in files:
        try:
            found += identities(path.read_bytes(), str(path))
        except OSError as error:
            raise BackupError(f"The identity {path} cannot be read.", evidence=[str(error)]) from error
    if not found:
        raise UsageError("No identity of age was given.", remedy="--identity FILE, as age-keygen wrote it")
    return tuple(found)


def _approval(what: str, *, yes: bool) -> Callable[[Plan], bool]:
    """What was written since is lost, so the cluster is named in the answer."""

    def approve(plan: Plan) -> bool:
        from anykube.plan.render import lines

        message("\n".join(lines(plan)))
        return yes or typed(f"Type the name of the cluster to {what}:", plan.cluster)

    return approve


def _ended(report: Report, output: Output) -> int:
    if output is not Output.JSON:
        from anykube.cli.ending import finish
        from anykube.cli.target import target

        finish(report, target(None, report.plan.cluster), live=is_live())
    return 0
