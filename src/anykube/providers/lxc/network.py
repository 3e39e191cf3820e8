"""The cluster's bridge and its firewall table: made, measured and removed.

What exists is read from the kernel every time; only the digest of the firewall's rules as nft printed them is
kept, to see a change by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from anykube.errors import ProviderError
from anykube.plan.blueprint import settings_digest
from anykube.providers.lxc.addressing import gateway, interface_name
from anykube.providers.lxc.commands import attempt, run
from anykube.providers.lxc.layout import CHANGED, Layout

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
MODULES = ("overlay", "br_netfilter", "vxlan", "nf_tables", "nft_masq", "nf_conntrack", "xt_comment", "tun")
"""Loaded here, because a node cannot: what containers, kube-proxy and flannel use."""
AT_LEAST = {
    "/proc/sys/fs/inotify/max_user_instances": 8192,
    "/proc/sys/fs/inotify/max_user_watches": 524288,
    "/proc/sys/kernel/keys/maxkeys": 20000,
    "/proc/sys/kernel/keys/maxbytes": 2_000_000,
}
"""Limits per user that all nodes share; their defaults are for one machine."""


def table_name(cluster: str) -> str:
    """The firewall table of a cluster."""
    return f"anykube-{cluster}"


async def ensure(layout: Layout, settings: Mapping[str, str]) -> None:
    """Have the bridge, the table and forwarding; nodes that run are attached to the bridge again."""
    subnet, bridge = IPv4Network(settings["subnet"]), settings["bridge"]
    note = layout.note("network")
    if note is not None and note["settings"] != settings and layout.complete_nodes():
        raise ProviderError(
            f"The nodes of {layout.cluster} on this machine were made with another record of this cluster.",
            evidence=[f"their subnet is {note['settings']['subnet']}, the record says {subnet}"],
            remedy="use the same user and ANYKUBE_STATE_DIR as then, or give the cluster another name",
        )
    # Intent first: whatever of it exists when anykube is killed is then found again, and can be removed.
    await asyncio.to_thread(layout.write_note, "network", _note(layout, settings, None))
    await attempt("modprobe", "--all", "--quiet", *MODULES)
    await asyncio.to_thread(_raise_limits)
    await _bridge(bridge, subnet, note)
    _write(FORWARDING, 1)
    await run("nft", "-f", "-", stdin=ruleset(layout.cluster, bridge, subnet))
    await _remove_accepts(layout.cluster)
    await _insert_accepts(layout.cluster, bridge)
    await _attach(layout, bridge)
    rules = await _rules(layout.cluster)
    await asyncio.to_thread(layout.write_note, "network", _note(layout, settings, rules))


async def digest(layout: Layout) -> str | None:
    """The digest of the settings if everything is in place, `CHANGED` if some of it is not, None if the
    network was never made or is removed."""
    note = layout.note("network")
    if note is None:
        return None
    settings: Mapping[str, str] = note["settings"]
    addresses, rules = await asyncio.gather(_addresses(settings["bridge"]), _rules(layout.cluster))
    subnet = IPv4Network(settings["subnet"])
    wanted = [f"{gateway(subnet)}/{subnet.prefixlen}"]
    whole = addresses == wanted and rules == note["rules"] and _read(FORWARDING) == 1
    return settings_digest(settings) if whole else CHANGED


async def remove(layout: Layout, bridge: str) -> None:
    """Remove bridge, table and rules. Forwarding stays on: others may have come to rely on it."""
    note = layout.note("network")
    if note is not None:
        bridge = note["settings"]["bridge"]
    await _remove_accepts(layout.cluster)
    await attempt("nft", "delete", "table", "ip", table_name(layout.cluster))
    if await _addresses(bridge) is not None:
        await run("ip", "link", "delete", bridge)
    await asyncio.to_thread(layout.remove_note, "network")


def _note(layout: Layout, settings: Mapping[str, str], rules: str | None) -> dict[str, Any]:
    return {"cluster": layout.cluster, "settings": dict(settings), "rules": rules}


def ruleset(cluster: str, bridge: str, subnet: IPv4Network) -> str:
    """The whole table, replaced at once: nodes reach the world under this machine's address."""
    table = table_name(cluster)
    return f"""table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != "{bridge}" masquerade
  }}
}}
"""


