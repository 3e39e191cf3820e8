"""The folder tree of a simulated host as a value, to compare before and after."""

from __future__ import annotations

import hashlib
import stat

from anykube.testing import SimulatedHost

VOLATILE = ("run/", "var/log/simulated/", "proc/", "dev/")
"""Of the simulation, or gone with a reboot."""


def tree(host: SimulatedHost) -> dict[str, tuple[str, str]]:
    """Every path of the tree that a machine would keep: its mode, and its content, target or 'folder'."""
    found: dict[str, tuple[str, str]] = {}
    for path in host.root.rglob("*"):
        name = str(path.relative_to(host.root))
        if name.startswith(VOLATILE):
            continue
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            content = "folder"
        elif stat.S_ISLNK(status.st_mode):
            content = f"-> {path.readlink()}"
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[name] = (oct(status.st_mode), content)
    return found
