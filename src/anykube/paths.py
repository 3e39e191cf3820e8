"""Where anykube keeps things on this machine. The only module that knows the environment variables."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APPLICATION = "anykube"


def cache_dir() -> Path:
    """What can be had again: binaries, images, root file systems. ANYKUBE_CACHE_DIR overrides it."""
    return _folder("ANYKUBE_CACHE_DIR", platformdirs.user_cache_path(APPLICATION, appauthor=False))


def state_dir() -> Path:
    """What must be kept: records, secrets, journals, run logs. ANYKUBE_STATE_DIR overrides it."""
    return _folder("ANYKUBE_STATE_DIR", platformdirs.user_state_path(APPLICATION, appauthor=False))


def _folder(variable: str, default: Path) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().absolute() if chosen else default