async def _bridge(bridge: str, subnet: IPv4Network, known: Mapping[str, Any] | None) -> None:
    wanted = f"{gateway(subnet)}/{subnet.prefixlen}"
    present = await _addresses(bridge)
    if present is None:
        await _refuse_used(subnet)
        await run("ip", "link", "add", bridge, "type", "bridge")
    elif known is None and present not in ([], [wanted]):
        raise ProviderError(
            f"There is a bridge {bridge} on this machine that anykube did not make.",
            evidence=[f"its addresses: {', '.join(present)}"],
            remedy=f"remove it (ip link delete {bridge}), or give the cluster another name",
        )
    if present is not None and present not in ([], [wanted]):
        await run("ip", "-4", "address", "flush", "dev", bridge)
    await run("ip", "address", "replace", wanted, "dev", bridge)
    await run("ip", "link", "set", bridge, "up")


async def _refuse_used(subnet: IPv4Network) -> None:
    """A route that appeared since the subnet was chosen would make nodes, or that network, unreachable."""
    routes = json.loads(await run("ip", "-json", "-4", "route", "show", "root", str(subnet)) or "[]")
    exact = json.loads(await run("ip", "-json", "-4", "route", "show", "match", str(subnet)) or "[]")
    used = [route["dst"] for route in (*routes, *exact) if route["dst"] != "default"]
    if used:
        raise ProviderError(
            f"The nodes' subnet {subnet} is routed elsewhere on this machine now.",
            evidence=[f"route to {', '.join(used)}"],
            remedy="anykube apply: while there are no nodes another subnet is chosen; else remove that route",
        )


async def _attach(layout: Layout, bridge: str) -> None:
    """Nodes keep running when their bridge goes away; their cables are put back."""
    for folder in layout.complete_nodes():
        await attempt("ip", "link", "set", interface_name(folder), "master", bridge)


async def _addresses(bridge: str) -> list[str] | None:
    """The IPv4 addresses of an interface, None if there is no such interface."""
    status, stdout, _ = await attempt("ip", "-json", "address", "show", "dev", bridge)
    if status != 0:
        return None
    found = json.loads(stdout)[0]["addr_info"]
    return [f"{entry['local']}/{entry['prefixlen']}" for entry in found if entry["family"] == "inet"]


async def _rules(cluster: str) -> str | None:
    """A digest of the table and of our rules in others' chains; None without the table."""
    status, stdout, _ = await attempt("nft", "-json", "list", "ruleset")
    if status != 0:
        return None
    items = json.loads(stdout)["nftables"]
    own = [_plain(item) for item in items if _is_own(item, cluster)]
    blocking = sorted(f"{family} {table} {chain}" for family, table, chain in _blocking(items))
    if not any("table" in item for item in own):
        return None
    text = json.dumps([own, blocking], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_own(item: Mapping[str, Any], cluster: str) -> bool:
    name = table_name(cluster)
    values = [value for value in item.values() if isinstance(value, dict)]
    return any(
        (value.get("table") or value.get("name")) == name or value.get("comment") == name for value in values
    )


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: {key: value for key, value in entry.items() if key != "handle"} for kind, entry in item.items()
    }


def _blocking(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Others' chains that drop what is forwarded unless a rule in them accepts it (as Docker sets up)."""
    for item in items:
        chain = item.get("chain")
        if chain and chain.get("hook") == "forward" and chain.get("policy") == "drop":
            yield chain["family"], chain["table"], chain["name"]


async def _insert_accepts(cluster: str, bridge: str) -> None:
    items = json.loads(await run("nft", "-json", "list", "ruleset"))["nftables"]
    for family, table, chain in _blocking(items):
        if family not in ("ip", "inet"):
            continue
        for direction in ("iifname", "oifname"):
            await run(
                *("nft", "insert", "rule", family, table, chain, direction, f'"{bridge}"', "accept"),
                *("comment", f'"{table_name(cluster)}"'),
            )


async def _remove_accepts(cluster: str) -> None:
    status, stdout, _ = await attempt("nft", "-json", "list", "ruleset")
    for item in json.loads(stdout)["nftables"] if status == 0 else []:
        rule = item.get("rule")
        if rule and rule.get("comment") == table_name(cluster):
            where = (rule["family"], rule["table"], rule["chain"])
            await attempt("nft", "delete", "rule", *where, "handle", str(rule["handle"]))


def _raise_limits() -> None:
    for name, least in AT_LEAST.items():
        with suppress(OSError):
            if _read(Path(name)) < least:
                _write(Path(name), least)


def _read(setting: Path) -> int:
    return int(setting.read_text())


def _write(setting: Path, value: int) -> None:
    setting.write_text(f"{value}\n")
