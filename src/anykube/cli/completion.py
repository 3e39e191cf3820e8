"""anykube completion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """Shells that a script can be printed for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def command(shell: Annotated[Shell, typer.Argument(help="The shell that will read the script.")]) -> None:
    """Print the completion script of a shell. Use: source <(anykube completion bash)."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from anykube.cli.main import COMPLETION, NAME

    print(get_completion_script(prog_name=NAME, complete_var=COMPLETION, shell=shell.value))
