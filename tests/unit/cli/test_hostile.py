"""Whatever comes in through the command line: a clear error at once, no traceback, nothing touched."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.cli.command import Answer, anykube, program

SECONDS = 1.0
"""Of processor time, because tests run beside others."""

NAMES = (
    *(";id", "$(id)", "' \" \\", "line\nline", "../../etc/passwd", "a" * 300, "\x1b[31mred", "\u202eabc"),
    *("nul\0nul", "\udcff\udcfe", " ", "--nosuch", "-", "\r\n"),
)
HOSTILE = st.one_of(st.sampled_from(NAMES), st.text(max_size=400), st.binary(max_size=40).map(os.fsdecode))

WITH_NAME = (
    *("plan -f {}", "apply --yes -f {}", "apply --yes -c {}", "destroy --yes -c {}", "doctor -c {}"),
    *("apply {}", "exec {} -f cluster.yaml -- id", "init -y --name {}", "{}"),
)
ALSO_WITH_NAME = (
    *("validate -f {}", "status -f {}", "doctor -f {}", "destroy --yes -f {}", "kubeconfig --path -c {}"),
    *("validate -c {}", "plan -c {}", "status -c {}", "kubeconfig -c {}", "artifacts list -c {}"),
    *("artifacts get -c {}", "logs {} -f cluster.yaml", "logs node {} -f cluster.yaml", "apply --yes {}"),
    *("init -y --subnet {}", "init -y --host {}", "init -y --provider machines --ssh-key {}"),
    *("completion {}", "artifacts {}", "status -o {}"),
)
CALM = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def snapshot(folder: Path) -> dict[str, tuple[float, int]]:
    """Every path below, files with their time and size. Taking a lock changes the time of its folder."""
    return {
        str(path.relative_to(folder)): (0, 0)
        if path.is_dir()
        else (path.lstat().st_mtime, path.lstat().st_size)
        for path in folder.rglob("*")
    }


@pytest.fixture
def world(tmp_path: Path, metal: Path) -> Path:
    """A folder with an object, and a state folder that knows a cluster.

    Should one of these command lines ever be obeyed, nothing can come of it: the machine and the mirror of
    the object answer nothing.
    """
    known = tmp_path / "state" / "known"
    known.mkdir(parents=True, mode=0o700)
    (known / "record.json").write_text("{}")
    (known / "record.json").chmod(0o600)
    # Loads everything once, so that the first example is not slower than the others.
    metal.rename("cluster.yaml")
    assert anykube("validate").status == 0
    assert anykube("plan").status == 0
    return tmp_path


def refused(world: Path, *arguments: str, stdin: bytes = b"", allowed: tuple[int, ...] = (1, 64)) -> Answer:
    """The promise, for one command line."""
    before = snapshot(world)
    began = time.process_time()
    answer = anykube(*arguments, stdin=stdin)
    spent = time.process_time() - began
    assert answer.status in allowed, answer
    if answer.status:
        assert answer.err
        assert answer.out == ""
        assert "Traceback" not in answer.err
        assert "BUG-001" not in answer.err, answer.err
        assert len(answer.err) < 20_000
    assert all(character.isprintable() or character == "\n" for character in answer.err + answer.out)
    assert snapshot(world) == before
    assert spent < SECONDS, f"{spent:.2f} s"
    return answer


@pytest.mark.parametrize("line", WITH_NAME)
def test_hostile_names_everywhere(world: Path, line: str) -> None:
    for name in NAMES:
        arguments = [word.replace("{}", name) for word in line.split(" ")]
        # A name may be a good answer to a question of init; asking for help by '-' or '-x' is not.
        harmless = line.startswith("init") or name in ("", "-")
        refused(world, *arguments, allowed=(0, 1, 64) if harmless else (1, 64))


@CALM
@given(st.sampled_from(WITH_NAME + ALSO_WITH_NAME), HOSTILE)
def test_random_names_everywhere(world: Path, line: str, name: str) -> None:
    refused(world, *(word.replace("{}", name) for word in line.split(" ")), allowed=(0, 1, 64))


@CALM
@given(st.lists(HOSTILE, max_size=5))
def test_random_command_lines(world: Path, arguments: list[str]) -> None:
    refused(world, *arguments, allowed=(0, 1, 64))


@CALM
@given(st.binary(max_size=3000))
def test_random_bytes_as_an_object(world: Path, data: bytes) -> None:
    refused(world, "validate", "-f", "-", stdin=data, allowed=(1,))


BOMBS = {
    "aliases": "a: &a [x,x,x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a,*a,*a,*a]\n" for n in range(50)),
    "laughs": "l0: &l0 lol\n"
    + "".join(f"l{n + 1}: &l{n + 1} [{','.join([f'*l{n}'] * 9)}]\n" for n in range(20)),
    "deep": "[" * 100_000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(1000)),
    "flow": "{" * 50_000,
    "tag": "!!python/object/apply:os.system [id]",
    "long key": "a" * 500_000 + ": b",
    "many keys": "\n".join(f"k{n}: v" for n in range(40_000)),
    "many documents": "---\na: b\n" * 10_000,
    "merge": "a: &a {b: c}\nd: {<<: *a}",
    "nul": "a: \0",
    "number": "a: " + "9" * 200_000,
    "colours": "\x1b[31mapiVersion\x1b[0m: x",
    "json": '{"a":' * 50_000,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("command", ["validate", "apply"])
def test_bombs(world: Path, name: str, command: str) -> None:
    refused(world, command, "-f", "-", *(["--yes"] if command == "apply" else []), stdin=BOMBS[name].encode())


@pytest.mark.parametrize("command", ["validate -f {}", "apply --yes -f {}", "apply --yes {}"])
def test_a_file_of_100_mib(world: Path, command: str) -> None:
    for content in (b"a: b\n" * 200, b"\0" * 1000, b'{"kind": "plan", "x": [' + b"[" * 900):
        file = world / "here" / "large"
        with file.open("wb") as stream:
            stream.write(content)
            stream.truncate(100 * 2**20)
        refused(world, *(word.replace("{}", str(file)) for word in command.split()), allowed=(1,))


GARBAGE = {
    "empty": b"",
    "text": b"hello",
    "bytes": bytes(range(256)),
    "another object": b"{}",
    "a list": b"[1]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "another kind": b'{"kind": "record", "schema": 1, "content": {}}',
    "newer": b'{"kind": "plan", "schema": 99, "content": {}}',
    "schema": b'{"kind": "plan", "schema": "1", "content": {}}',
    "no plan": b'{"kind": "plan", "schema": 1, "content": {"plan": 1}}',
    "colours": b'{"kind": "\\u001b[31mplan", "schema": 1, "content": {}}',
    "another type": b'{"kind": "plan", "schema": 1, "content": {"type": "os.system", "plan": ["id"]}}',
    "twice": b'{"kind": "plan", "kind": "plan", "schema": 1, "content": {}}',
    "number": b'{"kind": "plan", "schema": 1, "content": 1e999}',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_plan_files_that_are_none(world: Path, name: str) -> None:
    file = world / "here" / "plan.json"
    file.write_bytes(GARBAGE[name])
    file.chmod(0o600)
    refused(world, "apply", "--yes", str(file), allowed=(1,))


@CALM
@given(data=st.data())
def test_plan_files_that_were_changed(world: Path, data: st.DataObject) -> None:
    """A saved plan with a byte changed, a piece cut out, or cut short."""
    file = world / "here" / "plan.json"
    if not file.exists():
        assert anykube("plan", "-f", "cluster.yaml", "--out", str(file)).status == 0
        # A plan that is still good gets as far as the question, and to ask it the lock is taken.
        assert anykube("apply", str(file)).status == 64
        file.rename(world / "good.json")
        file.touch(mode=0o600)
    good = (world / "good.json").read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.integers(1, 50))
    file.write_bytes(good[:position] + data.draw(st.binary(max_size=20)) + good[position + length :])
    # Without --yes and without a terminal: even a plan that is still good changes nothing.
    refused(world, "apply", str(file))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket", "loop"])
def test_things_that_are_no_files(world: Path, kind: str) -> None:
    path = world / "here" / "thing"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case "socket":
            import socket

            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path.relative_to(Path.cwd())))
        case "loop":
            path.symlink_to(path)
    for command in ("validate -f {}", "apply --yes -f {}", "apply --yes {}"):
        refused(world, *(word.replace("{}", str(path)) for word in command.split()), allowed=(1,))


def test_a_damaged_record_is_told(world: Path) -> None:
    for content in (b"", b"{}", b"\0", json.dumps({"kind": "record", "schema": 1, "content": {}}).encode()):
        (world / "state" / "known" / "record.json").write_bytes(content)
        for command in ("status", "plan", "apply --yes", "destroy --yes", "doctor"):
            answer = refused(world, *command.split(), "-c", "known", allowed=(1,))
            assert "record" in answer.err


def test_the_program_itself(world: Path) -> None:
    """Through a real exec: bytes that are no text, and control characters."""
    before = snapshot(world)
    for name in (b"\xff\xfe", b"\x1b[31m", b"$(touch /tmp/anykube-was-here)"):
        answer = program("plan", "-c", os.fsdecode(name))
        assert answer.status == 64
        assert all(character.isprintable() or character == "\n" for character in answer.err)
    assert not Path("/tmp/anykube-was-here").exists()
    assert snapshot(world) == before
