"""A shared layer is made once, by one, whole or not at all."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from anykube.errors import ProviderError
from anykube.providers.lxc.layers import building


async def test_two_at_once_make_one(tmp_path: Path) -> None:
    final, made = tmp_path / "layers" / "rootfs-1", []

    async def build(number: int) -> None:
        async with building(final, 10) as work:
            if work is None:
                return
            await asyncio.sleep(0.3)
            (work[0] / "file").write_text(str(number))
            made.append(number)

    await asyncio.gather(build(1), build(2))
    assert len(made) == 1
    assert (final / "file").read_text() == str(made[0])


async def test_one_that_fails_leaves_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    final = tmp_path / "rootfs-1"
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            async with building(final, 1) as work:
                assert work is not None
                (work[0] / "half").touch()
                raise OSError("full")
        assert [path.name for path in tmp_path.iterdir()] == [".rootfs-1.lock"]


async def test_what_a_killed_run_left_is_removed_unless_somebody_works_on_it(tmp_path: Path) -> None:
    for name in ("rootfs-1", "rootfs-2", "rootfs-3"):
        (tmp_path / f".{name}.new" / "deep").mkdir(parents=True)
    async with building(tmp_path / "rootfs-2", 1):
        async with building(tmp_path / "rootfs-1", 1) as work:
            assert work is not None
            assert list(work[0].iterdir()) == []
        assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["rootfs-1"]
        assert (tmp_path / ".rootfs-2.new").exists()
    assert not list(tmp_path.glob("*.new"))


async def test_a_child_keeps_the_lock_when_its_parent_is_gone(tmp_path: Path) -> None:
    child = None
    with pytest.raises(OSError, match="killed"):
        async with building(tmp_path / "rootfs-1", 1) as work:
            assert work is not None
            child = subprocess.Popen(["sleep", "60"], pass_fds=[work[1]])
            raise OSError("killed")
    assert child is not None
    try:
        with pytest.raises(ProviderError, match="working on rootfs-1"):
            async with building(tmp_path / "rootfs-1", 0.1):
                pass
    finally:
        child.kill()
        child.wait()
    async with building(tmp_path / "rootfs-1", 1) as work:
        assert work is not None
