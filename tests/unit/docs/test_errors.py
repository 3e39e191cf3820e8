"""docs/errors.md is current, and holds every code that the program can print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

import generate_errors  # type: ignore[import-not-found]  # noqa: E402

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def test_the_page_is_current() -> None:
    assert generate_errors.text() == PAGE, "run: .venv/bin/python scripts/generate_errors.py"


def test_codes_are_unique() -> None:
    codes = [error.code for error in generate_errors.error_classes()]
    codes += generate_errors.problem_codes()
    assert sorted(codes) == sorted(set(codes))


def test_every_code_in_the_source_is_on_the_page() -> None:
    used: set[str] = set()
    for file in (ROOT / "src" / "anykube").rglob("*.py"):
        used |= set(re.findall(r"\"([A-Z]{3,5}-\d{3})\"", file.read_text(encoding="utf-8")))
    assert len(used) > 40
    assert used <= set(re.findall(r"^\| ([A-Z]{3,5}-\d{3}) \|", PAGE, re.MULTILINE))


def test_every_kind_of_error_is_known_here() -> None:
    """A class defined in a module that the generator does not load would be missing."""
    code = (
        "import pkgutil, importlib, anykube; from anykube.errors import AnykubeError as A\n"
        "for m in pkgutil.walk_packages(anykube.__path__, 'anykube.'): importlib.import_module(m.name)\n"
        "def below(k):\n    return {k.__name__}.union(*map(below, k.__subclasses__()))\n"
        "print(*below(A))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {error.__name__ for error in generate_errors.error_classes()}
