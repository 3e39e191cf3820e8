"""Every test of the command line has folders of its own, and lets no setting of the caller in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; state and cache are beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANYKUBE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ANYKUBE_CACHE_DIR", str(tmp_path / "cache"))
    for variable in ("ANYKUBE_CLUSTER", "NO_COLOR", "_ANYKUBE_COMPLETE"):
        monkeypatch.delenv(variable, raising=False)
    return folder
