"""Machines that are made and removed at the same time do not get in each other's way."""

from __future__ import annotations

from pathlib import Path

from anykube.providers.lxc import machine
from anykube.providers.lxc.layout import Layout


async def test_a_removal_leaves_the_folder_in_which_others_are_made(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path / "root", tmp_path / "cache", "demo")
    layout.nodes.mkdir(parents=True)
    await machine.delete(layout, "demo-worker-1")
    assert layout.nodes.is_dir()
