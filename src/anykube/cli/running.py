"""Running a change from the command line: progress while it runs, Ctrl-C, and what to do next."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anykube.cli.options import Output
from anykube.cli.printing import confirm, message, typed
from anykube.cli.progress import Progress, is_live, progress
from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.cli.target import Target
    from anykube.execute.engine import StopFlag
    from anykube.plan.model import Plan
    from anykube.plan.upgrade import Asked
    from anykube.run import Report
    from anykube.transports.base import Endpoint

TICK = 0.25
T = TypeVar("T")


def run_apply(
    plan_file: Path | None,
    file: Path | None,
    name: str | None,
    output: Output,
    *,
    yes: bool,
    drain_seconds: float,
) -> int:
    """anykube apply. A saved plan carries its object, so it needs neither -f nor -c."""
    from anykube.cli.target import saved_target, target

    if plan_file is not None and not (file is None and name is None):
        raise UsageError("A saved plan names its cluster itself.", remedy="leave -f and -c away")
    found, saved = saved_target(plan_file) if plan_file else (target(file, name), None)
    return apply_target(found, output, yes=yes, drain_seconds=drain_seconds, saved=saved)


def apply_target(
    found: Target,
    output: Output,
    *,
    yes: bool,
    drain_seconds: float,
    saved: Plan | None = None,
    keep: Callable[[], None] = lambda: None,
    asked: Asked | None = None,
) -> int:
    """Apply an object. `keep` is called once it is agreed to, before anything is made so."""
    from anykube.plan.upgrade import PLAIN
    from anykube.workflow import apply

    async def work(stop: StopFlag, show: Progress) -> Report:
        approve = approval(f"Apply this to {found.cluster.name}?", show, output, yes=yes)

        def agreed(plan: Plan) -> bool:
            answer = approve(plan)
            if answer:
                keep()
            return answer

        return await apply(
            found.cluster,
            text=found.text,
            source=found.source,
            approve=agreed,
            saved=saved,
            emit=show,
            stop=stop,
            drain_seconds=drain_seconds,
            asked=asked or PLAIN,
        )

    report = run_to_its_end(work, output)
    if report.unchanged:
        # What the object says is there already: nobody was asked, and nothing is made.
        keep()
    return _ended(report, found, output)


def change_version(
    version: str,
    asked: Asked,
    file: Path | None,
    name: str | None,
    output: Output,
    *,
    yes: bool,
    drain_seconds: float,
) -> int:
    """anykube upgrade and rollback: the object with another version, and its file, if it came from one."""
    wanted, keep = with_other_version(version, file, name)
    return apply_target(wanted, output, yes=yes, drain_seconds=drain_seconds, keep=keep, asked=asked)


def with_other_version(
    version: str, file: Path | None, name: str | None
) -> tuple[Target, Callable[[], None]]:
    """The object with another version, and what writes that to its file."""
    from anykube.cli.scale import editable
    from anykube.cli.target import Target, target
    from anykube.objectfile import rewrite
    from anykube.spec.edit import with_version
    from anykube.spec.load import load

    found = target(file, name)
    editable(found, named=name, what="version")
    text = with_version(found.text, version, found.source)

    def keep() -> None:
        rewrite(Path(found.source), found.text, text)

    return Target(load(text, found.source), text, found.source), keep


def run_replace(
    node: str, file: Path | None, name: str | None, output: Output, *, yes: bool, drain_seconds: float
) -> int:
    """anykube replace."""
    from anykube.cli.target import target
    from anykube.workflow import replace

    found = target(file, name)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await replace(
            found.cluster,
            node,
            text=found.text,
            source=found.source,
            approve=approval(f"Make {node} anew?", show, output, yes=yes),
            emit=show,
            stop=stop,
            drain_seconds=drain_seconds,
        )

    return _ended(run_to_its_end(work, output), found, output)


def run_recover(
    node: str,
    snapshot: str,
    lost: Sequence[str],
    file: Path | None,
    name: str | None,
    output: Output,
    *,
    yes: bool,
) -> int:
    """anykube recover. Writes may be lost, so the cluster is named: in the answer, or in the command line."""
    from anykube.cli.target import target
    from anykube.plan.render import lines
    from anykube.recovery import recover

    if yes and file is None and name is None:
        raise UsageError("recover --yes does not guess the cluster.", remedy="name it with -c or -f")
    found = target(file, name)

    def approve(plan: Plan) -> bool:
        if plan.empty:
            anew = f"; {', '.join(sorted(lost))}: deleted and made anew" if lost else ""
            message(f"etcd serves on {node} alone already. What is left is as with apply{anew}.")
        else:
            message("\n".join(lines(plan)))
        question = f"Type the name of the cluster to recover its etcd from {node}:"
        return yes or typed(question, found.cluster.name)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await recover(
            found.cluster,
            node,
            text=found.text,
            source=found.source,
            snapshot=snapshot,
            lost=lost,
            approve=approve,
            emit=show,
            stop=stop,
        )

    return _ended(run_to_its_end(work, output), found, output)


def run_renew(
    names: Sequence[str], file: Path | None, name: str | None, output: Output, *, everything: bool, yes: bool
) -> int:
    """anykube certs renew."""
    from anykube.cli.target import target
    from anykube.renewal import renew

    found = target(file, name)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await renew(
            found.cluster,
            names,
            everything=everything,
            approve=approval(f"Renew these certificates of {found.cluster.name}?", show, output, yes=yes),
            emit=show,
            stop=stop,
        )

    report = run_to_its_end(work, output)
    if output is not Output.JSON:
        total = sum(report.seconds.values())
        done = f"{report.done} steps done in {total:.1f} s" if report.approved else "nothing was changed"
        none = "no certificate is due, and all are in place (--all makes them anew nevertheless)"
        message(f"{found.cluster.name}: {none if report.unchanged else done}")
    return 0


def run_reset(
    node: str,
    file: Path | None,
    name: str | None,
    output: Output,
    *,
    yes: bool,
    force: bool,
    lineage: str,
    drain_seconds: float,
) -> int:
    """anykube reset NODE."""
    from anykube.cli.target import target
    from anykube.resetting import reset

    if yes and file is None and name is None:
        raise UsageError("reset --yes does not guess the cluster.", remedy="name it with -c or -f")
    found = target(file, name)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await reset(
            found.cluster,
            node,
            force=force,
            lineage=lineage,
            approve=_typed_approval("node", node, yes=yes),
            emit=show,
            stop=stop,
            drain_seconds=drain_seconds,
        )

    return _reset_ended(node, run_to_its_end(work, output), output)


def run_reset_machine(endpoint: Endpoint, key: Path, output: Output, *, yes: bool, lineage: str) -> int:
    """anykube reset --address."""
    from anykube.resetting import reset_machine

    async def work(stop: StopFlag, show: Progress) -> Report:
        approve = _typed_approval("address", endpoint.address, yes=yes)
        return await reset_machine(endpoint, key, lineage=lineage, approve=approve, emit=show)

    return _reset_ended(endpoint.address, run_to_its_end(work, output), output)


def _typed_approval(what: str, word: str, *, yes: bool) -> Callable[[Plan], bool]:
    """For what must not be confirmed in passing: all of the plan is shown, and a name typed."""

    def approve(plan: Plan) -> bool:
        from anykube.plan.render import lines

        message("\n".join(lines(plan)))
        return yes or typed(f"Type the {what} to reset it:", word)

    return approve


def _reset_ended(name: str, report: Report, output: Output) -> int:
    if output is not Output.JSON:
        done = "as before anykube." if report.done else "kept as it is."
        message(f"{name}: " + ("nothing of anykube is there." if report.unchanged else done))
    return 0


def _ended(report: Report, found: Target, output: Output) -> int:
    if output is not Output.JSON:
        from anykube.cli.ending import finish

        finish(report, found, live=is_live())
    return 0


def run_destroy(file: Path | None, name: str | None, output: Output, *, yes: bool) -> int:
    """anykube destroy."""
    from anykube.cli.target import target
    from anykube.workflow import destroy

    found = target(file, name)

    async def work(stop: StopFlag, show: Progress) -> Report:
        question = f"Destroy {found.cluster.name} and all data in it?"
        approve = approval(question, show, output, yes=yes)
        return await destroy(found.cluster, approve=approve, emit=show, stop=stop)

    report = run_to_its_end(work, output)
    if output is not Output.JSON:
        gone = "nothing was there." if report.unchanged else "is gone." if report.approved else "was kept."
        message(f"{found.cluster.name} {gone}")
    return 0


def approval(question: str, show: Progress, output: Output, *, yes: bool) -> Callable[[Plan], bool]:
    def approve(plan: Plan) -> bool:
        from anykube.plan.removals import removed_addons
        from anykube.plan.render import lines, summary

        if output is Output.JSON:
            return yes or confirm(question)
        if yes:
            message(summary(plan))
            return True
        message("\n".join(lines(plan)))
        if gone := removed_addons(plan):
            return typed(f"Type the name of the cluster to remove {', '.join(gone)} from it:", plan.cluster)
        return plan.empty or confirm(question)

    return approve


def run_to_its_end(work: Callable[[StopFlag, Progress], Awaitable[T]], output: Output) -> T:
    """Run a change with its progress shown; the first Ctrl-C stops it in order, the second at once."""
    show: list[Progress] = []

    async def main() -> T:
        from anykube.execute.engine import StopFlag

        stop = StopFlag()
        consumer = _Lazy(output, show)
        task = asyncio.ensure_future(work(stop, consumer))
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if stop.stopping:
                task.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt)
        ticking = asyncio.ensure_future(_tick(consumer))
        try:
            return await task
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            ticking.cancel()
            consumer.close()

    return asyncio.run(main())


class _Lazy:
    """Starts the real consumer with the first event: questions before it are asked on a calm terminal."""

    def __init__(self, output: Output, made: list[Progress]) -> None:
        self._output = output
        self._made = made

    def __call__(self, event: object) -> None:
        if not self._made:
            self._made.append(progress(self._output))
        self._made[0](event)  # type: ignore[arg-type]

    def tick(self) -> None:
        """Pass time on, once there is someone to tell."""
        if self._made:
            self._made[0].tick()

    def close(self) -> None:
        """Close what was opened."""
        if self._made:
            self._made.pop().close()


async def _tick(consumer: Progress) -> None:
    while True:
        await asyncio.sleep(TICK)
        consumer.tick()
