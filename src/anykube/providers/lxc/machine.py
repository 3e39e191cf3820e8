"""One container: made whole under another name and renamed, started, measured, removed."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from anykube.errors import ProviderError
from anykube.facts.machines import MachineFacts, MachineState
from anykube.plan.blueprint import settings_digest
from anykube.providers.lxc import cgroups, images
from anykube.providers.lxc.addressing import interface_name
from anykube.providers.lxc.commands import attempt, failure, run
from anykube.providers.lxc.config import (
    DEVICES,
    DISKS,
    Container,
    container_config,
    hosts,
    limits,
    resolver,
)
from anykube.providers.lxc.layout import (
    HOST_KEY,
    NOTE,
    Layout,
    read_json,
    remove_tree,
    write_text,
)
from anykube.providers.lxc.locks import holding
from anykube.providers.lxc.software import SoftwareLayer

BEING_MADE, BEING_REMOVED = ".new", ".gone"


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new machine is made of."""

    rootfs: Path
    software: SoftwareLayer
    subnet: str
    bridge: str
    resolvers: tuple[str, ...]
    authorized_key: str


async def create(layout: Layout, name: str, address: str, settings: Mapping[str, str], birth: Birth) -> None:
    """Make a machine. It has its final name only when it is complete."""
    work = layout.nodes / f".{name}{BEING_MADE}"
    await asyncio.to_thread(_scaffold, layout, work)
    async with holding(work) as keep:
        await images.plant(birth.software.containerd, work / "disks" / "containerd", keep)
    note = {
        "address": address,
        "settings": dict(settings),
        "layers": [str(birth.software.files), str(birth.rootfs)],
        "subnet": birth.subnet,
        "bridge": birth.bridge,
    }
    await asyncio.to_thread(_fill, layout, work, name, note, birth)
    await asyncio.to_thread(_sync, work)
    work.rename(layout.node(name))


async def resize(layout: Layout, name: str, settings: Mapping[str, str]) -> None:
    """Give a machine another size: in its configuration, and at once if it runs."""
    folder = layout.node(name)
    note = read_json(folder / NOTE)
    if note is None:
        raise ProviderError(f"{name} is not complete, and so cannot be changed.", remedy="apply again")
    note = {**note, "settings": dict(settings)}
    if name in await running(layout):
        version = "lxc.cgroup2" if (cgroups.ROOT / "cgroup.controllers").exists() else "lxc.cgroup"
        for prefix, key, value in limits(settings):
            if prefix == version:
                # '--', because 'no limit' is a value that begins with a dash.
                await run("lxc-cgroup", "-P", str(layout.nodes), "-n", name, "--", key, value)
    write_text(folder / "config", container_config(_container(folder, name, note)))
    _write_note(folder, note)


async def start(layout: Layout, name: str) -> None:
    """Start a machine and wait until its init runs. One that runs is left alone."""
    async with holding(layout.node(name)) as keep:
        if name in await running(layout):
            return
        await cgroups.clear(layout.node(name))
        log = layout.node(name) / "lxc.log"
        log.unlink(missing_ok=True)
        argv = ("lxc-start", "-P", str(layout.nodes), "-n", name, "-d")
        status, _, stderr = await attempt(*argv, keep=keep)
        if status != 0:
            # Other lxc tools write to the log, too: it alone might not have the reason.
            logged = log.read_text(errors="replace") if log.exists() else ""
            raise failure(argv, status, f"{logged}\n{stderr}")


async def delete(layout: Layout, name: str) -> None:
    """Remove a machine, whatever of it there is."""
    folder, gone = layout.node(name), layout.nodes / f".{name}{BEING_REMOVED}"
    async with holding(folder), holding(layout.nodes / f".{name}{BEING_MADE}"):
        if folder.exists():
            await attempt("lxc-stop", "-P", str(layout.nodes), "-n", name, "-k", seconds=60)
        await cgroups.clear(folder)
        await attempt("ip", "link", "delete", interface_name(folder))
        await asyncio.to_thread(_discard, layout, name, folder, gone)


def exists(layout: Layout, name: str) -> bool:
    """Whether a machine is there and complete."""
    return read_json(layout.node(name) / NOTE) is not None


