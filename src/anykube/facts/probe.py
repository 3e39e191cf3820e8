"""All facts of a host in one command: how it is asked (text in probe_script.py), and how its answer is read.

observe/hosts.py sends `script(...)` and gives what comes back to `parse`. Nothing on the host changes but the
stamps (see content/paths.py): a large file is hashed once, and again when its size, mtime or ctime differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from anykube.errors import AnswerError
from anykube.facts import etcd_answers
from anykube.facts.backup import NodeBackups
from anykube.facts.backup import parse as parse_backups
from anykube.facts.etcd import View
from anykube.facts.host import FileFacts, HostFacts, LedgerFacts, SystemFacts, UnitFacts
from anykube.facts.ledger import KINDS
from anykube.facts.probe_script import DISKS, STAMP_SHELL, TEXT

__all__ = ["PATH", "STAMP_SHELL", "UNIT", "parse", "script"]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

ANSWER_LIMIT = 4 * 1024 * 1024
LINE_LIMIT = 8192
PATH = re.compile(r"/[^\x00-\x1f\x7f\\\ufffd]{0,4095}(?<!\s)")
UNIT = re.compile(r"[A-Za-z0-9:_.@-]{1,200}")
SHA256 = re.compile(r"[0-9a-f]{64}")
_OWN_LINES = ("data", "born", "backup")
"""What lines of the section of etcd begin with that etcd does not answer: those are JSON."""
WORD = re.compile(r"[A-Za-z0-9._:+~-]{1,255}")
_SECTIONS = ("@system", "@files", "@units", "@inputs", "@ledger", "@etcd", "@tools", "@end")


def script(paths: Sequence[str], units: Sequence[str], programs: Sequence[str] = ()) -> list[str]:
    """The argument list that asks a host for everything about itself, and about these files, units and
    programs."""
    for path in paths:
        if not PATH.fullmatch(path):
            raise ValueError(f"not a path that can be asked for: {path!r}")
    for unit in units:
        if not UNIT.fullmatch(unit):
            raise ValueError(f"not the name of a unit: {unit!r}")
    for program in programs:
        if not WORD.fullmatch(program):
            raise ValueError(f"not the name of a program: {program!r}")
    return ["sh", "-c", TEXT, "anykube-probe", *("\n".join(asked) for asked in (paths, units, programs))]


def parse(name: str, text: str) -> HostFacts:
    """The facts in an answer. Anything unexpected after the first line of the answer is an AnswerError."""
    sections = _split(name, text)
    try:
        return HostFacts(
            name=name,
            system=_system(sections["@system"]),
            files=_files(sections["@files"]),
            units=_units(sections["@units"], sections["@inputs"]),
            ledger=_ledger(sections["@ledger"]),
            etcd=_etcd(sections["@etcd"]),
            etcd_data="data" in sections["@etcd"],
            etcd_born="born" in sections["@etcd"],
            backups=_backups(sections["@etcd"]),
            tools=frozenset(map(_word, sections["@tools"])),
        )
    except _NotUnderstood as error:
        raise _refusal(name, str(error)) from None


class _NotUnderstood(Exception):
    """A line that the script does not print."""


def _refusal(name: str, evidence: str) -> AnswerError:
    shown = "".join(character if character.isprintable() else "·" for character in evidence[:200])
    return AnswerError(
        f"{name}: the probe's answer is not understood.",
        evidence=[shown or "an empty answer"],
        remedy="Look whether the login shell or a wrapper on that host prints or changes output.",
    )


def _split(name: str, text: str) -> Mapping[str, list[str]]:
    """The lines of each section. Noise before the first is dropped: banners come from login shells."""
    _, found, body = text[: ANSWER_LIMIT + 1].partition("@anykube-probe\n")
    if len(text) > ANSWER_LIMIT:
        raise _refusal(name, f"{len(text)} characters, more than {ANSWER_LIMIT}")
    if not found:
        raise _refusal(name, text)
    sections: dict[str, list[str]] = {}
    waiting = list(_SECTIONS)
    for line in body.split("\n"):
        if waiting and line == waiting[0]:
            current = sections.setdefault(waiting.pop(0), [])
        elif not sections or len(line) > LINE_LIMIT:
            raise _refusal(name, line)
        else:
            current.append(line)
    if waiting or sections["@end"] != [""]:
        raise _refusal(name, f"the answer is cut off or goes on: {body[-100:]}")
    return sections


def _system(lines: Sequence[str]) -> SystemFacts:
    values: dict[str, str] = {}
    interfaces: dict[str, str] = {}
    free: list[str] = []
    for number, line in enumerate(lines):
        key, _, value = line.partition(" ")
        match key:
            case "address":
                address, _, interface = value.partition(" ")
                interfaces[_word(address)] = _word(interface)
            case "free":
                free.append(value)
            case "systemd":
                values[key] = value.removeprefix("systemd ").partition(" ")[0]
            case _ if key in _SYSTEM_KEYS and key not in values:
                values[key] = value.strip().strip("\"'")
            case _ if number and values.get("systemd") and line[:1] in "+-":
                continue  # the second line of `systemctl --version`: its compile options
            case _:
                raise _NotUnderstood(line)
    hostname, kernel, arch = _uname(values.get("uname", ""))
    return SystemFacts(
        hostname=hostname,
        os=_word(values.get("os", "unknown")),
        os_version=_word(values.get("os-version", "unknown")),
        arch=ARCHITECTURES.get(arch, arch),
        kernel=kernel,
        machine_id=_word(values.get("machine-id", "unknown")),
        boot_id=_word(values.get("boot-id", "unknown")),
        systemd=_number(values.get("systemd", "")),
        container=values.get("container", "none") != "none",
        cgroup=_number(values.get("cgroup", "")),
        capabilities=_number(values.get("capabilities", ""), base=16),
        cpus=_number(values.get("cpus", "")),
        memory=_number(values.get("memory", "")) // 1024,
        swap=_number(values.get("swap", "")) // 1024,
        clock=_clock(values.get("clock", "")),
        mtu=_number(values.get("mtu", "")),
        disk_free=_free(free),
        addresses=tuple(interfaces),
        interfaces=interfaces,
    )


_SYSTEM_KEYS = (
    *("os", "os-version", "uname", "machine-id", "boot-id", "container", "cgroup", "capabilities"),
    *("cpus", "memory", "swap", "clock", "mtu"),
)


def _uname(value: str) -> tuple[str, str, str]:
    words = value.split(" ")
    if len(words) != 3:
        return "unknown", "unknown", "unknown"
    return _word(words[0]), _word(words[1]), _word(words[2])


def _word(value: str) -> str:
    if not WORD.fullmatch(value):
        raise _NotUnderstood(value)
    return value


def _number(value: str, base: int = 10) -> int:
    """A count, or 0 when it is unknown."""
    if not value:
        return 0
    if not re.fullmatch(r"[0-9a-f]{1,16}" if base == 16 else r"[0-9]{1,16}", value):
        raise _NotUnderstood(value)
    return int(value, base)


def _clock(value: str) -> float:
    seconds, _, fraction = value.partition(".")
    return float(f"{_number(seconds)}.{fraction if re.fullmatch(r'[0-9]{1,9}', fraction) else 0}")


def _free(lines: Sequence[str]) -> Mapping[str, int]:
    if len(lines) != len(DISKS):
        return {}
    blocks = [line.partition(" ") for line in lines]
    return {
        disk: _number(free) * _number(size) // 2**20
        for disk, (free, _, size) in zip(DISKS, blocks, strict=True)
    }


def _files(lines: Iterable[str]) -> Mapping[str, FileFacts]:
    """Regular files with their hash. Anything else has its kind as mode, so that it differs from a file."""
    found: dict[str, tuple[str, str]] = {}
    hashes: dict[str, str] = {}
    for line in lines:
        match line.split(" ", 4):
            case ["stat", kind, mode, owner, path] if PATH.fullmatch(path) and re.fullmatch(
                "[0-7]{1,4}", mode
            ):
                found[path] = (_mode(kind, mode), owner)
            case ["hash", sha256, *rest] if SHA256.fullmatch(sha256) and " ".join(rest) in found:
                hashes[" ".join(rest)] = sha256
            case _:
                raise _NotUnderstood(line)
    return {
        path: FileFacts(hashes.get(path, ""), mode, owner)
        for path, (mode, owner) in found.items()
        if path in hashes or not mode.isdigit()
    }


def _mode(kind: str, mode: str) -> str:
    if not re.fullmatch("[0-9a-f]{4}", kind):
        raise _NotUnderstood(kind)
    return {"8": mode, "a": "symlink", "4": "directory"}.get(kind[0], "special")


def _units(lines: Iterable[str], inputs: Iterable[str]) -> Mapping[str, UnitFacts]:
    asked: list[str] = []
    blocks: list[dict[str, str]] = [{}]
    for line in lines:
        key, equals, value = line.partition("=")
        if line.startswith("asked ") and UNIT.fullmatch(line[6:]):
            asked.append(line[6:])
        elif not line:
            blocks.append({})
        elif equals and key in ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload"):
            blocks[-1][key] = _word(value) if value else ""
        else:
            raise _NotUnderstood(line)
    answered = [block for block in blocks if block]
    if not answered:
        answered = [{"LoadState": "unknown", "ActiveState": "unknown"} for _ in asked]
    if len(answered) != len(asked):
        raise _NotUnderstood(f"{len(asked)} units were asked for, {len(answered)} answered")
    recorded = _inputs(inputs)
    return {unit: _unit(block, recorded.get(unit, {})) for unit, block in zip(asked, answered, strict=True)}


def _unit(block: Mapping[str, str], inputs: Mapping[str, str]) -> UnitFacts:
    return UnitFacts(
        load=block.get("LoadState", "unknown"),
        active=block.get("ActiveState", "unknown"),
        enabled=block.get("UnitFileState") == "enabled",
        needs_reload=block.get("NeedDaemonReload") == "yes",
        inputs=inputs,
    )


def _etcd(lines: Sequence[str]) -> View | None:
    try:
        return etcd_answers.view([line for line in lines if not line.startswith(_OWN_LINES)])
    except ValueError as error:
        raise _NotUnderstood(str(error)) from None


def _backups(lines: Sequence[str]) -> NodeBackups:
    """At most one line of each; the script's own lines come before what etcd answers."""
    words = [line.partition(" ") for line in lines]
    last, failed = (
        next((rest for word, _, rest in words if word == wanted), "")
        for wanted in ("backup", "backup-failed")
    )
    try:
        return parse_backups(last, failed)
    except ValueError as error:
        raise _NotUnderstood(str(error)) from None


