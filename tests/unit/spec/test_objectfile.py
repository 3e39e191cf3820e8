"""Reading a file: only a regular, small, UTF-8 file is read, and nothing hangs or fills the memory."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from anykube.errors import SpecError
from anykube.objectfile import load_file, read

EXAMPLE = Path(__file__).parents[3] / "examples" / "demo.yaml"


def refusal(path: Path | str) -> str:
    """The one problem that a file is refused with."""
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load_file(path)
    assert time.perf_counter() - start < 1
    (problem,) = caught.value.problems
    assert str(problem).isprintable()
    return str(problem)


def test_a_good_file() -> None:
    assert load_file(EXAMPLE).name == "demo"
    assert load_file(str(EXAMPLE)).name == "demo"
    assert read(EXAMPLE) == (EXAMPLE.read_text(encoding="utf-8"), str(EXAMPLE))


def test_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes().replace(b"\n", b"\r\n"))
    assert load_file(path).name == "demo"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(EXAMPLE.read_bytes())))
    assert load_file("-").name == "demo"


def test_endless_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(zeros))
        assert "larger than 1 MiB" in refusal("-")


def test_a_file_of_100_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert "SPEC-001  is larger than 1 MiB" in refusal(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/", "/proc"])
def test_what_is_not_a_regular_file(path: str) -> None:
    assert "not a regular file" in refusal(path)


def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    assert "SPEC-0" in refusal("/proc/kallsyms")


def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_a_missing_file(tmp_path: Path) -> None:
    assert "anykube init" in refusal(tmp_path / "none.yaml")


def test_a_hostile_file_name(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "\x1b[31m\nx;$(id).yaml")
    assert "cannot be read" in refusal("a\0b")
    assert "cannot be read" in refusal("a" * 5000)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe\n")
    assert ":2:4 " in refusal(path)
    assert "not UTF-8" in refusal(path)
    path.write_bytes("a: 1".encode("utf-16"))
    assert "not UTF-8" in refusal(path)
