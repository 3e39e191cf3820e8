"""The distribution's own apt sources, read from this machine's files and rewritten for a suite. Pure.

Nodes are made from the same place that this machine gets its packages from: a company's mirror, a
snapshot, the public archive. No host name of an archive is written anywhere in anykube.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from anykube.errors import ProviderError

NEWEST_FOR_CGROUP_V1 = {"debian": "bookworm", "ubuntu": "noble"}
"""systemd from 256 on does not start on cgroup v1: these are the last suites that have an older one."""
RUNS_ON_CGROUP_V1 = frozenset({"buster", "bullseye", "bookworm", "focal", "jammy", "noble"})
SYSTEMD = {"bullseye": 247, "bookworm": 252, "trixie": 257, "focal": 245, "jammy": 249, "noble": 255}
RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13", "focal": "20.04", "jammy": "22.04"}
RELEASES |= {"noble": "24.04"}
ALIASES = frozenset({"stable", "oldstable", "testing", "unstable", "sid"})

Stanza = Mapping[str, str]


def suite(distribution: str, codename: str, cgroup: int) -> str:
    """The suite that nodes are made from: this machine's own, unless its systemd cannot run here."""
    if distribution not in NEWEST_FOR_CGROUP_V1 or not codename:
        raise ProviderError(
            "LXC nodes are made from Debian or Ubuntu packages, with the sources of this machine.",
            evidence=[f"this machine is {distribution or 'unknown'} {codename}"],
            remedy="use the machines provider, or run anykube on Debian or Ubuntu",
        )
    if cgroup == 2 or codename in RUNS_ON_CGROUP_V1:
        return codename
    return NEWEST_FOR_CGROUP_V1[distribution]


def parse(texts: Iterable[tuple[str, str]]) -> tuple[Stanza, ...]:
    """All enabled binary sources as deb822 stanzas, from (file name, text) of both formats."""
    found: list[Stanza] = []
    for name, text in texts:
        found.extend(_deb822(text) if name.endswith(".sources") else _one_line(text))
    return tuple(found)


def own(stanzas: Sequence[Stanza], distribution: str, codename: str, wanted: str) -> str:
    """A sources file with the distribution's own entries only, for `wanted`; others are left out:
    a vendor's repository neither has what a node needs nor may add to it."""
    kept = [
        _rewritten(stanza, suites, distribution, codename, wanted)
        for stanza in stanzas
        if (suites := _own_suites(stanza, distribution, codename))
    ]
    if not kept:
        raise ProviderError(
            f"This machine has no apt source of {distribution} {codename} itself.",
            evidence=["read /etc/apt/sources.list and /etc/apt/sources.list.d"],
            remedy="add the distribution's own archive (component main) there",
        )
    return "\n".join(kept)


def _deb822(text: str) -> Iterator[Stanza]:
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t") and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false")
        if "deb" in fields.get("types", "").split() and enabled:
            yield fields


def _one_line(text: str) -> Iterator[Stanza]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match is None or match[2].startswith("cdrom:"):
            continue
        options = dict(part.split("=", 1) for part in shlex.split(match[1] or "") if "=" in part)
        fields = {"types": "deb", "uris": match[2], "suites": match[3], "components": match[4].strip()}
        if "signed-by" in options:
            fields["signed-by"] = options["signed-by"]
        yield fields


def _own_suites(stanza: Stanza, distribution: str, codename: str) -> list[str]:
    """The suites of a stanza that are the distribution's, without backports and proposed updates."""
    signed = stanza.get("signed-by", "")
    keyring = re.search(r"/([^/\s]+)$", signed) if signed.startswith("/") else None
    if keyring and not keyring[1].startswith(f"{distribution}-"):
        return []
    if "main" not in stanza.get("components", "").split():
        return []
    wanted = {f"{name}{end}" for name in (codename, *ALIASES) for end in ("", "-updates", "-security")}
    return [name for name in stanza.get("suites", "").split() if name in wanted]


def _rewritten(stanza: Stanza, suites: list[str], distribution: str, codename: str, wanted: str) -> str:
    components = stanza["components"].split()
    if distribution == "ubuntu" and "universe" not in components:
        components.append("universe")
    renamed = [re.sub(r"^[a-z]+", wanted, name) if wanted != codename else name for name in suites]
    fields = {
        "Types": "deb",
        "URIs": stanza["uris"],
        "Suites": " ".join(renamed),
        "Components": " ".join(components),
    }
    if "signed-by" in stanza:
        fields["Signed-By"] = stanza["signed-by"]
    return "".join(f"{key}: {value}\n" for key, value in fields.items())