def _inputs(lines: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
    recorded: dict[str, dict[str, str]] = {}
    for line in lines:
        match line.split(" ", 3):
            case ["input", unit, sha256, path] if SHA256.fullmatch(sha256) and PATH.fullmatch(path):
                recorded.setdefault(unit, {})[path] = sha256
            case _:
                raise _NotUnderstood(line)
    return recorded


def _ledger(lines: Iterable[str]) -> LedgerFacts:
    lineage, epoch = "", 0
    paths: set[str] = set()
    units: set[str] = set()
    traces: set[str] = set()
    others: set[str] = set()
    for line in lines:
        match line.split(" ", 2):
            case ["owner", owner, number]:
                lineage, epoch = _word(owner), _number(number)
            case ["noted", "file" | "original" | "directory" as kind, path] if PATH.fullmatch(path):
                paths.add(path)
                traces.update(() if kind != "original" else (f"{kind} {path}",))
            case ["noted", "unit", unit] if UNIT.fullmatch(unit):
                units.add(unit)
            case ["noted", kind, name] if kind in KINDS and name.isprintable():
                traces.add(f"{kind} {name}")
            case ["other", *container] if " ".join(container).isprintable():
                others.add(" ".join(container))
            case _:
                raise _NotUnderstood(line)
    return LedgerFacts(
        lineage, epoch, frozenset(paths), frozenset(units), frozenset(traces), frozenset(others)
    )
