"""All facts of a host in one command: the script that asks, and the parser of its answer, side by side.

observe/hosts.py sends `script(...)` and gives what comes back to `parse`. The script needs a POSIX shell and
coreutils; a tool that is missing makes its fact unknown. It changes nothing on the host but the stamps (see
content/paths.py): a large file is hashed once, and again only when its size, mtime or ctime changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from anykube.errors import AnswerError
from anykube.facts.host import FileFacts, HostFacts, LedgerFacts, SystemFacts, UnitFacts

LEDGER = "/var/lib/anykube/ledger"
OWNER = "/var/lib/anykube/owner"
STAMPS = "/var/lib/anykube/stamps"
STAMP_THRESHOLD = 1024 * 1024
INPUTS = "/run/anykube/inputs"
"""The same as in content/paths.py, which this room must not import; a test keeps them equal."""

DISKS = ("/", "/var/lib/etcd", "/var/lib/containerd", "/var/lib/kubelet")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

ANSWER_LIMIT = 4 * 1024 * 1024
LINE_LIMIT = 8192
PATH = re.compile(r"/[^\x00-\x1f\x7f\\\ufffd]{0,4095}(?<!\s)")
UNIT = re.compile(r"[A-Za-z0-9:_.@-]{1,200}")
SHA256 = re.compile(r"[0-9a-f]{64}")
WORD = re.compile(r"[A-Za-z0-9._:+~-]{1,255}")

STAMP_SHELL = r"""
stamp_of() {
    rest=${1#/}
    stamp=%
    while :; do case $rest in */*) stamp="$stamp${rest%%/*}%"; rest=${rest#*/} ;; *) break ;; esac; done
    stamp="$STAMPS/$stamp$rest"
}
write_stamp() {
    stamp_of "$1"
    mkdir -p "$STAMPS" && printf '%s %s\n' "$2" "$3" >"$stamp.new" && mv -f "$stamp.new" "$stamp"
}
"""
"""Shell functions, shared with execute/node.py: where the stamp of a path is, and how it is written."""

_SCRIPT = (
    r"""
export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$2"; }
first_line() { line=; [ ! -r "$2" ] || IFS= read -r line <"$2"; say "$1" "$line"; }
noted() { [ ! -r "$LEDGER" ] || while IFS= read -r line; do
    case $line in "$1 "*) printf '%s\n' "${line#"$1 "}" ;; esac; done <"$LEDGER"; }
in_system() {
    [ ! -r /etc/os-release ] || while IFS='=' read -r key value; do
        case $key in ID) say os "$value" ;; VERSION_ID) say os-version "$value" ;; esac
    done </etc/os-release
    say uname "$(uname -n -r -m)"
    first_line machine-id /etc/machine-id
    first_line boot-id /proc/sys/kernel/random/boot_id
    say systemd "$(systemctl --version 2>/dev/null)"
    contained=
    [ ! -r /run/systemd/container ] || IFS= read -r contained </run/systemd/container
    [ -n "$contained" ] || contained=$(systemd-detect-virt -c 2>/dev/null)
    say container "$contained"
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup 2
    elif [ -d /sys/fs/cgroup ]; then say cgroup 1; fi
    [ ! -r /proc/1/status ] || while read -r key value; do
        case $key in CapBnd:) say capabilities "$value" ;; esac
    done </proc/1/status
    say cpus "$(nproc 2>/dev/null)"
    [ ! -r /proc/meminfo ] || while read -r key value unit; do
        case $key in MemTotal:) say memory "$value" ;; SwapTotal:) say swap "$value" ;; esac
    done </proc/meminfo
    say clock "$(date +%s.%N)"
    device=
    [ ! -r /proc/net/route ] || while read -r name target rest; do
        case $target in 00000000) device=$name; break ;; esac
    done </proc/net/route
    [ -n "$device" ] || device=$(ip -6 route show default 2>/dev/null |
        awk '{ for (i = 1; i < NF; i++) if ($i == "dev") { print $(i + 1); exit } }')
    [ -z "$device" ] || first_line mtu "/sys/class/net/$device/mtu"
    ip -o addr show scope global 2>/dev/null | while read -r number name family address rest; do
        case $family in inet | inet6) say address "${address%%/*}" ;; esac
    done
    free_space
}
free_space() {
    set --
    for disk in $DISKS; do
        while [ ! -d "$disk" ]; do disk=${disk%/*}; disk=${disk:-/}; done
        set -- "$@" "$disk"
    done
    stat -f -c 'free %a %S' "$@" 2>/dev/null
}
in_files() {
    pending=
    stats=$({ printf '%s\n' "$1"; noted file; } | sort -u | tr '\n' '\0' |
        xargs -0 -r stat -c '%f %a %U:%G %s %y %z %n' 2>/dev/null)
    while read -r type mode owner size mday mtime mzone cday ctime czone path; do
        [ -n "$path" ] || continue
        printf 'stat %s %s %s %s\n' "$type" "$mode" "$owner" "$path"
        case $type in 8???) ;; *) continue ;; esac
        if [ "$size" -lt "$THRESHOLD" ]; then pending="$pending$path$newline"
        else large_file "$path" "$size:${mday}T$mtime:${cday}T$ctime"; fi
    done <<STATS
$stats
STATS
    printf '%s' "$pending" | tr '\n' '\0' | xargs -0 -r sha256sum 2>/dev/null |
        while read -r hash path; do printf 'hash %s %s\n' "$hash" "$path"; done
}
large_file() {
    known= hash=
    stamp_of "$1"
    [ ! -r "$stamp" ] || read -r known hash <"$stamp"
    if [ "$known" != "$2" ] || [ ${#hash} -ne 64 ]; then
        hash=$(sha256sum "$1" 2>/dev/null) || return
        hash=${hash%% *}
        write_stamp "$1" "$2" "$hash" 2>/dev/null
    fi
    printf 'hash %s %s\n' "$hash" "$1"
}
in_units() {
    units=$({ printf '%s\n' "$1"; noted unit; } | sort -u)
    set -f
    IFS=$newline
    set -- $units
    unset IFS
    set +f
    [ $# -gt 0 ] || return 0
    printf 'asked %s\n' "$@"
    systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -- "$@" 2>/dev/null
}
in_inputs() {
    for file in "$INPUTS"/*; do
        [ ! -r "$file" ] || while read -r hash path; do
            printf 'input %s %s %s\n' "${file##*/}" "$hash" "$path"
        done <"$file"
    done
}
in_ledger() {
    first_line owner "$OWNER"
    [ ! -r "$LEDGER" ] || while IFS= read -r line; do say noted "$line"; done <"$LEDGER"
}
newline='
'
"""
    + STAMP_SHELL
    + r"""
