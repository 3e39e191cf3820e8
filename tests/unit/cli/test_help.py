"""Help: there for everything, and at once."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from tests.unit.cli.command import PROGRAM, anykube, program

from anykube.cli.main import app

HEAVY = ("asyncssh", "pydantic", "lightkube", "httpx2", "yaml", "rich.live", "questionary", "cryptography")
MILLISECONDS = 250
"""Of processor time, because tests run beside others; the target on a machine at rest is 150 ms in all."""


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_the_commands_that_were_promised() -> None:
    promised = (
        "init validate plan apply scale replace upgrade rollback status kubeconfig exec logs doctor recover "
        "backup restore adopt unlock reset destroy artifacts certs completion version"
    )
    assert {path[0] for path in COMMANDS if path} == set(promised.split())
    actions = {path[1] for path in COMMANDS if len(path) > 1}
    assert actions >= {"list", "get", "verify", "create", "prune", "key"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", ""), parameter.name
    answer = anykube(*path, "--help")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("Usage: anykube")
    assert answer.out == anykube(*path, "-h").out


def test_no_summary_is_cut_off() -> None:
    assert "..." not in anykube("--help").out.replace("[ARGS]...", "")


def test_nothing_heavy_is_loaded_for_help() -> None:
    code = f"import sys, anykube.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_library_is_light_until_used() -> None:
    code = f"import sys, anykube; print([name for name in {(*HEAVY, 'typer')} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_help_is_fast() -> None:
    wall, spent = [], []
    for _ in range(7):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PROGRAM, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(1000 * (time.perf_counter() - began))
        spent.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    told = [f"{statistics.median(times):.0f} ms" for times in (wall, spent)]
    print(f"anykube --help: median {told[0]}, of processor time {told[1]}")
    assert min(spent) < MILLISECONDS


def test_help_of_the_program_is_on_stdout() -> None:
    answer = program("--help")
    assert (answer.status, answer.err) == (0, "")
    assert "doctor" in answer.out
