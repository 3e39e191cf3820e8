"""systemd units built as data: the one place that knows systemd's quoting. Used by every component here.

Nothing written by a user reaches a unit unescaped: '%' starts a specifier and '$' a variable for systemd,
and white space or quotes would split an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from anykube.content.model import File, Text, Unit
from anykube.content.paths import LIBRARY, UNITS

RECORD_INPUTS = f"{LIBRARY}/record-inputs"
UNIT_MODE = "600"
"""CIS 4.1.1: readable by root only, although systemd would take 644."""
START_SECONDS = 300
"""A slow machine replaying a large log is left alone for this long before it is started again."""
OOM_CRITICAL = -997
"""The score that the kubelet gives to static pods of a control plane."""

Settings = Sequence[tuple[str, str]]
"""Ordered keys and values of a section; a key may occur more than once."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=.,:/+@")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}


def quote(argument: str) -> str:
    """One argument of a command line as systemd reads it back: literally."""
    if argument and _PLAIN.issuperset(argument):
        return argument
    return '"' + "".join(_escape(character) for character in argument) + '"'


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if ord(character) < 32 or ord(character) == 127:
        return f"\\x{ord(character):02x}"
    return character


def command_line(arguments: Sequence[str]) -> str:
    """A command with one argument a line, so that a unit can be read and compared."""
    return " \\\n    ".join(quote(argument) for argument in arguments)


def flags(values: Mapping[str, str | bool | int | Iterable[str]]) -> tuple[str, ...]:
    """Long options of a Go program, sorted: booleans in lower case, lists joined by commas."""
    return tuple(f"--{name}={_flag(values[name])}" for name in sorted(values))


def _flag(value: str | bool | int | Iterable[str]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    return ",".join(value)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that anykube installs. `inputs` are the files whose change means a restart, without the unit.

    kind: 'notify' says itself when it serves, 'oneshot' has done its work when it ends, 'exec' says nothing.
    reload: command lines, in systemd's own quoting, that have a running process take over changed inputs.
    live: inputs that the process reads again by itself: a reload only notes that it has.
    wants: units that are started with it.  bound_to: stops whenever that unit stops.
    """

    name: str
    description: str
    command: Sequence[str]
    kind: Literal["notify", "exec", "oneshot"]
    inputs: Sequence[str] = ()
    after: Sequence[str] = ()
    settings: Settings = field(default=())
    reload: Sequence[str] = ()
    live: Sequence[str] = ()
    wants: Sequence[str] = ()
    bound_to: str = ""

    @property
    def path(self) -> str:
        """Where the unit file is."""
        return f"{UNITS}/{self.name}"

    @property
    def unit(self) -> Unit:
        """The unit as the planner sees it."""
        reloadable = frozenset(self.inputs if self.reload else self.live)
        return Unit(self.name, (self.path, *dict.fromkeys(self.inputs)), reloadable)

    def file(self) -> File:
        """The unit file."""
        sections: dict[str, Settings] = {
            "Unit": self._unit_section(),
            "Service": self._service_section(),
            "Install": (("WantedBy", "multi-user.target"),),
        }
        return File(self.path, Text(render(sections)), UNIT_MODE)

    def _unit_section(self) -> Settings:
        bound = (self.bound_to,) if self.bound_to else ()
        after = " ".join(("network.target", *self.after, *bound))
        section = [("Description", self.description.replace("%", "%%")), ("After", after)]
        section += [("BindsTo", unit) for unit in bound]
        section += [("Wants", unit) for unit in self.wants]
        if self.kind != "oneshot":
            # Without a limit systemd would give up after five quick failures and leave the service dead.
            section.append(("StartLimitIntervalSec", "0"))
        return section

    def _service_section(self) -> Settings:
        # '-': a record that cannot be written costs a restart in the next run, not the service now.
        # '+': as root, whatever user the service has.
        record = "-+" + command_line((RECORD_INPUTS, self.name, *self.unit.inputs))
        section = [("Type", self.kind), ("ExecStartPre", record), ("ExecStart", command_line(self.command))]
        if self.reload or self.live:
            section += [("ExecReload", line) for line in (record, *self.reload)]
        if self.kind == "oneshot":
            section.append(("RemainAfterExit", "yes"))
        else:
            section.extend((("Restart", "always"), ("RestartSec", "1")))
        section.append(("TimeoutStartSec", str(START_SECONDS)))
        return (*section, *self.settings)


def render(sections: Mapping[str, Settings]) -> str:
    """The text of a unit file."""
    return "\n".join(_section(name, settings) for name, settings in sections.items())


def _section(name: str, settings: Settings) -> str:
    return "".join((f"[{name}]\n", *(f"{key}={value}\n" for key, value in settings)))


def oom_score(constrained: bool, score: int = OOM_CRITICAL) -> Settings:
    """Protection from the kernel's out-of-memory killer, where the host lets us lower the score."""
    return () if constrained else (("OOMScoreAdjust", str(score)),)
