"""Where everything of this provider is on disk, and the notes that are kept beside what was made.

    <root>/<cluster>/site/<part>.json     what a shared part was made with
    <root>/<cluster>/nodes/<node>/        one container: config, delta, disks, machine.json
    <root>/<cluster>/nodes/.<node>.new    being made; .<node>.gone being removed: both are 'broken'
    <cache>/lxc/{rootfs,software}-<id>/   read-only layers, shared by all clusters, made once

A note or a folder with its final name is complete: both come into being by a rename.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anykube.errors import ProviderError
from anykube.paths import APPLICATION

NOTE = "machine.json"
"""Written last into a node's folder: address, settings and layers it was made with."""
CHANGED = "changed"
"""Stands for the digest of a shared part that is there, but not as it was made."""
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one cluster."""

    root: Path
    cache: Path
    cluster: str

    def __post_init__(self) -> None:
        for path in (self.root, self.cache):
            if not path.is_absolute() or any(character in ":,\\ \t\n" for character in str(path)):
                raise ProviderError(
                    f"LXC cannot use the folder {str(path)!r}.",
                    evidence=["mount options need an absolute path without ':', ',', '\\' and spaces"],
                    remedy="set ANYKUBE_CACHE_DIR to another folder",
                )

    @property
    def home(self) -> Path:
        """All of this cluster."""
        return self.root / self.cluster

    @property
    def nodes(self) -> Path:
        """The LXC path of this cluster."""
        return self.home / "nodes"

    def node(self, name: str) -> Path:
        """The folder of a container."""
        return self.nodes / name

    def layer(self, part: str, identity: str) -> Path:
        """The folder of a shared read-only layer."""
        return self.cache / "lxc" / f"{part}-{identity}"

    def note(self, part: str) -> dict[str, Any] | None:
        """What a shared part was made with; None if it was never made completely."""
        return read_json(self.home / "site" / f"{part}.json")

    def write_note(self, part: str, note: Mapping[str, Any]) -> None:
        """Keep what a shared part was made with."""
        site = self.home / "site"
        self.root.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        site.mkdir(exist_ok=True)
        write_text(site / f"{part}.json", json.dumps(note, indent=1, sort_keys=True) + "\n")

    def remove_note(self, part: str) -> None:
        """Forget a shared part, and with the last one remove the folders that hold nothing any more."""
        site = self.home / "site"
        (site / f"{part}.json").unlink(missing_ok=True)
        if not any(site.glob("[!.]*.json")):
            remove_tree(site)
        ours = [self.nodes, self.home, self.root]
        if self.root.parent.name == APPLICATION:
            ours.append(self.root.parent)
        for folder in ours:
            if not remove_if_empty(folder):
                break

    def complete_nodes(self) -> list[Path]:
        """The folders of all containers that are complete."""
        return [note.parent for note in sorted(self.nodes.glob(f"[!.]*/{NOTE}"))]

    def other_subnets(self) -> tuple[str, ...]:
        """Subnets of the other clusters on this machine, running or not."""
        notes = (read_json(path) for path in sorted(self.root.glob("*/site/network.json")))
        subnets = (
            note["settings"].get("subnet") for note in notes if note and note.get("cluster") != self.cluster
        )
        return tuple(subnet for subnet in subnets if subnet)


def read_json(path: Path) -> dict[str, Any] | None:
    """A note; None if it is not there or not complete."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once: a temporary file in the same folder, made with its mode, then a rename."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_tree(path: Path) -> None:
    """Remove a folder that may be half-removed already."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def remove_if_empty(folder: Path) -> bool:
    """Whether the folder is gone now."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
