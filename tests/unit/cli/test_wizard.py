"""`anykube init` on a real terminal: it asks, checks each answer, and writes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.cli.command import Terminal

from anykube.objectfile import load_file
from anykube.spec.nodes import nodes
from anykube.spec.questions import QUESTIONS

GIVEN = {"--pods": "10.90.0.0/16", "--kubernetes-version": "1.36.3"}
"""Answered by flags, and not asked."""
ASKED = [
    *("--name", "--provider", "--topology", "--workers", "--control-plane-cpus", "--control-plane-memory"),
    *("--worker-cpus", "--worker-memory", "--cni-backend", "--services", "--subnet", "--dns", "--metrics"),
]
PROMPTS = {question.flag: re.escape(question.prompt) for question in QUESTIONS}
ERASE = "\x7f" * 20


def test_it_asks_and_writes(here: Path) -> None:
    terminal = Terminal("init", "-f", "cluster.yaml", *(word for pair in GIVEN.items() for word in pair))
    typed = {"--name": f"{ERASE}asked", "--workers": f"{ERASE}2"}
    for flag in ASKED:
        terminal.expect(PROMPTS[flag])
        if flag == "--name":
            terminal.type(f"{ERASE}BAD\r")
            terminal.expect("lower-case letters")
        terminal.type(typed.get(flag, "") + "\r")
    terminal.expect("Wrote cluster.yaml")
    assert terminal.status() == 0
    assert PROMPTS["--pods"] not in terminal.text
    cluster = load_file(here / "cluster.yaml")
    assert cluster.spec.network.pods == GIVEN["--pods"]
    assert [node.name for node in nodes(cluster)] == ["asked-cp-1", "asked-worker-1", "asked-worker-2"]


def test_ctrl_c_writes_nothing(here: Path) -> None:
    terminal = Terminal("init", "-f", "cluster.yaml")
    terminal.expect(PROMPTS["--name"])
    terminal.type("\x03")
    assert terminal.status() == 130
    assert list(here.iterdir()) == []