echo '@anykube-probe'
echo '@system'; in_system
echo '@files'; in_files "$1"
echo '@units'; in_units "$2"
echo '@inputs'; in_inputs
echo '@ledger'; in_ledger
echo '@end'
"""
)
_SECTIONS = ("@system", "@files", "@units", "@inputs", "@ledger", "@end")
_HEAD = (
    f"LEDGER={LEDGER} OWNER={OWNER} STAMPS={STAMPS} THRESHOLD={STAMP_THRESHOLD} INPUTS={INPUTS}\n"
    f"DISKS='{' '.join(DISKS)}'\n"
)


def script(paths: Sequence[str], units: Sequence[str]) -> list[str]:
    """The argument list that asks a host for everything about itself and about these files and units."""
    for path in paths:
        if not PATH.fullmatch(path):
            raise ValueError(f"not a path that can be asked for: {path!r}")
    for unit in units:
        if not UNIT.fullmatch(unit):
            raise ValueError(f"not the name of a unit: {unit!r}")
    return ["sh", "-c", _HEAD + _SCRIPT, "anykube-probe", "\n".join(paths), "\n".join(units)]


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
    addresses: list[str] = []
    free: list[str] = []
    for number, line in enumerate(lines):
        key, _, value = line.partition(" ")
        match key:
            case "address":
                addresses.append(_word(value))
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
        addresses=tuple(addresses),
    )


_SYSTEM_KEYS = frozenset(
    "os os-version uname machine-id boot-id container cgroup capabilities cpus memory swap clock mtu".split()
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
    """Regular files with their hash. What is something else has its kind as mode: it differs from any file."""
    found: dict[str, tuple[str, str]] = {}
    hashes: dict[str, str] = {}
    for line in lines:
        match line.split(" ", 4):
            case ["stat", kind, mode, owner, path] if PATH.fullmatch(path) and re.fullmatch("[0-7]{1,4}", mode):
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
    return {
        unit: _unit(block, recorded.get(unit, {})) for unit, block in zip(asked, answered, strict=True)
    }


def _unit(block: Mapping[str, str], inputs: Mapping[str, str]) -> UnitFacts:
    return UnitFacts(
        load=block.get("LoadState", "unknown"),
        active=block.get("ActiveState", "unknown"),
        enabled=block.get("UnitFileState") == "enabled",
        needs_reload=block.get("NeedDaemonReload") == "yes",
        inputs=inputs,
    )


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
    for line in lines:
        match line.split(" ", 2):
            case ["owner", owner, number]:
                lineage, epoch = _word(owner), _number(number)
            case ["noted", "file" | "directory", path] if PATH.fullmatch(path):
                paths.add(path)
            case ["noted", "unit", unit] if UNIT.fullmatch(unit):
                units.add(unit)
            case _:
                raise _NotUnderstood(line)
    return LedgerFacts(lineage, epoch, frozenset(paths), frozenset(units))
