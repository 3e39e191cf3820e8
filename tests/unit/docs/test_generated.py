"""The references made from the code are current."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.documents import REPOSITORY

REMEDY = "run .venv/bin/python scripts/generate_docs.py"


def test_commands_and_object_are_as_the_code_says() -> None:
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import generate_docs as made\n"
        "for name, make in made.GENERATED.items():\n"
        "    if (made.DOCS / name).read_text(encoding='utf-8') != make(): print(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "", f"docs/{done.stdout.split()} are not current: {REMEDY}"


def test_the_picture_is_as_it_is_drawn() -> None:
    code = "import sys; sys.path.insert(0, 'docs/pictures'); import draw; sys.stdout.write(draw.picture())"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == (REPOSITORY / "docs/pictures/flow.svg").read_text(encoding="utf-8")
