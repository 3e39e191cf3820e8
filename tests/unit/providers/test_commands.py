"""Tools of this machine: what they say, how they fail, and that none of them outlives its run."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from anykube.errors import ProviderError
from anykube.providers.lxc import commands


async def test_output_and_input() -> None:
    assert await commands.run("cat", stdin="text\n") == "text\n"


async def test_a_failure_shows_the_command_and_its_last_words() -> None:
    with pytest.raises(ProviderError) as caught:
        await commands.run("sh", "-c", "seq 100 >&2; exit 7")
    assert "status 7" in caught.value.brief
    assert caught.value.evidence[0] == "sh -c seq 100 >&2; exit 7"
    assert caught.value.evidence[-1] == "100"
    assert len(caught.value.evidence) == 1 + commands.EVIDENCE_LINES


async def test_a_tool_that_is_not_there_has_status_127() -> None:
    assert (await commands.attempt("no-such-tool-anywhere"))[0] == 127


async def test_a_tool_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    start = time.monotonic()
    with pytest.raises(ProviderError, match=r"did not end within 0\.3 s"):
        await commands.run("sh", "-c", f"sleep 60 & echo $! >{pid}; wait", seconds=0.3)
    assert time.monotonic() - start < 5
    await ended(int(pid.read_text()))


async def test_cancelled_lines_end_the_tool_and_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    async def read() -> None:
        script = f"sleep 60 & echo $! >{pid}; echo begun; wait"
        async for line in commands.lines("sh", "-c", script, env=dict(os.environ), keep=[], seconds=60):
            assert line == "begun"
            started.set()

    started = asyncio.Event()
    task = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(int(pid.read_text()))


async def test_lines_of_a_tool_that_fails() -> None:
    seen: list[str] = []
    with pytest.raises(ProviderError) as caught:
        said = commands.lines(
            "sh", "-c", "echo one; echo two >&2; exit 3", env=dict(os.environ), keep=[], seconds=10
        )
        async for line in said:
            seen += [line]
    assert seen == ["one", "two"]
    assert caught.value.evidence[1:] == ("one", "two")


async def ended(pid: int) -> None:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        # A child without a parent is reaped by init, in its own time.
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        assert time.monotonic() < deadline, f"{pid} still runs"
        await asyncio.sleep(0.02)
