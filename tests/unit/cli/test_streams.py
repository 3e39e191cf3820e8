"""Data on stdout, everything else on stderr; no questions and no colours where nobody sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.command import Terminal, anykube, program

from anykube.cli.options import Output
from anykube.cli.printing import plain
from anykube.cli.progress import LiveTable, PlainLines, is_live, progress


@pytest.fixture
def file(lxc: Path) -> str:
    """The default object."""
    return lxc.name


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("version", "Version"),
        ("validate", "Validation"),
        ("plan", "Plan"),
        ("status", "Status"),
        ("artifacts list", "ArtifactList"),
        ("doctor", "Checkup"),
    ],
)
def test_structured_data_is_one_document_on_stdout(file: str, command: str, kind: str) -> None:
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        answer = anykube(*command.split(), "-o", form)
        document = read(answer.out)
        assert (document["apiVersion"], document["kind"]) == ("anykube.dev/v1alpha1", kind)
        assert answer.err == ""


def test_errors_are_on_stderr_only(file: str) -> None:
    for arguments in (("exec", "nosuch", "--", "id"), ("kubeconfig",), ("apply", "nosuch.json")):
        answer = anykube(*arguments)
        assert answer.status in (1, 64)
        assert answer.out == ""
        assert "  do  " in answer.err


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_without_a_terminal_nothing_is_asked(file: str, command: str, metal: Path) -> None:
    answer = program(command, "-f", str(metal) if command == "destroy" else file, stdin="y\n")
    assert answer.status == 64
    assert "--yes" in answer.err
    assert "[y/N]" not in answer.err + answer.out


def test_destroying_what_is_not_there_needs_no_answer(file: str) -> None:
    answer = anykube("destroy")
    assert (answer.status, answer.out) == (0, "")
    assert "nothing was there" in answer.err


def test_init_writes_what_validate_takes() -> None:
    written = anykube("init", "-y", "--name", "no-such-cluster-here")
    assert (written.status, written.err) == (0, "")
    answer = anykube("validate", "-f", "-", stdin=written.out.encode())
    assert answer.status == 0
    assert answer.out.startswith("no-such-cluster-here: valid")


def test_init_refuses_to_overwrite(here: Path) -> None:
    mine = here / "mine.yaml"
    mine.write_text("precious")
    answer = anykube("init", "-y", "-f", "mine.yaml")
    assert answer.status == 64
    assert "--force" in answer.err
    assert mine.read_text() == "precious"
    assert anykube("init", "-y", "-f", "mine.yaml", "--force").status == 0
    assert anykube("validate", "-f", "mine.yaml").status == 0
    assert [path.name for path in here.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("target", ["nosuch/cluster.yaml", "/proc/cluster.yaml", "a" * 300])
def test_init_says_where_it_cannot_write(target: str) -> None:
    answer = anykube("init", "-y", "-f", target)
    assert answer.status == 1
    assert "anykube failed" not in answer.err
    assert "do" in answer.err


def test_control_characters_of_others_are_not_printed() -> None:
    assert plain("worker\x1b[31m-1\nnext \udcff line") == "worker\\x1b[31m-1\nnext \\udcff line"
    assert plain("Grüße … 漢字") == "Grüße … 漢字"


def test_live_only_where_it_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen:
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None: ...

    assert isinstance(progress(Output.TABLE), PlainLines)
    monkeypatch.setattr("sys.stderr", Screen())
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    live = progress(Output.TABLE)
    assert isinstance(live, LiveTable)
    live.close()
    for variable, value in (("TERM", "dumb"), ("CI", "true")):
        with monkeypatch.context() as context:
            context.setenv(variable, value)
            assert not is_live()


def test_no_colour_when_it_is_not_wanted(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for arguments in (("plan",), ("nosuch",)):
        terminal = Terminal(*arguments)
        terminal.status()
        assert terminal.text
        assert "\x1b[" not in terminal.text
