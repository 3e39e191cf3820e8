"""Quoting: what a user wrote reaches a program literally, whatever it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.content.context import NodeContext
from anykube.content.model import Text
from anykube.content.node import components
from anykube.content.unit import RECORD_INPUTS, Service, command_line, flags, quote

HOSTILE = (
    *("; reboot", ";", "$(id)", "${HOME}", "`id`", "%n %H", "a b", "", "'", '"', "\\", "$", "%", "#"),
    *("\n[Service]\nUser=root", "\t", "a\\x20b", "a\\\n", "\x1b[31m", "@x", "-x", "ü"),
)


def read_back(line: str) -> list[str]:
    """The arguments that systemd sees, by the rules of systemd.service(5) and systemd.syntax(7): its own
    implementation here, so that a mistake in the writer cannot hide."""
    arguments: list[str] = []
    current: list[str] | None = None
    quoted = False
    index = 0
    text = line.replace("\\\n", " ")
    while index < len(text):
        character = text[index]
        following = text[index + 1] if index + 1 < len(text) else ""
        if character == "\n":
            raise AssertionError("the line of the unit ends within an argument")
        if character in "%$":
            assert following == character, "a specifier or variable would be expanded"
            index += 1
        elif character == "\\":
            if following == "x":
                character = chr(int(text[index + 2 : index + 4], 16))
                index += 3
            else:
                assert following in '"\\', f"unknown escape \\{following}"
                character = following
                index += 1
        elif character == '"':
            quoted = not quoted
            current = [] if current is None else current
            index += 1
            continue
        elif character == " " and not quoted:
            if current is not None:
                arguments.append("".join(current))
            current = None
            index += 1
            continue
        elif not quoted:
            assert character not in ";'`#", "a separator or quote outside quotes"
        current = [*(current or []), character]
        index += 1
    assert not quoted
    return arguments if current is None else [*arguments, "".join(current)]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_arguments_stay_literal(value: str) -> None:
    assert read_back(command_line(["/bin/program", value, "last"])) == ["/bin/program", value, "last"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=5))
def test_every_argument_list_is_read_back(arguments: list[str]) -> None:
    assert read_back(command_line(arguments)) == arguments


def test_ordinary_arguments_are_not_quoted() -> None:
    assert quote("--etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379") == (
        "--etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379"
    )


def test_flags_are_sorted_and_typed() -> None:
    assert flags({"b": True, "a": ("x", "y"), "c": 3, "d": "text"}) == (
        "--a=x,y",
        "--b=true",
        "--c=3",
        "--d=text",
    )


def test_description_cannot_use_specifiers() -> None:
    source = Service("a.service", "100% sure", ("/bin/true",), "exec").file().source
    assert isinstance(source, Text)
    assert "Description=100%% sure\n" in source.value


def test_inputs_name_the_unit_file_first_and_each_path_once() -> None:
    service = Service("a.service", "a", ("/bin/true",), "exec", inputs=("/x", "/y", "/x"))
    assert service.unit.inputs == ("/etc/systemd/system/a.service", "/x", "/y")


def test_every_unit_records_its_inputs_before_anything_else(case: tuple[str, NodeContext]) -> None:
    for component in components(case[1]):
        if component.unit is None or not component.unit.recorded:
            continue
        (text,) = (
            file.source.value
            for file in component.files
            if file.path == component.unit.inputs[0] and isinstance(file.source, Text)
        )
        first = text.index("ExecStartPre=")
        line = text[first + len("ExecStartPre=-+") : text.index("\nExecStart=")]
        assert text.startswith("ExecStartPre=-+", first)
        assert read_back(line) == [RECORD_INPUTS, component.unit.name, *component.unit.inputs]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(case: tuple[str, NodeContext], tmp_path: Path) -> None:
    """With stand-ins for the programs, which systemd looks for."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for component in components(case[1]):
        for file in component.files:
            if file.path.endswith(".service") and isinstance(file.source, Text):
                unit = tmp_path / file.path.rpartition("/")[2]
                text = file.source.value
                for folder in ("/usr/local/bin", "/usr/local/lib/anykube", "/usr/sbin"):
                    text = "\n".join(
                        f"{line.partition('=')[0]}={program} \\"
                        if f"={folder}" in line or f"+{folder}" in line
                        else line
                        for line in text.splitlines()
                    )
                unit.write_text(text + "\n")
                units.append(str(unit))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "info"},
    )
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) not in result.stderr, result.stderr