async def observe(layout: Layout) -> dict[str, MachineFacts]:
    """All machines of this cluster, complete or not."""
    if not layout.nodes.is_dir():
        return {}
    alive = await running(layout)
    names = {_name(folder.name) for folder in layout.nodes.iterdir() if folder.is_dir()}
    return {name: _facts(layout, name, name in alive) for name in sorted(names)}


async def running(layout: Layout) -> frozenset[str]:
    """Names of the machines that run."""
    stdout = await run("lxc-ls", "-P", str(layout.nodes), "-1", "--running")
    return frozenset(line.strip() for line in stdout.splitlines() if line.strip())


def host_key(layout: Layout, name: str) -> str:
    """The public host key of a machine; it is there before the machine first starts."""
    try:
        return (layout.node(name) / f"{Path(HOST_KEY).name}.pub").read_text().strip()
    except OSError as error:
        raise ProviderError(
            f"{name} has no host key here.", evidence=[str(error)], remedy="apply again"
        ) from error


def _facts(layout: Layout, name: str, alive: bool) -> MachineFacts:
    note = read_json(layout.node(name) / NOTE)
    if note is None:
        return MachineFacts(name, MachineState.BROKEN, "")
    state = MachineState.RUNNING if alive else MachineState.STOPPED
    return MachineFacts(name, state, note["address"], settings_digest(note["settings"]))


def _name(folder: str) -> str:
    for ending in (BEING_MADE, BEING_REMOVED):
        if folder.startswith(".") and folder.endswith(ending):
            return folder[1 : -len(ending)]
    return folder


def _scaffold(layout: Layout, work: Path) -> None:
    layout.nodes.mkdir(mode=0o711, exist_ok=True)
    remove_tree(work)
    work.mkdir()
    for disk in DISKS:
        (work / "disks" / disk).mkdir(parents=True)
    (work / "delta").mkdir(mode=0o755)


def _fill(layout: Layout, work: Path, name: str, note: Mapping[str, object], birth: Birth) -> None:
    delta = work / "delta"
    for folder, mode in (("etc/ssh", 0o755), ("root/.ssh", 0o700)):
        (delta / folder).mkdir(parents=True)
        (delta / folder).chmod(mode)
    (delta / "root").chmod(0o700)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    address = str(note["address"])
    files = {
        HOST_KEY: (private, 0o600),
        "root/.ssh/authorized_keys": (f"{birth.authorized_key.strip()}\n", 0o600),
        "etc/hostname": (f"{name}\n", 0o644),
        "etc/hosts": (hosts(name, address), 0o644),
        "etc/resolv.conf": (resolver(birth.resolvers, IPv4Network(birth.subnet)), 0o644),
        "etc/machine-id": (f"{uuid.uuid4().hex}\n", 0o444),
    }
    for path, (text, mode) in files.items():
        write_text(delta / path, text, mode)
    write_text(work / f"{Path(HOST_KEY).name}.pub", f"{public} {name}\n")
    write_text(work / "config", container_config(_container(layout.node(name), name, note)))
    _write_note(work, note)


def _container(folder: Path, name: str, note: Mapping[str, object]) -> Container:
    layers, settings = note["layers"], note["settings"]
    assert isinstance(layers, list) and isinstance(settings, dict)  # noqa: S101 - our own note
    return Container(
        name=name,
        folder=PurePosixPath(folder),
        layers=tuple(PurePosixPath(layer) for layer in layers),
        address=str(note["address"]),
        subnet=IPv4Network(str(note["subnet"])),
        bridge=str(note["bridge"]),
        settings=settings,
        devices=tuple(device for device in DEVICES if Path(device).exists()),
        modules=Path("/lib/modules").is_dir(),
    )


def _write_note(folder: Path, note: Mapping[str, object]) -> None:
    write_text(folder / NOTE, json.dumps(note, indent=1, sort_keys=True) + "\n")


def _discard(layout: Layout, name: str, folder: Path, gone: Path) -> None:
    """The rename first: a folder without its name is broken for sure, however far the removal came."""
    remove_tree(gone)
    if folder.exists():
        folder.rename(gone)
    remove_tree(gone)
    remove_tree(layout.nodes / f".{name}{BEING_MADE}")
    # The folder of all nodes stays: others may be about to be made in it. The shared parts take it along.


def _sync(folder: Path) -> None:
    """Have the new folder's names on disk before it gets its final one."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
