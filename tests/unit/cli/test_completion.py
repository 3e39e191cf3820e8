"""Completion: scripts for four shells, and a real bash that completes."""

from __future__ import annotations

import subprocess

import pytest
from tests.unit.cli.command import PROGRAM, anykube

from anykube.cli.main import run


@pytest.mark.parametrize(
    ("shell", "sign"),
    [
        ("bash", "complete -o default -F _anykube_completion anykube"),
        ("zsh", "#compdef anykube"),
        ("fish", "complete --command anykube"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName anykube"),
    ],
)
def test_a_script_for_every_shell(shell: str, sign: str) -> None:
    answer = anykube("completion", shell)
    assert (answer.status, answer.err) == (0, "")
    assert sign in answer.out
    assert "_ANYKUBE_COMPLETE" in answer.out


LINES = {
    "anykube d": "doctor destroy",
    "anykube artifacts ": "list get verify",
    "anykube plan --det": "--detailed-exitcode",
    "anykube status -o j": "json",
    "anykube zzz": "",
}


def _complete(line: str) -> str:
    """Shell text that prints what bash would offer at the end of a line."""
    words = [word or '""' for word in line.split(" ")]
    return f"""
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        _anykube_completion anykube
        echo "${{COMPREPLY[*]}}"
    """


def test_bash_completes() -> None:
    head = f"PATH={PROGRAM.parent}:$PATH; source <(anykube completion bash)"
    script = "\n".join([head, *map(_complete, LINES)])
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stderr == ""
    assert dict(zip(LINES, result.stdout.split("\n"), strict=False)) == LINES


def test_other_shells_get_answers_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "anykube st")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", "st")
    for shell in ("zsh", "fish", "powershell"):
        monkeypatch.setenv("_ANYKUBE_COMPLETE", f"complete_{shell}")
        with pytest.raises(SystemExit) as ended:
            run([])
        assert ended.value.code == 0
        assert "status" in capsys.readouterr().out
