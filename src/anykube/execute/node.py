"""Our hand on one node: what handlers.py calls to change it. One round trip per call.

Each call carries the lineage of the cluster and the epoch of the run. A node that belongs to another
cluster, or that has seen a newer run, refuses (FencedError); so a run that was thought dead cannot interfere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from anykube.content.model import File, Source
from anykube.content.node import unit_traces
from anykube.errors import CommandError, FencedError
from anykube.execute import node_scripts
from anykube.execute.archive import pack, require_plain, stream
from anykube.execute.clean_script import CLEAN
from anykube.facts.probe import UNIT
from anykube.transports.base import Result, Transport
from anykube.transports.exchange import Input

Resolve = Callable[[Source], tuple[bytes | Path, str]]
"""The bytes of a source, or the local file that holds them, and their sha256."""

UNIT_STATES = ("started", "restarted", "reloaded", "stopped", "absent")
BASE_SECONDS = 60.0
UNIT_SECONDS = 330.0
"""Longer than systemd's own limit for a start (content/unit.py), so that systemd tells what is wrong."""
BYTES_PER_SECOND = 1_000_000
"""A link slower than this is not waited for."""


class NodeHand:
    """Changes one node over its transport. `made`: whether anykube made the machine, so that nothing on it is
    somebody else's."""

    def __init__(
        self, transport: Transport, lineage: str, epoch: int, resolve: Resolve, *, made: bool = False
    ) -> None:
        self._transport = transport
        self._lineage = lineage
        self._epoch = epoch
        self._resolve = resolve
        self._made = "made" if made else ""

    async def put(self, files: Sequence[File], directories: Sequence[tuple[str, str, str]] = ()) -> None:
        """Make directories (mode, owner, path) and place files: verified all together, then renamed."""
        parcels = [pack(file, *self._resolve(file.source)) for file in files]
        for _, _, path in directories:
            require_plain(path)
        seconds = BASE_SECONDS + sum(parcel.size for parcel in parcels) / BYTES_PER_SECOND
        content = stream(parcels, directories)
        await self._run(f"placing {len(files)} files", node_scripts.PUT, (self._made,), content, seconds)

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove files that the ledger lists; others are not ours and stay."""
        for path in paths:
            require_plain(path)
        await self.listed(f"removing {len(paths)} files", node_scripts.REMOVE, (), paths, BASE_SECONDS)

    async def set_unit(self, unit: str, state: str) -> None:
        """Bring a unit to 'started' (and enabled), 'restarted', 'reloaded', 'stopped' or 'absent'.

        A failure carries the unit's status and the end of its journal as evidence.
        """
        if not UNIT.fullmatch(unit) or state not in UNIT_STATES:
            raise ValueError(f"not a unit and a state: {unit!r}, {state!r}")
        arguments = (unit, state, self._made, *unit_traces().get(unit, ()))
        await self._run(f"{unit} {state}", node_scripts.SET_UNIT, arguments, None, UNIT_SECONDS)

    async def clean(self) -> None:
        """Remove everything the ledger lists and what those things made; the ledger itself last."""
        await self._run("cleaning the node", CLEAN, (), None, UNIT_SECONDS)

    async def script(
        self,
        what: str,
        text: str,
        arguments: Sequence[str],
        seconds: float = BASE_SECONDS,
        *,
        tolerant: bool = False,
    ) -> str:
        """Run one more script that begins with the fence; its output. `tolerant`: any status will do."""
        return await self._run(what, text, arguments, None, seconds, tolerant=tolerant)

    async def listed(
        self, what: str, text: str, arguments: Sequence[str], lines: Sequence[str], seconds: float
    ) -> None:
        """Run a script that begins with the fence and reads lines, and 'end'."""
        content = "".join(f"{line}\n" for line in [*lines, "end"]).encode()
        await self._run(what, text, arguments, content, seconds)

    async def _run(
        self,
        what: str,
        script: str,
        arguments: Sequence[str],
        stdin: Input,
        seconds: float,
        *,
        tolerant: bool = False,
    ) -> str:
        argv = ["sh", "-c", script, "anykube", self._lineage, str(self._epoch), *arguments]
        result = await self._transport.run(argv, stdin=stdin, seconds=seconds)
        if result.status == node_scripts.FENCED and node_scripts.FENCED_WORD in result.stderr:
            raise self._fenced(result)
        if result.status and not (tolerant and result.stdout):
            raise CommandError(self._transport.name, what, result.status, result.stderr)
        return result.stdout

    def _fenced(self, result: Result) -> FencedError:
        _, _, why = result.stderr.partition(node_scripts.FENCED_WORD)
        other = why.strip().startswith("other lineage")
        return FencedError(
            f"{self._transport.name} belongs to another cluster."
            if other
            else f"{self._transport.name} has been changed by a newer run; this one is out of date.",
            evidence=[f"on the node: {why.strip()[:200]}", f"this run: {self._lineage} {self._epoch}"],
            remedy="Use another machine, or reset that one with the cluster it belongs to."
            if other
            else "Let the newer run finish, then: anykube apply",
        )
